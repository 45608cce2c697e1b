#!/bin/sh
# reproduce.sh [FOLDER [ROLE...]]: builds the images of HEAD once more, in another checkout, with a target folder, a cache of tools and
# crates of its own, and compares the bytes with those that pack.sh left in FOLDER. Ends with one line, or with code 1
# and what differs.
set -eu
cd "$(dirname "$0")/.."
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
first=${1:-$cache/images}
[ $# -eq 0 ] || shift
mkdir -p "$cache"
work=$(mktemp -d "$cache/reproduce.XXXXXX")
trap 'rm -rf "$work"' EXIT

# A path of another length: what depends on it would show.
place=$work/another/place/with/a/longer/name
git clone --quiet . "$place"
echo "building in $place" >&2
(cd "$place" && env OUT="$work/second" CARGO_TARGET_DIR="$work/target" CARGO_HOME="$work/crates" \
    ROOMSCRIBE_CACHE="$work/cache" images/pack.sh "$@" >&2)
differ=0
for file in "$work"/second/*; do
    name=$(basename "$file")
    sum=$(sha256sum <"$file" | cut -d' ' -f1)
    echo "$sum  $name"
    cmp -s "$file" "$first/$name" || { echo "differs from $first/$name" >&2; differ=1; }
done
[ "$differ" = 0 ] && echo "two builds of $(git rev-parse --short=12 HEAD) are the same, byte for byte"
