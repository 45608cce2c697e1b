#!/bin/sh
# test-images.sh FOLDER: packs what only tests run into docker-archives there: the simulated LiveKit, and a NATS from
# its package. PROFILE as of images/pack.sh.
set -eu
cd "$(dirname "$0")/../.."
programs=$(images/binaries.sh sims)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
images/root.sh livekit-sim "$programs/livekit_sim" "$work/livekit-sim"
images/archive.sh localhost/roomscribe/livekit-sim:test "$work/livekit-sim" "$1/livekit-sim.tar" \
    --entrypoint '["/roomscribe-livekit-sim"]' --user 65532:65532
mkdir "$work/nats"
cp "${NATS_SERVER_BIN:?}" "$work/nats/nats-server"
images/archive.sh localhost/roomscribe/nats:test "$work/nats" "$1/nats.tar" --entrypoint '["/nats-server"]' --user 65532:65532
