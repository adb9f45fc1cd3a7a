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
    debian_stage
    say "fetching from Debian: $*"
    # The system's package lists may be missing or old. Lists of our own need no rights to renew.
    if ! debian_apt download "$@" >log 2>&1; then debian_download "$@"; fi
    debian_arrive "$folder"
)

# debian_unpack_of SUITE FOLDER PACKAGE...: as debian_unpack, with the packages of another release of
# Debian than the system's, from the mirror that the system uses. For programs that need little of
# the system around them.
debian_unpack_of() (
    suite=$1
    folder=$2
    shift 2
    debian_stage
    mirror=$(debian_mirror)
    cat >"parts/$suite.sources" <<SOURCES
Types: deb
URIs: ${mirror:-http://deb.debian.org/debian}
Suites: $suite
Components: main
Targets: Packages
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
    # What is installed here, perhaps from elsewhere and newer, is no candidate.
    : >status
    own="$own -o Dir::State::status=$staging/status -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$staging/parts"
    say "fetching from Debian $suite: $*"
    debian_download "$@"
    debian_arrive "$folder"
)

# What follows are steps of those above, in a subshell of theirs: they change the folder, set
# traps and end it on failure.

# debian_stage: goes to a folder that is gone at the end; `own` has apt keep its lists there.
debian_stage() {
    mkdir -p "$root/.test"
    staging=$(mktemp -d "$root/.test/.debian.XXXXXX") || exit 1
    trap 'rm -rf "$staging"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    cd "$staging" || exit 1
    mkdir -p lists/partial cache/archives/partial parts
    own="-o Dir::State::lists=$staging/lists -o Dir::Cache=$staging/cache"
}

# debian_download PACKAGE...: renews the lists and downloads.
debian_download() {
    # shellcheck disable=SC2086 # several options, not one
    if ! { debian_apt $own update && debian_apt $own download "$@"; } >log 2>&1; then
        tail -n 5 log | sed 's/^/  | /' >&2
        exit 1
    fi
}

# debian_arrive FOLDER: unpacks what was downloaded, and puts it where it belongs.
debian_arrive() {
    for package in ./*.deb; do
        dpkg-deb -x "$package" unpacked || exit 1
    done
    debian_place "$1"
}

# debian_place FOLDER: puts what was unpacked where it belongs.
debian_place() {
    rm -rf "$1"
    mkdir -p "$(dirname "$1")"
    mv unpacked "$1"
}

# debian_mirror: the address of the first mirror of Debian itself among the system's sources.
debian_mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
        tr ' ' '\n' | sed -n 's|^\(https\{0,1\}://.*/debian\)/\{0,1\}$|\1|p' | head -n 1
}
