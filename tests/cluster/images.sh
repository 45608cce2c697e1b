#!/bin/sh
# images.sh: prints a folder with the images that a cluster itself needs, pause.tar and coredns.tar, made if this source
# was never packed here.
set -eu
cd "$(dirname "$0")"
../tools/need.sh cc buildah
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
coredns=$(./go-program.sh dns)
key=$( (echo "$coredns"; cat pause/*.c images.sh ../../images/archive.sh) | sha256sum | cut -c1-16)
folder=$cache/cluster-images-$key
[ -d "$folder" ] && { echo "$folder"; exit 0; }

work=$(mktemp -d "$cache/cluster-images.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/pause" "$work/coredns" "$work/done"
for name in pause probe; do cc -O2 -static -s -o "$work/pause/$name" "pause/$name.c"; done
cp "$coredns" "$work/coredns/coredns"
../../images/archive.sh localhost/pause:1 "$work/pause" "$work/done/pause.tar" --entrypoint '["/pause"]' --user 65532:65532
../../images/archive.sh localhost/coredns:1 "$work/coredns" "$work/done/coredns.tar" --entrypoint '["/coredns"]' --user 65532:65532
# Another one may have been faster.
mv -T "$work/done" "$folder" 2>/dev/null || [ -d "$folder" ]
echo "$folder"
