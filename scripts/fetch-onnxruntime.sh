#!/bin/sh
# Puts the pinned ONNX Runtime into .onnxruntime/ (or the folder given as the first argument).
#
#   libonnxruntime.so            a link to the library below (.dylib on macOS)
#   libonnxruntime.so.<version>  the library
#   stamp                        source, version, platform, file name, size and SHA-256 of the library
#   LICENSE, ...                 what comes with it
#
# It comes from PyPI by pip or, where there is no pip, from the npm registry; the archive's SHA-256
# is checked before anything is unpacked. When the right library is there already, nothing happens.
# Every file is renamed into place when it is complete, the stamp last: a run that is cut short
# leaves no half library, and runs side by side do not disturb each other.
#
#   IMPETUS_FETCH_WITH=pip|npm   takes that way and no other

set -eu

PIP_VERSION=1.32.0
NPM_VERSION=1.30.0
NPM_SHA256=6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $1"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}

# --- which library ---

# A machine that we have no library for can still run one that somebody put there by hand.
unsupported() {
    if [ -f "$folder/$link" ]; then
        say "note: no ONNX Runtime is pinned for $1; using the $folder/$link that is there"
        exit 0
    fi
    fail "no ONNX Runtime is pinned for $1" \
        "why: it is published for Linux with glibc (x86_64, aarch64) and for macOS on Apple silicon" \
        "do:  build ONNX Runtime 1.24 or newer (https://onnxruntime.ai/docs/build/)" \
        "     and put the library at $folder/$link"
}

choose_platform() {
    system=$(uname -s)
    machine=$(uname -m)
    link=libonnxruntime.so
    [ "$system" != Darwin ] || link=libonnxruntime.dylib
    case "$system-$machine" in
        Linux-x86_64 | Linux-amd64)
            platform=linux-x86_64
            wheel_platform=manylinux_2_28_x86_64
            wheel_sha256=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d
            npm_library=linux/x64/libonnxruntime.so.1 ;;
        Linux-aarch64 | Linux-arm64)
            platform=linux-aarch64
            wheel_platform=manylinux_2_28_aarch64
            wheel_sha256=2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c
            npm_library=linux/arm64/libonnxruntime.so.1 ;;
        Darwin-arm64)
            platform=macos-arm64
            wheel_platform=macosx_14_0_arm64
            wheel_sha256=366b9e53d07812cc5c92822cecf7563b76a8a0f32ba3bb8dd232a206ac3bcb6c
            npm_library=darwin/arm64/libonnxruntime.$NPM_VERSION.dylib ;;
        *) unsupported "$system on $machine" ;;
    esac
}

# Names the file that the library of a version gets, in the system's own manner.
library_name() {
    case "$link" in
        *.dylib) echo "libonnxruntime.$1.dylib" ;;
        *) echo "libonnxruntime.so.$1" ;;
    esac
}

# Succeeds when the folder holds what the stamp says and the stamp says what is wanted. The size is
# compared, not the checksum, because this stands before every start of the server.
present() {
    [ -f "$folder/stamp" ] && [ -e "$folder/$link" ] || return 1
    read -r source version stamped file size _ <"$folder/stamp" || return 1
    case "$source $version" in
        "pip $PIP_VERSION" | "npm $NPM_VERSION") ;;
        *) return 1 ;;
    esac
    [ -z "$wanted" ] || [ "$wanted" = "$source" ] || return 1
    [ "$stamped" = "$platform" ] && [ "$(readlink "$folder/$link")" = "$file" ] || return 1
    [ "$(wc -c <"$folder/$file" | tr -d ' ')" = "$size" ]
}

# --- how it comes ---

have_pip() { python3 -m pip --version >/dev/null 2>&1; }
have_npm() { command -v npm >/dev/null 2>&1; }

choose_way() {
    case "$wanted" in
        pip) have_pip || fail "IMPETUS_FETCH_WITH=pip, but 'python3 -m pip' does not run" \
            "do:  install Python 3 with pip (Debian: apt-get install python3-pip), or unset the variable" ;;
        npm) have_npm || fail "IMPETUS_FETCH_WITH=npm, but there is no npm" \
            "do:  install Node with npm (Debian: apt-get install npm), or unset the variable" ;;
        '')
            if have_pip; then wanted=pip
            elif have_npm; then wanted=npm
            else
                fail "neither pip nor npm is here, so ONNX Runtime cannot be fetched" \
                    "why: it is taken from PyPI (by 'python3 -m pip') or from the npm registry (by 'npm')" \
                    "do:  install one of them; Debian: apt-get install python3-pip; macOS: brew install python"
            fi ;;
        *) fail "IMPETUS_FETCH_WITH is '$wanted'; it must be pip or npm, or not set" ;;
    esac
}

# Runs a download command; when it fails, shows what it said and what can be done.
download() {
    what=$1
    shift
    if (cd "$staging" && "$@") >"$staging/log" 2>&1; then return; fi
    tail -n 8 "$staging/log" | sed 's/^/  | /' >&2
    other=npm
    [ "$wanted" = pip ] || other=pip
    fail "$what could not be downloaded (the last lines above are from $wanted)" \
        "why: mostly there is no network, or a proxy or a mirror stands between" \
        "do:  check the network and ${wanted}'s own settings, then run this again;" \
        "     or take the other way: IMPETUS_FETCH_WITH=$other $0;" \
        "     or copy $folder from a machine of the same kind that has it"
}

sha256() {
    if command -v sha256sum >/dev/null 2>&1; then sum=$(sha256sum <"$1")
    elif command -v shasum >/dev/null 2>&1; then sum=$(shasum -a 256 <"$1")
    elif command -v openssl >/dev/null 2>&1; then sum=$(openssl dgst -sha256 -r <"$1")
    else fail "nothing here computes a SHA-256" "do:  install sha256sum, shasum or openssl"
    fi
    echo "${sum%% *}"
}

check_archive() {
    actual=$(sha256 "$1")
    [ "$actual" = "$2" ] || fail "the checksum of $(basename "$1") is wrong; nothing was unpacked" \
        "expected $2" \
        "got      $actual" \
        "why: the download was damaged, or somebody changed the file on its way" \
        "do:  try once more; if it stays so, find out where $wanted downloads from and do not use the file"
}

# Both ways leave the library as $staging/library and its papers in $staging/papers.

fetch_with_pip() {
    version=$PIP_VERSION
    say "fetching ONNX Runtime $version for $platform from PyPI"
    # The interpreter is named in full so that one file, and so one checksum, serves every Python.
    download "the wheel onnxruntime $version" env PIP_REQUIRE_VIRTUALENV=0 \
        python3 -m pip download --quiet --disable-pip-version-check --no-input \
        --timeout 30 --retries 3 --no-deps --only-binary=:all: --implementation cp \
        --python-version 311 --abi cp311 --platform "$wheel_platform" --dest . "onnxruntime==$version"
    archive=$staging/onnxruntime-$version-cp311-cp311-$wheel_platform.whl
    check_archive "$archive" "$wheel_sha256"
    python3 -m zipfile -e "$archive" "$staging/unpacked"
    mv "$staging/unpacked/onnxruntime/capi/$(library_name "$version")" "$staging/library"
    mv "$staging/unpacked/onnxruntime/LICENSE" \
        "$staging/unpacked/onnxruntime/ThirdPartyNotices.txt" "$staging/papers"
}

fetch_with_npm() {
    version=$NPM_VERSION
    say "fetching ONNX Runtime $version for $platform from the npm registry"
    download "the package onnxruntime-node $version" \
        npm pack --loglevel error --fetch-timeout 60000 --fetch-retries 3 \
        --fetch-retry-mintimeout 1000 --fetch-retry-maxtimeout 5000 "onnxruntime-node@$version"
    archive=$staging/onnxruntime-node-$version.tgz
    check_archive "$archive" "$NPM_SHA256"
    library=package/bin/napi-v6/$npm_library
    tar -xzf "$archive" -C "$staging" "$library" package/package.json
    mv "$staging/$library" "$staging/library"
    # The package has no licence text; its manifest names the licence, the authors and the source.
    mv "$staging/package/package.json" "$staging/papers/onnxruntime-node.package.json"
}

# --- putting it in place ---

put_in_place() {
    file=$(library_name "$version")
    size=$(wc -c <"$staging/library" | tr -d ' ')
    echo "$wanted $version $platform $file $size $(sha256 "$staging/library")" >"$staging/stamp"
    chmod 755 "$staging/library"
    chmod 644 "$staging"/papers/* "$staging/stamp"
    ln -s "$file" "$staging/$link"

    mv -f "$staging/library" "$folder/$file"
    mv -f "$staging"/papers/* "$folder/"
    mv -f "$staging/$link" "$folder/$link"
    mv -f "$staging/stamp" "$folder/stamp"
    for old in "$folder"/libonnxruntime.*; do
        case "$old" in
            "$folder/$file" | "$folder/$link") ;;
            *) rm -f "$old" ;;
        esac
    done
    say "ONNX Runtime $version is in $folder"
}

main() {
    root=$(CDPATH='' cd "$(dirname "$0")/.." && pwd)
    folder=${1:-$root/.onnxruntime}
    wanted=${IMPETUS_FETCH_WITH:-}
    choose_platform
    if present; then return; fi
    # musl is told apart only here: asking takes a process, and this line is seldom reached.
    if ldd --version 2>&1 | grep -qi musl; then unsupported "Linux with musl"; fi
    choose_way

    mkdir -p "$folder"
    folder=$(CDPATH='' cd "$folder" && pwd)
    staging=$(mktemp -d "$folder/.fetch.XXXXXX")
    trap 'rm -rf "$staging"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir "$staging/papers"
    "fetch_with_$wanted"
    put_in_place
}

main "$@"
