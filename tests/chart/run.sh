#!/bin/sh
# run.sh [--generate | TEST…]: the chart's tests (or those of these names); --generate writes what the chart has from elsewhere.
set -eu
cd "$(dirname "$0")"
python=$(../tools/venv.sh chart)
export ROOMSCRIBE_CACHE="${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}" PYTHONDONTWRITEBYTECODE=1
[ "${1:-}" = --generate ] && exec "$python" generate.py --write
if [ $# -eq 0 ]; then set -- discover; fi
exec "$python" -m unittest "$@"
