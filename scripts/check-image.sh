#!/bin/sh
# Tries the image that `make image` has built: unpacks target/image/impetus.tar and runs it by runc
# as Kubernetes would run it at its strictest. tests/image/check.py says what has to hold.
#
# It has to run as root: it makes containers, with their cgroups and namespaces.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib/debian.sh
. scripts/lib/containers.sh

folder=${CARGO_TARGET_DIR:-target}/image
[ -f "$folder/impetus.tar" ] || { say "error: there is no $folder/impetus.tar; make it by: make image"; exit 1; }
[ "$(id -u)" = 0 ] || { say "error: this has to run as root, because it makes containers"; exit 1; }
containers_tools || { say "error: runc, skopeo or umoci could not be fetched from Debian's packages"; exit 1; }
folder=$(CDPATH='' cd "$folder" && pwd)
containers_state "$folder"

check=$folder/check
rm -rf "$check"
mkdir -p "$check"
trap 'rm -rf "$check"' EXIT
containers_skopeo copy --quiet "docker-archive:$folder/impetus.tar" "oci:$check/oci:image"
umoci unpack --image "$check/oci:image" "$check/bundle" >"$check/log" 2>&1 || { cat "$check/log" >&2; exit 1; }
"${PYTHON:-python3}" tests/image/check.py "$folder/impetus.tar" "$check"
