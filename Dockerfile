# Two stages: a build with the compiler, and an image with one binary and the C library: no shell, no root.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates gcc g++ make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY migrations migrations
COPY tests tests
COPY benches benches
RUN cargo build --release --locked --bin quire
# The binary with exactly the libraries that it names, the certificates of authorities (for keys of issuers), a user that owns the data, and nothing else.
RUN mkdir -p /image/usr/local/bin /image/etc/ssl/certs /image/tmp /image/var/lib/quire \
    && cp target/release/quire /image/usr/local/bin/ \
    && ldd target/release/quire | grep -o '/[^ ]*' | xargs -I{} cp --parents --dereference {} /image/ \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && echo 'quire:x:65532:65532::/var/lib/quire:/nonexistent' > /image/etc/passwd \
    && chmod 1777 /image/tmp && chown 65532:65532 /image/var/lib/quire

FROM scratch
COPY --from=build /image /
ENV QUIRE_LISTEN=0.0.0.0:5000 QUIRE_DATA=/var/lib/quire
VOLUME /var/lib/quire
EXPOSE 5000
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/quire"]
CMD ["serve"]
