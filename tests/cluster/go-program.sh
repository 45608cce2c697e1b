#!/bin/sh
# go-program.sh FOLDER: prints the path of the Go program that stands in this folder here, building it first if its source
# was never built here (at low priority). A second one waits for the first.
set -eu
cd "$(dirname "$0")/$1"
../../tools/need.sh go
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
export GOFLAGS=-mod=readonly CGO_ENABLED=0
key=$( (go version; cat go.mod go.sum main.go ../go-program.sh) | sha256sum | cut -c1-16)
folder=$cache/$1-$key
[ -x "$folder/$1" ] && { echo "$folder/$1"; exit 0; }

mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9
[ -x "$folder/$1" ] && { echo "$folder/$1"; exit 0; }
echo "the cluster's $1: building it, once (a minute or two of CPU)" >&2
# A proxy's address may hold a password.
nice -n 19 go build -trimpath -buildvcs=false -ldflags="-s -w" -o "$folder/new" . >"$folder/log" 2>&1 9>&- \
    || { tail -n 20 "$folder/log" | sed -E 's#//[^/@ ]*@#//#g' >&2; exit 1; }
mv "$folder/new" "$folder/$1"
echo "$folder/$1"
