# shellcheck shell=sh
# Functions for the scripts that build images and run containers without a registry and without
# Docker. To be sourced after lib/debian.sh, with `root` set to the folder of the checkout.
#
# The programs come from Debian's packages and stay in the checkout, as all does that is fetched for
# tests. What buildah and skopeo would read in /etc and keep in /var is handed to them from there
# too, so nothing of the machine's own set-up counts and nothing in it is changed.

tools=$root/.test/debian/containers

# containers_tools: puts buildah, skopeo, umoci, runc and mmdebstrap on the PATH.
containers_tools() {
    if [ ! -x "$tools/usr/bin/buildah" ]; then
        debian_has_apt || return 1
        debian_unpack "$root/.test/debian/patchelf" patchelf || return 1
        debian_unpack "$tools" buildah skopeo umoci runc mmdebstrap \
            libassuan0 libdevmapper1.02.1 libgpg-error0 libgpgme11 libseccomp2 || return 1
    fi
    # buildah starts itself again with an empty environment and without /proc, where neither
    # LD_LIBRARY_PATH nor $ORIGIN leads to its libraries. The checkout may have moved since.
    set -- "$tools"/usr/lib/*-linux-gnu*
    patchelf=$root/.test/debian/patchelf/usr/bin/patchelf
    for program in bin/buildah bin/skopeo bin/umoci sbin/runc; do
        program=$tools/usr/$program
        [ "$("$patchelf" --print-rpath "$program")" = "$1" ] ||
            "$patchelf" --force-rpath --set-rpath "$1" "$program" || return 1
    done
    PATH=$tools/usr/bin:$tools/usr/sbin:$PATH
}

# containers_state FOLDER: has buildah and skopeo keep everything in that folder.
containers_state() {
    mkdir -p "$1/etc" "$1/tmp"
    printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' \
        "$1/storage" "$1/run" >"$1/etc/storage.conf"
    echo 'unqualified-search-registries = []' >"$1/etc/registries.conf"
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$1/etc/policy.json"
    : >"$1/etc/containers.conf"
    # The kernel's overlay and the user's own files are what this does without: `chroot` needs
    # neither systemd nor a cgroup of its own.
    export CONTAINERS_STORAGE_CONF="$1/etc/storage.conf" CONTAINERS_CONF="$1/etc/containers.conf" \
        CONTAINERS_REGISTRIES_CONF="$1/etc/registries.conf" BUILDAH_ISOLATION=chroot TMPDIR="$1/tmp"
    policy=$1/etc/policy.json
}

# containers_skopeo ARGUMENT...: runs skopeo.
containers_skopeo() { skopeo --policy "$policy" "$@"; }
