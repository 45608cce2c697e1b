#!/bin/sh
# binaries.sh ROLE...: builds the roles' programs and prints the folder that they are in. PROFILE=dev for tests: quick to
# build, and as large as it gets; otherwise release, with the list of dependencies inside (cargo auditable), and without
# this machine's paths: the same sources and tools give the same bytes.
set -eu
cd "$(dirname "$0")/.."
profile=${PROFILE:-release}
# Not roomscribe-worker/nats: the worker is its own dev-dependency, and cargo takes that name for the dependency's feature.
set -- $(for role in "$@"; do echo "-p roomscribe-$role"; case $role in gateway) echo "--features cluster" ;; worker) echo "--features nats" ;; esac; done)
build=build
if [ "$profile" = release ]; then
    tests/tools/need.sh cargo cc cargo-auditable >&2
    PATH=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}/tools/bin:$PATH
    build="auditable build"
    # Elsewhere than what is built without these flags: neither makes the other build anew.
    CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/images
    cargo fetch --locked --quiet --target "$(rustc -vV | sed -n 's/^host: //p')" >&2
    # Crates stand in a folder that is named after the registry (or the mirror) that they came from. The last that fits
    # wins: the target folder may stand in the checkout. Cargo leaves flags that remap paths out of its hashes.
    RUSTFLAGS="" CFLAGS=""
    for folder in "$(pwd)=/src" "$CARGO_TARGET_DIR=/target" "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
        case $folder in *=*) ;; *) folder="$folder=/crates" ;; esac
        RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$folder"
        CFLAGS="$CFLAGS -ffile-prefix-map=$folder"
    done
    ROOMSCRIBE_VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1) (${ROOMSCRIBE_COMMIT:-unknown commit})"
    export PATH CARGO_TARGET_DIR RUSTFLAGS CFLAGS ROOMSCRIBE_VERSION
fi
# shellcheck disable=SC2086
cargo $build --locked --profile "$profile" --bins "$@" >&2
case $profile in dev) folder=debug ;; *) folder=$profile ;; esac
echo "${CARGO_TARGET_DIR:-target}/$folder"
