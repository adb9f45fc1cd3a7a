#!/bin/sh
# Reads the diagrams of the documentation with Mermaid, whose versions are pinned in
# tests/documents/mermaid/package-lock.json and which goes into .test/mermaid/.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
source=$root/tests/documents/mermaid
target=$root/.test/mermaid

if ! command -v npm >/dev/null 2>&1; then
    # Node is one of two ways to get the runtime, so a machine may well be without it.
    echo "skipped: the diagrams are read with Mermaid, which needs Node and npm"
    exit 0
fi
if ! cmp -s "$source/package-lock.json" "$target/.complete"; then
    rm -rf "$target"
    mkdir -p "$target"
    cp "$source/package.json" "$source/package-lock.json" "$target/"
    npm ci --prefix "$target" --ignore-scripts --no-audit --no-fund --loglevel=error
    cp "$source/package-lock.json" "$target/.complete"
fi
# Beside the modules, where Node looks for them.
cp "$source/check.mjs" "$target/"
cd "$root"
find . \( -name target -o -name node_modules -o -path './.*' \) -prune -o -name '*.md' -print0 |
    sort -z | xargs -0 node "$target/check.mjs"
