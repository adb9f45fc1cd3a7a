#!/bin/sh
# Makes a real HAProxy available to the tests, in .test/bin/ unless it is on the PATH already:
# scripts/test.sh puts that folder in front.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
target=$root/.test/bin
. "$root/scripts/lib/debian.sh"

if [ -x "$target/haproxy" ] || command -v haproxy >/dev/null 2>&1; then exit 0; fi

give_up() {
    say "error: $1"
    say "  why: a test replaces two servers behind a load balancer, and no request may fail"
    say "  do:  install HAProxy 2.4 or later so that 'haproxy' is on the PATH:"
    say "       Debian, Ubuntu: apt-get install --no-install-recommends haproxy"
    say "       macOS:          brew install haproxy"
    exit 1
}

debian_has_apt || give_up "haproxy is missing, and there is no apt to fetch it with"
# With it the libraries that Debian's smallest installation lacks.
debian_unpack "$root/.test/debian/haproxy" \
    haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 libssl3 ||
    give_up "the package 'haproxy' could not be downloaded (apt's last lines are above)"
libraries=$(dirname "$(find "$root/.test/debian/haproxy/usr/lib" -name 'liblua5.3.so.0' | head -n 1)")
mkdir -p "$target"
cat >"$target/haproxy" <<END
#!/bin/sh
LD_LIBRARY_PATH='$libraries' exec '$root/.test/debian/haproxy/usr/sbin/haproxy' "\$@"
END
chmod +x "$target/haproxy"
"$target/haproxy" -v 2>&1 | head -n 1 >&2
