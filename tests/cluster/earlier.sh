#!/bin/sh
# earlier.sh [REF]: prints a folder with an earlier version of this repository (default: its newest tag), built if it was
# never built here: chart/, and operator.tar, worker.tar, gateway.tar with images of debug programs under the tag "from".
set -eu
cd "$(dirname "$0")/../.."
ref=${1:-$(git tag --sort=-creatordate | head -1)}
[ -n "$ref" ] || { echo "there is no tag yet: say from which version, make upgrade-test FROM=<git ref>" >&2; exit 64; }
commit=$(git rev-parse --quiet --verify --short=12 "$ref^{commit}") || { echo "FROM: git knows no $ref" >&2; exit 64; }
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
folder=$cache/earlier-$commit
[ -d "$folder" ] && { echo "$folder"; exit 0; }

tests/tools/need.sh cargo cc buildah ca-certificates
mkdir -p "$cache"
work=$(mktemp -d "$cache/earlier.XXXXXX")
trap 'git worktree remove --force "$work/tree" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
echo "building $ref ($commit) into $folder (once)" >&2
git worktree add --quiet --detach "$work/tree" "$commit"
mkdir "$work/done"
cp -r "$work/tree/charts/roomscribe" "$work/done/chart"
# What both versions depend on is compiled already.
[ ! -d "${CARGO_TARGET_DIR:-target}/debug" ] || { mkdir "$work/target"; cp -a "${CARGO_TARGET_DIR:-target}/debug" "$work/target/"; }
cd "$work/tree"
programs=$(PROFILE=dev CARGO_TARGET_DIR="$work/target" images/binaries.sh operator worker gateway)
for role in operator worker gateway; do
    images/root.sh "$role" "$programs/roomscribe-$role" "$work/$role"
    images/archive.sh "localhost/roomscribe/$role:from" "$work/$role" "$work/done/$role.tar" \
        --entrypoint "[\"/roomscribe-$role\"]" --user 65532:65532
done
cd - >/dev/null
# Another one may have been faster.
mv -T "$work/done" "$folder" 2>/dev/null || [ -d "$folder" ]
echo "$folder"
