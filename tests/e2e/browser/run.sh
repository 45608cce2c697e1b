#!/usr/bin/env bash
# The page in headless Chromium: against a scripted peer, and (program.test.mjs) against the real program when ROOMSCRIBE_BIN names it.
set -euo pipefail
cd "$(dirname "$0")"
. ./tools.sh
exec node --test --test-concurrency=2 "$@" ./*.test.mjs
