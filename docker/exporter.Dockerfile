# Image of the exporter for users: delivers audit events to SIEMs. Built from the repository's root:
#
#   docker build -f docker/exporter.Dockerfile -t aigateway/exporter .
#
# Both base images are arguments, so that they can come from a registry of your choice.
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release -p exporter --bin exporter

FROM ${BASE_IMAGE}
COPY --from=build /src/target/release/exporter /usr/local/bin/exporter
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/exporter"]
