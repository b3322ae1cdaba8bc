# docker build -t silt .
# docker run --env-file .env silt

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The dependencies alone, in a layer that stays until Cargo.lock changes.
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
RUN mkdir -p src tests \
    && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && echo 'fn main() {}' > tests/main.rs \
    && cargo build --release --locked --bin silt \
    && rm -rf src tests
COPY src src
RUN mkdir -p tests && echo 'fn main() {}' > tests/main.rs \
    && touch src/main.rs src/lib.rs && cargo build --release --locked --bin silt

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="silt" \
      org.opencontainers.image.description="Archives MongoDB change streams into Azure Data Lake Storage Gen2" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# For TLS to Azure; MongoDB's roots are in the binary.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/silt /usr/local/bin/silt
# Reachable from outside the container, for probes.
ENV HTTP_ADDR=0.0.0.0:8080
EXPOSE 8080
USER 65532:65532
WORKDIR /
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/silt"]
