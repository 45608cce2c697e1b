#!/bin/sh
# build.sh: prints the path of the cluster program, building it first if this source was never built here (about 12
# CPU-minutes, at low priority; a line every 20 s on stderr). A second one waits for the first.
set -eu
cd "$(dirname "$0")/node"
../../tools/need.sh go
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
# The newest Go that is here, never one that is fetched: the key and the build must speak of the same one.
export GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=0
key=$( (go version; cat go.mod go.sum main.go "../build.sh") | sha256sum | cut -c1-16)
folder=$cache/cluster-$key
[ -x "$folder/cluster" ] && { echo "$folder/cluster"; exit 0; }

mkdir -p "$cache"
exec 9>"$cache/cluster-$key.lock"
say() { echo "cluster program: $*" >&2; }
begun=$(date +%s)
until flock -w 20 9; do say "another build is at it, $(($(date +%s) - begun)) s"; done
[ -x "$folder/cluster" ] && { echo "$folder/cluster"; exit 0; }

version=v$(awk '$1 == "k8s.io/kubernetes" && $2 != "=>" {print substr($2, 2); exit}' go.mod)
major=${version#v}; minor=${major#*.}; minor=${minor%%.*}; major=${major%%.*}
stamp=""
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    stamp="$stamp -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
    stamp="$stamp -X $package.gitTreeState=clean -X $package.buildDate=1970-01-01T00:00:00Z"
done

work=$(mktemp -d "$cache/cluster-build.XXXXXX")
build=""
trap '[ -z "$build" ] || kill $build 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
say "building Kubernetes $version, once"
nice -n 19 go build -v -trimpath -buildvcs=false -ldflags="-s -w$stamp" -o "$work/cluster" . >"$work/log" 2>&1 9>&- &
build=$!
while sleep 1 && kill -0 $build 2>/dev/null; do
    spent=$(($(date +%s) - begun))
    [ $((spent % 20)) -ne 0 ] || say "$(grep -cv '^go: ' "$work/log" || true) packages built, $spent s"
done
# A proxy's address may hold a password.
wait $build || { say "go build failed:"; tail -n 20 "$work/log" | sed -E 's#//[^/@ ]*@#//#g' >&2; exit 1; }
mkdir -p "$folder"
mv "$work/cluster" "$folder/cluster"
say "ready after $(($(date +%s) - begun)) s"
echo "$folder/cluster"
