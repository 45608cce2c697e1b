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
    registry=${CARGO_HOME:-$HOME/.cargo} here=$(pwd)
    # Elsewhere than what is built without these flags: neither makes the other build anew.
    CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/images
    RUSTFLAGS="--remap-path-prefix=$registry=/cargo --remap-path-prefix=$here=/src"
    CFLAGS="-ffile-prefix-map=$registry=/cargo -ffile-prefix-map=$CARGO_TARGET_DIR=/target"
    ROOMSCRIBE_VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1) (${ROOMSCRIBE_COMMIT:-unknown commit})"
    export PATH CARGO_TARGET_DIR RUSTFLAGS CFLAGS ROOMSCRIBE_VERSION
fi
# shellcheck disable=SC2086
cargo $build --locked --profile "$profile" --bins "$@" >&2
case $profile in dev) folder=debug ;; *) folder=$profile ;; esac
echo "${CARGO_TARGET_DIR:-target}/$folder"
