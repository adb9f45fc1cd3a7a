#!/bin/sh
# Makes a real PostgreSQL available to the tests, in .test/postgresql/bin/ unless one is installed.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
target=$root/.test/postgresql/bin
unpacked=$root/.test/debian/postgresql
. "$root/scripts/lib/debian.sh"

# has_programs FOLDER: whether everything that the tests start is in it.
has_programs() { [ -x "$1/postgres" ] && [ -x "$1/initdb" ] && [ -x "$1/psql" ]; }

on_path=$(command -v postgres 2>/dev/null || true)
[ -z "$on_path" ] || on_path=$(dirname "$(readlink -f "$on_path")")
for folder in "$on_path" /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin \
    /usr/local/opt/postgresql@*/bin "$target"; do
    if [ -n "$folder" ] && has_programs "$folder"; then exit 0; fi
done

give_up() {
    say "error: $1"
    say "  why: tests keep predictions in a real PostgreSQL"
    say "  do:  install PostgreSQL 13 or later so that 'postgres' is on the PATH, with 'initdb' and"
    say "       'psql' beside it:"
    say "       Debian, Ubuntu: apt-get install --no-install-recommends postgresql"
    say "       macOS:          brew install postgresql@17"
    exit 1
}

debian_has_apt || give_up "PostgreSQL is missing, and there is no apt to fetch it with"

# The version is the release's: the one that the package 'postgresql' stands for.
version_of() {
    apt-cache "$@" depends postgresql 2>/dev/null |
        sed -n 's/^ *Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1
}
# libraries_of VERSION: the libraries it needs, by the names that this release gives them, but those
# that belong to the C library.
libraries_of() {
    apt-cache depends "postgresql-$1" "postgresql-client-$1" 2>/dev/null |
        sed -n 's/^ *Depends: \(lib[a-z0-9.+-]*\)$/\1/p' |
        grep -v -e '^libc6$' -e '^libllvm' | sort -u
}
version=$(version_of)
if [ -z "$version" ]; then
    # A small image has no lists of packages.
    apt-get -q update >/dev/null 2>&1 || true
    version=$(version_of)
fi
[ -n "$version" ] || give_up "apt does not know the package 'postgresql'"
# What the libraries need in turn, where Debian's smallest installation lacks it.
more=
for package in libcom-err2 libkrb5-3 libk5crypto3 libkrb5support0 libkeyutils1 libsasl2-2 libedit2 libbsd0 libmd0 libreadline8 libreadline8t64; do
    if apt-cache show "$package" >/dev/null 2>&1; then more="$more $package"; fi
done
# shellcheck disable=SC2046,SC2086 # several packages, not one
debian_unpack "$unpacked" "postgresql-$version" "postgresql-client-$version" \
    $(libraries_of "$version") $more ||
    give_up "the package 'postgresql-$version' could not be downloaded (apt's last lines are above)"
programs=$unpacked/usr/lib/postgresql/$version/bin
has_programs "$programs" || give_up "the package 'postgresql-$version' lacks a program"
# They find what they share, and each other, by where they lie. So they stay, and are started from
# there; the libraries are looked for beside those of the system.
libraries=$(find "$unpacked/usr/lib" "$unpacked/lib" -name 'lib*.so.*' -exec dirname {} \; 2>/dev/null |
    sort -u | grep -v "/lib/postgresql/" | tr '\n' ':')
mkdir -p "$target"
for program in postgres initdb psql; do
    cat >"$target/$program" <<END
#!/bin/sh
export LD_LIBRARY_PATH='${libraries%:}'
exec '$programs/$program' "\$@"
END
    chmod +x "$target/$program"
done
"$target/postgres" --version >&2
