#!/bin/sh
# Makes libfaketime available to the tests: a library with which a process can be shown a wall clock
# that jumps. It lies in .test/debian/faketime; Linux only.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/lib/debian.sh"

installed() { find "$root/.test/debian/faketime" -name libfaketime.so.1 2>/dev/null | grep -q .; }

if [ "$(uname -s)" != Linux ] || installed; then exit 0; fi

give_up() {
    say "error: $1"
    say "  why: a test lets the wall clock of a running server jump"
    say "  do:  put libfaketime.so.1 (0.9.8 or later) anywhere below .test/debian/faketime"
    exit 1
}

debian_has_apt || give_up "libfaketime is missing, and there is no apt to fetch it with"
debian_unpack "$root/.test/debian/faketime" libfaketime ||
    give_up "the package 'libfaketime' could not be downloaded (apt's last lines are above)"
installed || give_up "the package 'libfaketime' has no libfaketime.so.1"
