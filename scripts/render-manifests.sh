#!/bin/sh
# Makes k8s/deployment-production.yaml from k8s/overlays/split. A test says when it is stale.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
"$root/scripts/install-kubernetes-tools.sh"
PATH="$root/.test/bin:$PATH"

file=$root/k8s/deployment-production.yaml
trap 'rm -f "$file.new"' EXIT
{
    echo "# Made by scripts/render-manifests.sh from k8s/overlays/split. Do not edit: change that one,"
    echo "# then \`make manifests\`. Its README says what must be there first."
    kubectl kustomize "$root/k8s/overlays/split"
} >"$file.new"
mv "$file.new" "$file"
