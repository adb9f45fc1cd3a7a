#!/bin/sh
# Makes kubectl and kubernetes-validate available to the tests that render and check the manifests.
#
#   .test/bin/kubectl            unless there is one on the PATH that is new enough
#   .test/kubernetes-validate/   Python modules, with Kubernetes' schemas inside
#
# kubectl renders (`kubectl kustomize`) and reads the commands of the documentation; it talks to no
# cluster. Debian 12's own is too old for today's kustomizations; the one of Debian 13 needs nothing of
# that system.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
target=$root/.test/bin
modules=$root/.test/kubernetes-validate
requirements=$root/tests/kubernetes/requirements.txt
PATH="$target:$PATH"
. "$root/scripts/lib/debian.sh"

give_up() {
    say "error: $1"
    say "  why: tests render the Kubernetes manifests and validate them"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}

# Whether the kubectl on the PATH is 1.27 or newer.
kubectl_fits() {
    minor=$(kubectl version --client --output=json 2>/dev/null |
        sed -n 's/.*"gitVersion": *"v1\.\([0-9]*\)\..*/\1/p' | head -n 1)
    [ "${minor:-0}" -ge 27 ]
}

install_kubectl() {
    advice="do:  install kubectl 1.27 or newer so that it is on the PATH (macOS: brew install kubernetes-cli;"
    debian_has_apt ||
        give_up "there is no kubectl of 1.27 or newer, and no apt to fetch one with" \
            "$advice" "     elsewhere: https://kubernetes.io/docs/tasks/tools/)"
    debian_unpack_of trixie "$root/.test/debian/kubernetes" kubectl ||
        give_up "the package 'kubectl' could not be downloaded (apt's last lines are above)" \
            "$advice" "     elsewhere: https://kubernetes.io/docs/tasks/tools/)"
    mkdir -p "$target"
    mv -f "$root/.test/debian/kubernetes/usr/bin/kubectl" "$target/kubectl"
    rm -rf "$root/.test/debian/kubernetes"
    kubectl_fits || give_up "the kubectl that was fetched does not run here" "$advice" \
        "     elsewhere: https://kubernetes.io/docs/tasks/tools/)"
}

# The modules appear whole or not at all; the requirements are copied beside them when they are there.
install_modules() {
    python3 -m pip --version >/dev/null 2>&1 ||
        give_up "'python3 -m pip' does not run, so kubernetes-validate cannot be fetched" \
            "do:  install Python 3 with pip (Debian: apt-get install python3-pip; macOS: brew install python)"
    say "fetching from PyPI: kubernetes-validate"
    mkdir -p "$root/.test"
    staging=$(mktemp -d "$root/.test/.kubernetes-validate.XXXXXX")
    trap 'rm -rf "$staging"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    if ! python3 -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
        --retries 2 --timeout 30 --target "$staging/modules" -r "$requirements" >"$staging/log" 2>&1; then
        tail -n 8 "$staging/log" | sed 's/^/  | /' >&2
        give_up "kubernetes-validate could not be installed (pip's last lines are above)" \
            "do:  look whether pip reaches PyPI"
    fi
    cp "$requirements" "$staging/modules/requirements.txt"
    rm -rf "$modules"
    mv "$staging/modules" "$modules"
}

kubectl_fits || install_kubectl
cmp -s "$requirements" "$modules/requirements.txt" || install_modules
