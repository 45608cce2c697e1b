#!/bin/sh
# archive.sh NAME FOLDER FILE [OPTION...]: makes a one-layer image of a folder, as a docker-archive, without a Docker
# engine; the options are those of `buildah config`. The same folder gives the same bytes.
set -eu
name=$1 folder=$2 file=$3
shift 3
stamp=${SOURCE_DATE_EPOCH:-0}
store=$(mktemp -d)
b() { buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"; }
trap 'b rm --all >/dev/null 2>&1 || true; rm -rf "$store"' EXIT

container=$(b from scratch)
b copy --quiet --chown 0:0 "$container" "$folder" / >/dev/null
b config --created-by roomscribe "$@" "$container"
b commit --quiet --timestamp "$stamp" "$container" "$name" >/dev/null
rm -f "$file"
b push --quiet "$name" "docker-archive:$file:$name"
