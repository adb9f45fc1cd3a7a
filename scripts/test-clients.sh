#!/bin/sh
# Drives the server with the clients that people use, and holds its answers against ONNX Runtime's, and
# its texts against those of Hugging Face transformers.
#
#   scripts/test-clients.sh [BINARY]     the server; target/ci/impetus when none is named
#
# The SDK of kserve has a run of its own, because it cannot be loaded beside tritonclient.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
binary=${1:-${CARGO_TARGET_DIR:-$root/target}/ci/impetus}
python=$root/.test/clients/bin/python

"$root/scripts/install-clients.sh"
"$root/scripts/fetch-onnxruntime.sh"
"$python" -m pytest -q --impetus "$binary" "$root/tests/clients/with_tritonclient" "$root/tests/clients/with_curl"
"$python" -m pytest -q --impetus "$binary" "$root/tests/clients/with_kserve"
"$python" -m pytest -q --impetus "$binary" "$root/tests/clients/with_openai"
"$python" "$root/tests/generation/soak.py" --impetus "$binary"
"$python" "$root/tests/clients/conformance.py" --impetus "$binary"
