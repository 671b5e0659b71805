# syntax=docker/dockerfile:1
# docker build -t millstream .
# docker run --rm millstream demo
FROM rust:1-slim-bookworm AS build
# libclang reads RocksDB's headers; OpenSSL and zlib go into librdkafka.
RUN apt-get update && apt-get install -y --no-install-recommends \
      g++ libclang-dev libssl-dev make pkg-config zlib1g-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# The target directory is a cache: RocksDB is compiled once, not with every change of a topology.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    cargo build --release --locked -p topologies && \
    install -D -t /out target/release/millstream target/release/outbox-relay target/release/mqtt-bridge

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libssl3 libstdc++6 zlib1g \
      && rm -rf /var/lib/apt/lists/* \
      && useradd --system --uid 10001 --user-group --no-create-home millstream \
      && install -d -o millstream -g millstream /var/lib/millstream
COPY --from=build /out/ /usr/local/bin/
ENV MILLSTREAM_STATE_DIR=/var/lib/millstream MILLSTREAM_HTTP_LISTEN=0.0.0.0:8080
USER 10001:10001
VOLUME /var/lib/millstream
EXPOSE 8080
# A restore takes its time, but the commit pipeline never stands still.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["millstream", "health"]
ENTRYPOINT ["millstream"]
CMD ["list"]
