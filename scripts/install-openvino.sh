#!/bin/sh
# Puts an ONNX Runtime library that has a second execution provider, OpenVINO on the CPU, into
# .test/openvino for the tests: the library of the PyPI package onnxruntime-openvino, with what it needs
# beside it. The wheel's SHA-256 is checked before anything is unpacked.

set -eu

# It is published for Linux with glibc on x86-64 alone (and for Windows).
case "$(uname -s)-$(uname -m)" in
    Linux-x86_64 | Linux-amd64) ;;
    *) exit 0 ;;
esac

VERSION=1.24.1
SHA256=3007c803634cc69c6d52af1dea7ce729d9bb62b9a11070fd2f959119199007a8

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
target=$root/.test/openvino

say() { printf '%s\n' "$*" >&2; }

if [ "$(cat "$target/stamp" 2>/dev/null)" = "$VERSION $SHA256" ]; then exit 0; fi

say "fetching onnxruntime-openvino $VERSION from PyPI (84 MB)"
mkdir -p "$root/.test"
staging=$(mktemp -d "$root/.test/openvino.XXXXXX")
trap 'rm -rf "$staging"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if ! PIP_REQUIRE_VIRTUALENV=0 python3 -m pip download --quiet --disable-pip-version-check --no-input \
    --timeout 30 --retries 3 --no-deps --only-binary=:all: --implementation cp --python-version 311 \
    --abi cp311 --platform manylinux_2_28_x86_64 --dest "$staging" \
    "onnxruntime-openvino==$VERSION" >"$staging/log" 2>&1; then
    tail -n 8 "$staging/log" >&2
    say "error: onnxruntime-openvino $VERSION could not be downloaded (pip's last lines are above)"
    say "  why: a test runs a model on another execution provider than the CPU's own"
    say "  do:  check the network and pip's settings, then run this again"
    exit 1
fi
wheel=$(find "$staging" -name '*.whl')
actual=$(sha256sum <"$wheel")
if [ "${actual%% *}" != "$SHA256" ]; then
    say "error: the checksum of $(basename "$wheel") is ${actual%% *}, and not $SHA256"
    exit 1
fi
python3 -m zipfile -e "$wheel" "$staging/unpacked"
capi=$staging/unpacked/onnxruntime/capi
# What Python alone needs stays behind.
rm -f "$capi"/onnxruntime_pybind11_state*.so
mkdir "$staging/library"
mv "$capi"/lib*.so* "$staging/library/"
ln -s "libonnxruntime.so.$VERSION" "$staging/library/libonnxruntime.so"
echo "$VERSION $SHA256" >"$staging/library/stamp"
rm -rf "$target"
mv "$staging/library" "$target"
say "onnxruntime-openvino $VERSION is in $target"
