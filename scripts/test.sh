#!/usr/bin/env bash
# Fetches what the tests need and runs every check that a change must pass. `make test` and CI call it.
#
# One profile, `ci`, serves the lints, the binary and the tests, so that nothing is compiled twice
# that need not be.

set -euo pipefail

cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
export PATH="$PWD/.test/bin:$PATH"

step() { printf '\n== %s\n' "$*"; }

step "what the tests need"
scripts/fetch-onnxruntime.sh
scripts/install-prometheus.sh
scripts/install-kubernetes-tools.sh
scripts/install-openapi-schema.sh
scripts/install-haproxy.sh
scripts/install-postgresql.sh
scripts/install-openssl.sh
scripts/install-faketime.sh
scripts/install-strace.sh
scripts/install-openvino.sh
scripts/install-clients.sh
scripts/install-mlflow.sh

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --profile ci --workspace --all-targets --locked -- -D warnings
# Without its optional parts.
cargo clippy --profile ci -p impetus --no-default-features --locked -- -D warnings

step "licences, bans and sources"
if cargo deny --version >/dev/null 2>&1; then
    # Advisories need a download of their own; the workflow on GitHub checks them.
    cargo deny --offline check licenses bans sources
else
    echo "skipped: cargo-deny is not installed (cargo install --locked cargo-deny)"
fi

step "diagrams in the documentation"
scripts/check-diagrams.sh

step "build"
cargo build --profile ci --workspace --locked

step "examples in the documentation"
cargo test --doc --profile ci --workspace --locked

step "tests"
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --cargo-profile ci --workspace --locked
else
    echo "cargo-nextest is not installed (cargo install --locked cargo-nextest): using cargo test"
    cargo test --profile ci --workspace --locked --lib --bins --tests
fi

step "clients"
scripts/test-clients.sh
