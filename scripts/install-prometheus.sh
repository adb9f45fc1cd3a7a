#!/bin/sh
# Makes promtool and a real Prometheus available to the tests, in .test/bin/ unless they are on the
# PATH already: scripts/test.sh puts that folder in front.
#
# The Debian package is downloaded and unpacked, not installed. So it needs no root, starts no
# service, changes nothing outside this folder, and apt still checks the signatures.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
target=$root/.test/bin

say() { printf '%s\n' "$*" >&2; }

if [ -x "$target/promtool" ] && [ -x "$target/prometheus" ]; then exit 0; fi
if command -v promtool >/dev/null 2>&1 && command -v prometheus >/dev/null 2>&1; then exit 0; fi

give_up() {
    say "error: $1"
    say "  why: tests check the metrics with promtool and let a real Prometheus scrape the server"
    say "  do:  install Prometheus so that 'promtool' and 'prometheus' are on the PATH:"
    say "       Debian, Ubuntu: apt-get install --no-install-recommends prometheus"
    say "       macOS:          brew install prometheus"
    say "       elsewhere:      https://prometheus.io/download/"
    exit 1
}

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
    give_up "promtool or prometheus is missing, and there is no apt to fetch them with"
fi

mkdir -p "$root/.test"
staging=$(mktemp -d "$root/.test/.prometheus.XXXXXX")
trap 'rm -rf "$staging"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$staging"

# Runs apt-get with a deadline on every connection. The sandbox user of apt cannot write here, so
# it is told not to change to it: that only ever mattered to root, and would be a warning each time.
apt() { apt-get -q -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o APT::Sandbox::User="$(id -un)" "$@"; }

# The system's package lists may be missing or old. Lists of our own need no rights to renew.
apt_with_own_lists() {
    mkdir -p lists/partial cache/archives/partial
    apt -o Dir::State::lists="$staging/lists" -o Dir::Cache="$staging/cache" "$@"
}

say "fetching Debian's package 'prometheus' for the tests"
if ! apt download prometheus >log 2>&1; then
    if ! { apt_with_own_lists update && apt_with_own_lists download prometheus; } >log 2>&1; then
        tail -n 5 log | sed 's/^/  | /' >&2
        give_up "the package 'prometheus' could not be downloaded (apt's last lines are above)"
    fi
fi
dpkg-deb -x prometheus_*.deb unpacked
mkdir -p "$target"
for program in promtool prometheus; do
    mv -f "unpacked/usr/bin/$program" "$target/$program"
done
"$target/promtool" --version 2>&1 | head -n 1 >&2
