# Functions for the scripts that fetch what the tests need. To be sourced, with `root` set to the
# folder of the checkout.
#
# Debian's packages are downloaded and unpacked, not installed. So this needs no root, starts no
# service, changes nothing outside the checkout, and apt still checks the signatures.

say() { printf '%s\n' "$*" >&2; }

# Runs apt-get with a deadline on every connection. The sandbox user of apt cannot write here, so
# it is told not to change to it: that only ever mattered to root, and would be a warning each time.
debian_apt() {
    apt-get -q -o Acquire::Retries=2 -o Acquire::http::Timeout=30 \
        -o APT::Sandbox::User="$(id -un)" "$@"
}

# debian_has_apt: whether packages can be fetched here at all.
debian_has_apt() {
    command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1
}

# debian_unpack FOLDER PACKAGE...: puts what the packages contain into FOLDER, which appears whole or
# not at all. Dependencies are not followed: name them. On failure apt's last lines are shown.
debian_unpack() (
    folder=$1
    shift
    mkdir -p "$root/.test"
    staging=$(mktemp -d "$root/.test/.debian.XXXXXX") || exit 1
    trap 'rm -rf "$staging"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    cd "$staging" || exit 1
    say "fetching from Debian: $*"
    if ! debian_apt download "$@" >log 2>&1; then
        # The system's package lists may be missing or old. Lists of our own need no rights to renew.
        mkdir -p lists/partial cache/archives/partial
        own="-o Dir::State::lists=$staging/lists -o Dir::Cache=$staging/cache"
        # shellcheck disable=SC2086 # two options, not one
        if ! { debian_apt $own update && debian_apt $own download "$@"; } >log 2>&1; then
            tail -n 5 log | sed 's/^/  | /' >&2
            exit 1
        fi
    fi
    for package in ./*.deb; do
        dpkg-deb -x "$package" unpacked || exit 1
    done
    rm -rf "$folder"
    mkdir -p "$(dirname "$folder")"
    mv unpacked "$folder"
)
