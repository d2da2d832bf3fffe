# syntax=docker/dockerfile:1
# docker build --tag ghcr.io/helm-guard/helm-guard:0.1.0 .
#
# glibc and distroless/cc rather than static musl: aws-lc, which is C, builds here with the compiler
# that the Rust image has. Both images are of the same Debian release, so that the glibc fits.

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
# The test environment is a member of the workspace, and examples and benchmarks are targets: cargo
# wants to find them, and builds none.
COPY tests tests
COPY benches benches
# The caches are not in the image, so the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin helm-guard \
 && cp target/release/helm-guard /helm-guard

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /helm-guard /helm-guard
# By number: "runAsNonRoot" cannot see that a name is not root's.
USER 65532:65532
EXPOSE 8443 8080
ENTRYPOINT ["/helm-guard"]
CMD ["serve"]
