# orch-core on Debian, with what agents and gates commonly need: git and Python. A project that needs
# more builds an image of its own on this one. Build from the root of the repository:
#   docker build -f deploy/core.Dockerfile -t orch/core .

ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

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

FROM ${DEBIAN_IMAGE}
# tini is for engines that bring no init of their own (`tini -- orch-core serve`); compose does.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git python3 python3-venv tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 orch \
    && useradd --uid 10001 --gid orch --home-dir /data/home --no-create-home --shell /bin/sh orch \
    && install -d -o orch -g orch -m 0700 /data /data/home
COPY --from=programs /out/orch-core /usr/local/bin/orch-core
ARG REVISION=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="orch-core" \
      org.opencontainers.image.description="Takes a work item through a gated pipeline, from created to done" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The home is in the volume: what agents log in with outlives the container.
ENV HOME=/data/home LANG=C.UTF-8 ORCH_DATA_DIR=/data ORCH_BIND=0.0.0.0:8080
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/orch-core"]
CMD ["serve"]
