# docker build -t silt .
# docker run --env-file .env silt

# The compiler of rust-toolchain.toml. The file itself isn't copied: rustup would download components that only developers need.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src

# The dependencies alone, in a layer that is cached until Cargo.toml or Cargo.lock changes. The build of the
# placeholder for silt is removed: Cargo compares dates, and could consider it newer than the source.
COPY Cargo.toml Cargo.lock ./
COPY crates/core/Cargo.toml crates/core/
RUN mkdir src crates/core/src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs crates/core/src/lib.rs \
    && cargo build --release --locked --bin silt \
    && cargo clean --release --locked --package silt --package silt-core \
    && rm -r src crates/core/src

COPY crates crates
COPY src src
RUN cargo build --release --locked --bin silt

# The final image's files: silt, the libraries it links to, the root certificates for TLS to Azure (MongoDB's are in the
# binary), and what a scanner needs to identify their packages.
RUN mkdir -p /image/etc/ssl/certs /image/usr/local/bin /image/var/lib/dpkg/status.d \
    && cp target/release/silt /image/usr/local/bin/ \
    && ldd target/release/silt | grep -o '/[^ ]*' | xargs -I {} cp --dereference --parents {} /image \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && cp /etc/os-release /image/etc/ \
    && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
    && for package in libc6 libgcc-s1 ca-certificates; do \
           dpkg-query --status "$package" > "/image/var/lib/dpkg/status.d/$package" || exit 1; \
       done

# No shell and no tools; only silt and its commands can run.
FROM scratch
ARG REVISION=unknown
LABEL org.opencontainers.image.title="silt" \
      org.opencontainers.image.description="Archives MongoDB change streams into Azure Data Lake Storage Gen2" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /image /
# HTTP is reachable from outside the container, for probes.
ENV PATH=/usr/local/bin \
    HTTP_ADDR=0.0.0.0:8080
EXPOSE 8080
USER 65532:65532
WORKDIR /
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["/usr/local/bin/silt", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/silt"]
