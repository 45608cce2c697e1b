#!/bin/sh
# build.sh: prints the path of what enforces NetworkPolicies on a node, building it first if this source was never built here
# (80 s of CPU, at low priority). A second one waits for the first.
set -eu
cd "$(dirname "$0")"
../../tools/need.sh go
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
export GOFLAGS=-mod=readonly CGO_ENABLED=0
key=$( (go version; cat go.mod go.sum main.go build.sh) | sha256sum | cut -c1-16)
folder=$cache/policies-$key
[ -x "$folder/policies" ] && { echo "$folder/policies"; exit 0; }

mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9
[ -x "$folder/policies" ] && { echo "$folder/policies"; exit 0; }
echo "kube-router's firewall: building it, once" >&2
# A proxy's address may hold a password.
nice -n 19 go build -trimpath -buildvcs=false -ldflags="-s -w" -o "$folder/new" . >"$folder/log" 2>&1 9>&- \
    || { tail -n 20 "$folder/log" | sed -E 's#//[^/@ ]*@#//#g' >&2; exit 1; }
mv "$folder/new" "$folder/policies"
echo "$folder/policies"
