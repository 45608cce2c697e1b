#!/bin/sh
# pack.sh [ROLE...]: builds one image per role into OUT (default: the cache), as docker-archives that `docker load`,
# `podman load` and `ctr images import` take, with what is in it (CycloneDX) beside each, and prints their sizes. No Docker
# engine is needed. PROFILE=dev: for tests. SOURCE_DATE_EPOCH is an image's date: the commit's, so that nothing else is.
set -eu
cd "$(dirname "$0")/.."
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(images/roles.sh)
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
out=${OUT:-$cache/images}
prefix=${PREFIX:-ghcr.io/roomscribe}
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
ROOMSCRIBE_COMMIT=${ROOMSCRIBE_COMMIT:-$(git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo unknown)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export VERSION ROOMSCRIBE_COMMIT SOURCE_DATE_EPOCH
tests/tools/need.sh cargo cc buildah python3 pip unshare

programs=$(images/binaries.sh "$@")
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for role in "$@"; do
    images/root.sh "$role" "$programs/roomscribe-$role" "$work/$role"
    images/archive.sh "$prefix/$role:$VERSION" "$work/$role" "$out/$role.tar" \
        --entrypoint "[\"/roomscribe-$role\"]" --user 65532:65532 \
        --label "org.opencontainers.image.title=roomscribe-$role" \
        --label "org.opencontainers.image.version=$VERSION" \
        --label "org.opencontainers.image.revision=$ROOMSCRIBE_COMMIT" \
        --label "org.opencontainers.image.source=https://github.com/roomscribe/roomscribe" \
        --label "org.opencontainers.image.licenses=Apache-2.0"
    # Its files are all that it needs to run.
    shown=$(unshare --map-root-user chroot "$work/$role" "/roomscribe-$role" --version)
    [ "${PROFILE:-release}" != release ] || python3 images/sbom.py "$role" "$work/$role" >"$out/$role.cdx.json"
    printf '%-9s %6.1f MB %6.1f MB compressed  %s  %s\n' "$role" "$(du -sb "$work/$role" | awk '{print $1 / 1e6}')" \
        "$(gzip -nc "$out/$role.tar" | wc -c | awk '{print $1 / 1e6}')" "$out/$role.tar" "$shown"
done
