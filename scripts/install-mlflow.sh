#!/bin/sh
# Makes the MLflow servers that tests register models with: virtual environments in .test/mlflow2 and
# .test/mlflow3, with what tests/mlflow/requirements-2.txt and -3.txt pin.
#
#   scripts/install-mlflow.sh [2|3]...     only these releases
#
# One that is there already with the same requirements and the same Python is left as it is. What was
# asked for is copied beside what was installed last, so a run that is cut short is made good by the
# next one.

set -eu

root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

give_up() {
    say "error: $1"
    say "  why: tests follow models in registries of real MLflow servers"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}

# Whether a Python is one that all of it is published for.
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

# The environment gets no pip of its own: Debian keeps what that takes in a package apart. What MLflow
# asks for besides would be ten times as much, and is for those who train.
install() {
    "$python" -m pip --version >/dev/null 2>&1 ||
        give_up "'$python -m pip' does not run, so MLflow cannot be fetched" \
            "do:  install pip (Debian: apt-get install python3-pip)"
    say "fetching from PyPI: $(grep '^mlflow==' "$requirements")"
    rm -rf "$venv"
    "$python" -m venv --without-pip "$venv"
    log=$venv/install.log
    if ! "$python" -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check \
        --no-input --no-compile --no-deps --retries 2 --timeout 60 -r "$requirements" >"$log" 2>&1; then
        tail -n 8 "$log" | sed 's/^/  | /' >&2
        give_up "MLflow could not be installed (pip's last lines are above)" \
            "do:  look whether pip reaches PyPI"
    fi
    cp "$requirements" "$venv/requirements.txt"
}

[ $# -gt 0 ] || set -- 2 3
for release in "$@"; do
    venv=$root/.test/mlflow$release
    requirements=$root/tests/mlflow/requirements-$release.txt
    [ -f "$requirements" ] || give_up "there is no release $release here" "do:  name 2, 3 or both"
    if cmp -s "$requirements" "$venv/requirements.txt" && fits "$venv/bin/python"; then continue; fi
    choose_python
    install
done
