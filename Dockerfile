# syntax=docker/dockerfile:1
# docker build --tag ghcr.io/helm-guard/helm-guard:0.1.0 \
#   --build-arg HELM_GUARD_COMMIT=$(git rev-parse --short=12 HEAD) \
#   --build-arg HELM_GUARD_COMMIT_DATE=$(git log -1 --format=%cI) .
#
# glibc and distroless/cc rather than static musl, because the compiler of the Rust image can build aws-lc, which is C.
# Both images use the same Debian release, so the glibc matches.

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
COPY crates crates
# The test environment, the tools and the benchmarks are members of the workspace. Cargo needs them to exist, but builds
# none of them.
COPY tests tests
COPY tools tools
COPY benches benches
# For `helm-guard version`: there is no clone here.
ARG HELM_GUARD_COMMIT
ARG HELM_GUARD_COMMIT_DATE
# The target folder is a cache and not part of the image, so copy the binary out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin helm-guard \
 && cp target/release/helm-guard /helm-guard

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /helm-guard /helm-guard
# A number, because "runAsNonRoot" cannot verify a user name.
USER 65532:65532
EXPOSE 8443 8080
ENTRYPOINT ["/helm-guard"]
CMD ["serve"]
