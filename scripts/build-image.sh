#!/bin/sh
# Builds the image by the Dockerfile, without a registry and without Docker, into
# target/image/impetus.tar (a Docker archive: `ctr images import`, `docker load`, `podman load`).
#
# The Dockerfile's two base images come from Debian's mirror: mmdebstrap makes what
# debian:bookworm-slim is, and the same with a C compiler; the Rust toolchain is this machine's, the
# one that rust-toolchain.toml names. buildah then runs the Dockerfile as it is. What is used over and
# over is kept in target/image/: the bases for a day, and what cargo has compiled.
#
#   IMAGE_BINARY=FILE       takes that server instead of building one; for trying things out
#   SOURCE_DATE_EPOCH=...   the time that everything in the image bears; the last commit's otherwise
#
# It has to run as root, on Debian: a root file system is made, with its owners and devices.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib/debian.sh
. scripts/lib/containers.sh

folder=${CARGO_TARGET_DIR:-target}/image
name=docker.io/gerdsenai/impetus-llm-server

give_up() {
    say "error: $1"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}

check_machine() {
    [ "$(id -u)" = 0 ] || give_up "this has to run as root" \
        "why: it makes a root file system, with its owners and devices" \
        "do:  sudo make image; or docker build -t gerdsenai/impetus-llm-server ."
    containers_tools || give_up "buildah and mmdebstrap could not be fetched from Debian's packages" \
        "do:  docker build -t gerdsenai/impetus-llm-server . needs neither"
}

# Makes the root file system NAME of the packages that belong to every Debian and those named,
# without documentation and translations, as the images on Docker's hub are.
make_base() {
    base=$folder/bases/$1.tar
    shift
    if [ -n "$(find "$base" -mtime -1 2>/dev/null)" ]; then return; fi
    say "making the base $(basename "$base" .tar) from Debian's packages"
    mirror=http://deb.debian.org
    timeout 15m mmdebstrap --quiet --mode=root --variant=minbase --include="$*" \
        --hook-dir="$tools/usr/share/mmdebstrap/hooks/merged-usr" \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/info/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        bookworm "$base.new.tar" \
        "deb $mirror/debian bookworm main" \
        "deb $mirror/debian bookworm-updates main" \
        "deb $mirror/debian-security bookworm-security main" >"$folder/bases/log" 2>&1 || {
        tail -n 8 "$folder/bases/log" | sed 's/^/  | /' >&2
        give_up "mmdebstrap failed; its last lines are above, all of them in $folder/bases/log"
    }
    mv "$base.new.tar" "$base"
}

build() {
    timeout 15m buildah build --quiet --signature-policy "$policy" --timestamp "$SOURCE_DATE_EPOCH" \
        "$@" >/dev/null
}

# Makes an image of the base NAME with the lines of a Dockerfile read from standard input.
import_base() {
    { echo 'FROM scratch'; echo "ADD $1.tar /"; cat; } >"$folder/bases/$1.Dockerfile"
    build --tag "localhost/impetus/$1" --file "$folder/bases/$1.Dockerfile" "$folder/bases"
}

# Provides the stage that has the server; sets `binary`, `rust` and `revision`.
choose_binary() {
    revision=$(git rev-parse HEAD)
    [ -z "$(git status --porcelain)" ] || revision=$revision-dirty
    if [ -n "${IMAGE_BINARY:-}" ]; then
        say "note: taking $IMAGE_BINARY for the server; the image says that its revision is unknown"
        rust=localhost/impetus/debian
        binary=localhost/impetus/binary
        revision=unknown
        mkdir -p "$folder/bases/out"
        objcopy --only-keep-debug --compress-debug-sections=zlib \
            "$IMAGE_BINARY" "$folder/bases/out/impetus.debug"
        objcopy --strip-debug --add-gnu-debuglink="$folder/bases/out/impetus.debug" \
            "$IMAGE_BINARY" "$folder/bases/out/impetus"
        printf 'FROM scratch\nCOPY out /out\n' >"$folder/bases/binary.Dockerfile"
        build --tag "$binary" --file "$folder/bases/binary.Dockerfile" "$folder/bases"
        return
    fi
    pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    rustc --version | grep -qF "rustc $pinned " || give_up "this machine's rustc is not $pinned" \
        "why: the image is built by the compiler that rust-toolchain.toml names" \
        "do:  rustup toolchain install $pinned"
    rust=localhost/impetus/rust
    binary=build
    make_base rust usr-is-merged gcc libc6-dev
    # The toolchain is mounted on /mnt, a folder that every Debian has: a mount point that buildah
    # has to make stays in the image.
    import_base rust <<'LINES'
ENV PATH=/mnt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CARGO_HOME=/usr/local/cargo
LINES
}

# Runs the Dockerfile, saves the image, and takes the line tables out of the stage that built it.
build_image() {
    set -- --pull=never --layers \
        --volume "$(rustc --print sysroot):/mnt:ro" \
        --build-arg DEBIAN_IMAGE=localhost/impetus/debian \
        --build-arg RUST_IMAGE="$rust" \
        --build-arg VERSION="$version" \
        --build-arg REVISION="$revision"
    # Behind a proxy that intercepts TLS, the machine's certificates are the ones that count.
    bundle=/etc/ssl/certs/ca-certificates.crt
    [ ! -f "$bundle" ] || set -- "$@" --secret "id=ca-bundle,src=$bundle"
    say "building the image; the log is $folder/log"
    : >"$folder/log"
    if [ "$binary" = build ]; then
        # An image of its own: buildah finds no step with a cache mount again, and what follows would
        # compile once more each time.
        stage "$@" --target build --tag localhost/impetus/build
        binary=localhost/impetus/build
    fi
    set -- "$@" --build-arg BINARY="$binary"
    stage "$@" --tag localhost/impetus/server
    save
    rm -rf "$folder/symbols"
    stage "$@" --target symbols --output "type=local,dest=$folder/symbols"
}

# Runs the Dockerfile as far as the arguments say.
stage() {
    timeout 45m buildah build --signature-policy "$policy" --timestamp "$SOURCE_DATE_EPOCH" "$@" . \
        >>"$folder/log" 2>&1 || {
        tail -n 20 "$folder/log" | sed 's/^/  | /' >&2
        give_up "the image could not be built; buildah's last lines are above"
    }
}

# Removes what an earlier build has left, but no file of another file system: what is mounted into a
# build is not this script's.
clear_away() {
    rm -rf --one-file-system "$folder/storage" "$folder/run" "$folder/bases/out"
    find "$folder/tmp" -mindepth 1 -maxdepth 1 ! -name buildah-cache \
        -exec rm -rf --one-file-system {} +
}

save() {
    rm -f "$folder/impetus.new.tar"
    containers_skopeo copy --quiet --additional-tag "$name:$version" \
        containers-storage:localhost/impetus/server "docker-archive:$folder/impetus.new.tar:$name:latest"
    mv "$folder/impetus.new.tar" "$folder/impetus.tar"
    say "$folder/impetus.tar is $name:latest and $name:$version; make check-image tries it"
}

check_machine
mkdir -p "$folder/bases"
folder=$(CDPATH='' cd "$folder" && pwd)
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
containers_state "$folder"
exec 9>"$folder/lock"
flock -n 9 || give_up "another build of the image runs in $folder"
clear_away
make_base debian usr-is-merged
import_base debian </dev/null
choose_binary
build_image
clear_away
