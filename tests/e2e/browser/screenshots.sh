#!/usr/bin/env bash
# Makes docs/page-*.png again: from a scripted meeting, and from the real program when ROOMSCRIBE_BIN names it. Fonts: the pictures in docs/ were made with Debian's fonts-noto-core.
set -euo pipefail
cd "$(dirname "$0")"
. ./tools.sh
exec node screenshots.mjs "${1:-../../../docs}"
