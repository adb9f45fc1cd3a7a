# The image of Impetus: server, ONNX Runtime, demo model and curl on Debian. docs/image.md says what
# is in it and why, how large it is and how to run it.
#
#   docker build -t gerdsenai/impetus-llm-server .
#   make image      the same stages on bases made of Debian's packages: no registry, no Docker
#
# Behind a proxy that intercepts TLS, hand its certificates to the stages that download:
#   docker build --secret id=ca-bundle,src=/etc/ssl/certs/ca-certificates.crt .

ARG DEBIAN_IMAGE=debian:bookworm-slim
# The version is the one in rust-toolchain.toml; a test compares them. The file itself stays out, or
# rustup would fetch the lints that it asks for.
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm
# The stage, or an image, that has the server in /out.
ARG BINARY=build

# --- the server ---

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY actors actors
COPY benches benches
COPY engine engine
COPY sources sources
COPY text text
COPY src src
# What has been compiled outlives the build in a cache, and no layer has it. Cargo goes by the files'
# times, and here they may be those of a commit, so that a change could look old: all of the project's
# own is compiled each time. Line tables would be two thirds of the binary that every node pulls, and
# speak only in backtraces that somebody has asked for: they go into a file of their own. The names
# of functions stay.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    --mount=type=secret,id=ca-bundle \
    if [ -f /run/secrets/ca-bundle ]; then export CARGO_HTTP_CAINFO=/run/secrets/ca-bundle; fi \
    && find actors benches engine src text -type f -exec touch {} + \
    && cargo build --release --locked -p impetus --bin impetus \
    && mkdir /out \
    && objcopy --only-keep-debug --compress-debug-sections=zlib target/release/impetus /out/impetus.debug \
    && objcopy --strip-debug --add-gnu-debuglink=/out/impetus.debug target/release/impetus /out/impetus

FROM ${BINARY} AS binary

# The line tables alone: docker build --target symbols --output . .
# docs/image.md says where they have to lie.
FROM scratch AS symbols
COPY --from=binary /out/impetus.debug /

# --- ONNX Runtime and the demo model ---

FROM ${DEBIAN_IMAGE} AS parts
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3-pip
COPY scripts/fetch-onnxruntime.sh /src/scripts/
COPY models/surface /parts/models/surface
# The script has the versions and checksums. Every file can be read by everybody, whatever the umask
# of the checkout was.
RUN --mount=type=secret,id=ca-bundle \
    if [ -f /run/secrets/ca-bundle ]; then export PIP_CERT=/run/secrets/ca-bundle; fi \
    && /src/scripts/fetch-onnxruntime.sh /parts/onnxruntime \
    && chmod -R u=rwX,go=rX /parts

# --- the image ---

FROM ${DEBIAN_IMAGE}

# The runbooks use curl inside the container; the library needs libstdc++. What goes again are lists,
# and logs and caches with times in them, which would make every build another one.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl libstdc++6 \
    && find /var/lib/apt/lists /var/cache/apt -type f ! -name lock -delete \
    && rm -rf /var/cache/debconf/*-old /var/cache/ldconfig \
        /var/log/apt /var/log/alternatives.log /var/log/dpkg.log \
    && echo 'impetus:x:65532:' >>/etc/group \
    && echo 'impetus:x:65532:65532:Impetus:/data:/usr/sbin/nologin' >>/etc/passwd \
    && mkdir -p /data /models /usr/local/share/impetus \
    && ln -s /usr/local/share/impetus/models/surface /models/surface \
    && chown 65532:65532 /data /models

COPY --from=parts /parts/onnxruntime /usr/local/lib/impetus
COPY --from=parts /parts/models /usr/local/share/impetus/models
COPY --from=binary --chmod=755 /out/impetus /usr/local/bin/impetus

ENV IMPETUS_HOST=0.0.0.0 \
    IMPETUS_DATA__DIR=/data \
    IMPETUS_MODELS__DIR=/models \
    IMPETUS_RUNTIME__LIBRARY=/usr/local/lib/impetus/libonnxruntime.so

# HTTP, the health thread, gRPC.
EXPOSE 8080 8081 9000
VOLUME ["/data"]
WORKDIR /data
# As a number, so that Kubernetes can tell that it is not root.
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/impetus"]
CMD ["serve"]

ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="Impetus" \
      org.opencontainers.image.description="A model server that heals itself" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
