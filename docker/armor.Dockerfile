# Image of Armor, the gateway for users. Built from the repository's root:
#
#   docker build -f docker/armor.Dockerfile -t aigateway/armor .
#
# Both base images are arguments, so that they can come from a registry of your choice.
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release -p armor --bin armor

FROM ${BASE_IMAGE}
COPY --from=build /src/target/release/armor /usr/local/bin/armor
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/armor"]
