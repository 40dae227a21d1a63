# orch-watchdog: one static program in an empty image. Build from the root of the repository:
#   docker build -f deploy/watchdog.Dockerfile -t orch/watchdog .

ARG RUST_IMAGE=rust:1.95-slim-bookworm

# --- shared recipe: begin (the same in both Dockerfiles; a test compares them) ---
# Both programs are built in one go, and by the same instructions for both images: the second image
# takes every layer of this from the builder's cache, and both hold programs of one revision.
# Their layers are large and stay for the next build; to be rid of old ones:
#   docker image prune --filter label=orch.stage=build --filter until=24h
FROM ${RUST_IMAGE} AS skeleton
LABEL orch.stage=build
WORKDIR /src
COPY . .
# What names the dependencies: manifests, the lock file, and an empty stand-in for each target.
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock ! -path '*/src/lib.rs' ! -path '*/src/main.rs' \
        ! -path '*/src/bin/*.rs' ! -path '*/benches/*.rs' -delete \
    && find . -name '*.rs' -exec sh -c 'for file; do echo "fn main() { }" > "$file"; done' - {} + \
    && find . -path '*/src/lib.rs' -exec truncate --size=0 {} + \
    && find . -depth -type d -empty -delete

FROM ${RUST_IMAGE} AS programs
LABEL orch.stage=build
# What cargo calls a profile: release, or dev for a quick look.
ARG PROFILE=release
WORKDIR /src
# The C library is linked in (nothing of it is loaded at run time, name resolution included), and
# naming the target keeps that flag away from build scripts and procedural macros.
ENV RUSTFLAGS="-C target-feature=+crt-static"
# This layer changes with the dependencies alone: the checksum of a copy leaves times aside.
COPY --from=skeleton /src .
RUN cargo build --locked --profile "$PROFILE" --target "$(rustc -vV | sed -n 's/^host: //p')" \
        -p orch-core -p orch-watchdog
COPY . .
# The stand-ins are younger than the sources that replace them, and cargo goes by time.
RUN find . -name '*.rs' -not -path './target/*' -exec touch {} + \
    && cargo build --locked --profile "$PROFILE" --target "$(rustc -vV | sed -n 's/^host: //p')" \
        -p orch-core -p orch-watchdog \
    && mkdir -p /out/state \
    && cp target/*/*/orch-core target/*/*/orch-watchdog /out/
# --- shared recipe: end ---

FROM scratch
ARG REVISION=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="orch-watchdog" \
      org.opencontainers.image.description="Sees what is stuck on a host and says so" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=programs /out/orch-watchdog /orch-watchdog
# A named volume takes over the owner of the directory that it is mounted on.
COPY --from=programs --chown=65534:65534 /out/state /state
# The program is the only one, and found by its name: alerts and the runbook say `orch-watchdog scan`.
ENV PATH=/ WATCHDOG_STATE_DIR=/state WATCHDOG_BIND=0.0.0.0:9109
# Numbers, since there is no passwd here. No agent may have this one.
USER 65534:65534
WORKDIR /
EXPOSE 9109
ENTRYPOINT ["/orch-watchdog"]
CMD ["run"]
