#!/bin/sh
# Makes the command openssl available to the tests, in .test/bin/ unless it is on the PATH already:
# scripts/test.sh puts that folder in front.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
target=$root/.test/bin
. "$root/scripts/lib/debian.sh"

if [ -x "$target/openssl" ] || command -v openssl >/dev/null 2>&1; then exit 0; fi

give_up() {
    say "error: $1"
    say "  why: tests make certificates for servers that are reached by TLS"
    say "  do:  install OpenSSL 3 so that 'openssl' is on the PATH:"
    say "       Debian, Ubuntu: apt-get install --no-install-recommends openssl"
    say "       macOS:          brew install openssl@3"
    exit 1
}

debian_has_apt || give_up "openssl is missing, and there is no apt to fetch it with"
debian_unpack "$root/.test/debian/openssl" openssl libssl3 ||
    give_up "the package 'openssl' could not be downloaded (apt's last lines are above)"
libraries=$(dirname "$(find "$root/.test/debian/openssl/usr/lib" -name 'libssl.so.3' | head -n 1)")
mkdir -p "$target"
cat >"$target/openssl" <<END
#!/bin/sh
OPENSSL_CONF='$root/.test/debian/openssl/etc/ssl/openssl.cnf' \\
LD_LIBRARY_PATH='$libraries' exec '$root/.test/debian/openssl/usr/bin/openssl' "\$@"
END
chmod +x "$target/openssl"
"$target/openssl" version >&2
