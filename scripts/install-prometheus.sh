#!/bin/sh
# Makes promtool and a real Prometheus available to the tests, in .test/bin/ unless they are on the
# PATH already: scripts/test.sh puts that folder in front.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
target=$root/.test/bin
. "$root/scripts/lib/debian.sh"

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

debian_has_apt || give_up "promtool or prometheus is missing, and there is no apt to fetch them with"
debian_unpack "$root/.test/debian/prometheus" prometheus ||
    give_up "the package 'prometheus' could not be downloaded (apt's last lines are above)"
mkdir -p "$target"
for program in promtool prometheus; do
    mv -f "$root/.test/debian/prometheus/usr/bin/$program" "$target/$program"
done
rm -rf "$root/.test/debian/prometheus"
"$target/promtool" --version 2>&1 | head -n 1 >&2
