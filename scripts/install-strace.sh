#!/bin/sh
# Makes a real strace available to the tests, in .test/bin/ unless it is on the PATH already:
# scripts/test.sh puts that folder in front.

set -eu

# It traces Linux alone.
if [ "$(uname -s)" != Linux ]; then exit 0; fi

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
target=$root/.test/bin
. "$root/scripts/lib/debian.sh"

if [ -x "$target/strace" ] || command -v strace >/dev/null 2>&1; then exit 0; fi

give_up() {
    say "error: $1"
    say "  why: a test looks at the system calls for the sync that comes before an acknowledgement"
    say "  do:  install strace 5.6 or later so that 'strace' is on the PATH:"
    say "       Debian, Ubuntu: apt-get install --no-install-recommends strace"
    exit 1
}

debian_has_apt || give_up "strace is missing, and there is no apt to fetch it with"
# With it the library that Debian's smallest installation lacks.
debian_unpack "$root/.test/debian/strace" strace libunwind8 ||
    give_up "the package 'strace' could not be downloaded (apt's last lines are above)"
libraries=$(dirname "$(find "$root/.test/debian/strace/usr/lib" -name 'libunwind.so.8' | head -n 1)")
mkdir -p "$target"
cat >"$target/strace" <<END
#!/bin/sh
LD_LIBRARY_PATH='$libraries' exec '$root/.test/debian/strace/usr/bin/strace' "\$@"
END
chmod +x "$target/strace"
"$target/strace" -V 2>&1 | head -n 1 >&2
