#!/bin/sh
# test-images.sh FOLDER: packs what only tests run into docker-archives there: the simulated LiveKit.
set -eu
cd "$(dirname "$0")/../.."
cargo build --locked -p roomscribe-sims --bin livekit_sim >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
images/root.sh livekit-sim "${CARGO_TARGET_DIR:-target}/debug/livekit_sim" "$work/livekit-sim"
images/archive.sh localhost/roomscribe/livekit-sim:test "$work/livekit-sim" "$1/livekit-sim.tar" \
    --entrypoint '["/roomscribe-livekit-sim"]' --user 65532:65532
