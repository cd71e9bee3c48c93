# syntax=docker/dockerfile:1

FROM rust:1.95-bookworm AS build
WORKDIR /tidemill
COPY . .
# The caches keep what a change of our own sources does not touch; a binary left in a cache would not reach the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/tidemill/target \
    cargo build --locked --release --bin tidemill && \
    install --strip target/release/tidemill /usr/local/bin/tidemill

FROM debian:bookworm-slim
# librdkafka is linked with the system's zlib where the build has found one.
RUN apt-get update && \
    apt-get install --yes --no-install-recommends zlib1g && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --system --no-create-home tidemill && \
    install --directory --owner=tidemill /var/lib/tidemill
COPY --from=build /usr/local/bin/tidemill /usr/local/bin/tidemill
COPY --from=build /tidemill/dataflows /usr/share/tidemill/dataflows
USER tidemill
WORKDIR /usr/share/tidemill
ENV TIDEMILL_STATE_DIR=/var/lib/tidemill
VOLUME /var/lib/tidemill
ENTRYPOINT ["tidemill"]
CMD ["run", "dataflows/vehicle_state"]
