#!/bin/sh
# Makes promtool, a real Prometheus and, on Linux, a real Alertmanager with its amtool available to
# the tests, in .test/bin/ unless they are on the PATH already: scripts/test.sh puts that folder in
# front.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
target=$root/.test/bin
. "$root/scripts/lib/debian.sh"

have() {
    for program in "$@"; do
        [ -x "$target/$program" ] || command -v "$program" >/dev/null 2>&1 || return 1
    done
}

give_up() {
    say "error: $1"
    say "  why: tests check metrics and rules with promtool, and let a real Prometheus scrape the"
    say "       server and a real Alertmanager pass on what it finds"
    say "  do:  install them so that 'promtool', 'prometheus', 'amtool' and 'alertmanager' (or"
    say "       'prometheus-alertmanager') are on the PATH; the last two are for Linux only:"
    say "       Debian, Ubuntu: apt-get install --no-install-recommends prometheus prometheus-alertmanager"
    say "       macOS:          brew install prometheus"
    say "       elsewhere:      https://prometheus.io/download/"
    exit 1
}

# fetch PACKAGE: unpacks it below .test/debian, from where its files are to be taken.
fetch() {
    debian_has_apt || give_up "not all of it is here, and there is no apt to fetch it with"
    debian_unpack "$root/.test/debian/$1" "$1" ||
        give_up "the package '$1' could not be downloaded (apt's last lines are above)"
    mkdir -p "$target"
}

fetch_prometheus() {
    fetch prometheus
    for program in promtool prometheus; do
        mv -f "$root/.test/debian/prometheus/usr/bin/$program" "$target/$program"
    done
    rm -rf "$root/.test/debian/prometheus"
    "$target/promtool" --version 2>&1 | head -n 1 >&2
}

# Debian's Alertmanager reads its template from a fixed path and does not start without it. Putting
# the file there takes root, and leaves something behind; a mount of its own takes rights that a
# container seldom has. So the path in the program is replaced by one of the same length below the
# checkout, relative to its root, where tests run. Nothing else in it is touched.
fetch_alertmanager() {
    unpacked=$root/.test/debian/prometheus-alertmanager
    fetch prometheus-alertmanager
    mkdir -p "$root/.test/share"
    rm -rf "$root/.test/share/alertmanager"
    mv "$unpacked/usr/share/prometheus/alertmanager" "$root/.test/share/alertmanager"
    LC_ALL=C sed 's,/usr/share/prometheus/alertmanager,.test///////////share/alertmanager,g' \
        "$unpacked/usr/bin/prometheus-alertmanager" >"$unpacked/alertmanager"
    ! cmp -s "$unpacked/usr/bin/prometheus-alertmanager" "$unpacked/alertmanager" ||
        give_up "this 'prometheus-alertmanager' looks for its template elsewhere than expected"
    chmod 755 "$unpacked/alertmanager"
    mv -f "$unpacked/usr/bin/amtool" "$target/amtool"
    mv -f "$unpacked/alertmanager" "$target/alertmanager"
    rm -rf "$unpacked"
    "$target/alertmanager" --version 2>&1 | head -n 1 >&2
}

have promtool prometheus || fetch_prometheus
if [ "$(uname -s)" = Linux ] && ! have amtool alertmanager && ! have amtool prometheus-alertmanager; then
    fetch_alertmanager
fi
