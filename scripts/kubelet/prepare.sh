#!/bin/sh
# Makes a kubelet and what it needs available to the tests, in .test/kubelet/: containerd,
# runc and the network plugins as Debian builds them, and the kubelet and the pause container built
# from Debian's sources with Debian's Go.
#
#   scripts/kubelet/prepare.sh            for `make test-kubelet`
#   scripts/kubelet/prepare.sh cluster    etcd and the control plane beside it, for `make test-cluster`
#
# The first run takes minutes of CPU time for the build. Later ones find its result by its version,
# which is in the name. Nothing is installed into the system.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/lib/debian.sh
. "$root/scripts/lib/debian.sh"
home=$root/.test/kubelet
here=$root/scripts/kubelet

give_up() {
    say "error: $1"
    say "  why: a kubelet is built from Debian's source package 'kubernetes', and runs containers by"
    say "       Debian's containerd and runc"
    say "  do:  run this on Debian 12 (in a virtual machine or a privileged container of it)"
    exit 1
}

debian_has_apt || give_up "there is no apt to fetch Debian's packages with"
command -v dpkg-source >/dev/null 2>&1 || give_up "dpkg-source is missing (apt-get install dpkg-dev)"

# unpacked_once FOLDER PACKAGE...: unpacks packages unless that was done.
unpacked_once() {
    if [ ! -d "$1" ]; then debian_unpack "$@" || give_up "Debian's packages could not be fetched"; fi
}

# source_of_debian FOLDER PACKAGE: unpacks a source package into FOLDER, which appears whole or not at all,
# with Debian's patches applied. The system's own sources seldom list source packages, so lists of our
# own ask the same mirrors for them.
source_of_debian() (
    folder=$1
    package=$2
    debian_stage
    for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        if [ -f "$list" ]; then sed -n 's/^deb /deb-src /p' "$list" >"parts/$(basename "$list" .list).list"; fi
    done
    for list in /etc/apt/sources.list.d/*.sources; do
        if [ -f "$list" ]; then sed 's/^Types:.*/Types: deb-src/' "$list" >"parts/$(basename "$list")"; fi
    done
    own="$own -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$staging/parts"
    say "fetching from Debian: the source of $package"
    # Somebody else's repository without sources fails the update and changes nothing for us.
    # shellcheck disable=SC2086 # several options, not one
    if ! {
        debian_apt $own update || true
        debian_apt $own source --download-only "$package" &&
            dpkg-source --extract "$package"_*.dsc unpacked
    } >log 2>&1; then
        tail -n 5 log | sed 's/^/  | /' >&2
        exit 1
    fi
    debian_place "$folder"
)

# build_tool_chain: makes Go available, with the sources of Kubernetes where a GOPATH has them.
build_tool_chain() {
    unpacked_once "$home/go" golang-1.19-go golang-1.19-src
    source=$home/gopath/src/k8s.io/kubernetes
    if [ ! -d "$source" ]; then
        source_of_debian "$source" kubernetes || give_up "the source of kubernetes could not be fetched"
    fi
    version=$(dpkg-parsechangelog -l "$source/debian/changelog" -S Version)
    # 1.20.5+really1.20.2-1.1+deb12u1 is 1.20.2.
    upstream=$(printf '%s\n' "$version" | sed -e 's/.*+really//' -e 's/-.*//')
    minor=$(printf '%s\n' "$upstream" | cut -d . -f 2)
    export GOROOT="$home/go/usr/lib/go-1.19" GOPATH="$home/gopath" GOCACHE="$home/gocache"
    export GO111MODULE=off GOPROXY=off CGO_ENABLED=0
}

# build NAME FOLDER: builds a program of Kubernetes into .test/kubelet/bin/NAME-VERSION.
build() {
    if [ -x "$home/bin/$1-$version" ]; then return; fi
    say "building $1 $version (minutes of CPU time)"
    in=k8s.io/kubernetes/vendor/k8s.io/component-base/version
    mkdir -p "$home/bin"
    (
        cd "$source"
        "$GOROOT/bin/go" build -trimpath -o "$home/bin/.$1" \
            -ldflags "-s -w -X $in.gitVersion=v$upstream -X $in.gitMajor=1 -X $in.gitMinor=$minor" \
            "$2"
    ) || give_up "$1 could not be built"
    mv "$home/bin/.$1" "$home/bin/$1-$version"
}

# build_control_plane: builds the programs of a cluster of one node. The API server's description of
# itself is generated code that the sources do not contain.
build_control_plane() {
    api=k8s.io/kubernetes/pkg/generated/openapi
    if [ ! -f "$source/pkg/generated/openapi/zz_generated.openapi.go" ]; then
        "$GOROOT/bin/go" build -trimpath -o "$home/bin/openapi-gen" \
            k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen || give_up "openapi-gen could not be built"
        (
            cd "$source"
            packages=$(grep -rl --include='*.go' -e '+k8s:openapi-gen=' pkg staging/src/k8s.io \
                --exclude-dir=_examples --exclude-dir=sample-apiserver --exclude-dir=code-generator |
                xargs -n 1 dirname | sort -u |
                sed -e 's|^staging/src/|k8s.io/kubernetes/vendor/|' -e 's|^pkg/|k8s.io/kubernetes/pkg/|' |
                paste -sd ,)
            # It asks for `go` by name.
            PATH="$GOROOT/bin:$PATH" "$home/bin/openapi-gen" -i "$packages" -p "$api" -O zz_generated.openapi \
                -h hack/boilerplate/boilerplate.generatego.txt -r /dev/null
        ) >"$home/openapi-gen.log" 2>&1 || give_up "the API could not be described (see $home/openapi-gen.log)"
    fi
    for program in kube-apiserver kube-controller-manager kube-scheduler; do
        build "$program" "./cmd/$program"
        ln -sf "$program-$version" "$home/bin/$program"
    done
}

unpacked_once "$home/containerd" containerd runc containernetworking-plugins
if [ ! -x "$home/bin/kubelet" ] || [ ! -x "$home/bin/pause" ]; then
    build_tool_chain
    build kubelet ./cmd/kubelet
    "$GOROOT/bin/go" build -trimpath -ldflags "-s -w" -o "$home/bin/pause" "$here/pause.go" ||
        give_up "the pause program could not be built"
    ln -sf "kubelet-$version" "$home/bin/kubelet"
fi
if [ "${1:-}" = cluster ]; then
    command -v openssl >/dev/null 2>&1 || give_up "openssl is missing (apt-get install openssl)"
    unpacked_once "$home/etcd" etcd-server
    if [ ! -x "$home/bin/kube-scheduler" ]; then
        build_tool_chain
        build_control_plane
    fi
fi
"$home/bin/kubelet" --version >&2
