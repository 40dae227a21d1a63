# The core's image with the sample in it, for the container test: what any project does that needs more than
# the image holds. Built from the folder `sample`.
ARG CORE_IMAGE
FROM ${CORE_IMAGE}
# what a later one replaced goes with the builder's old layers
LABEL orch.stage=build
USER root
COPY . /opt/sample
RUN install -d -o orch -g orch /opt/tools
USER orch
# an environment with the pinned tools; the project itself is set up in the volume
RUN python3 /opt/sample/setup /tmp/once --venv /opt/tools/venv && rm -rf /tmp/once
USER 10001:10001
