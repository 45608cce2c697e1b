#!/bin/sh
# run.sh [--generate | TEST…]: the chart's tests (or those of these names); --generate writes what the chart has from elsewhere.
set -eu
cd "$(dirname "$0")"
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
key=$( (python3 --version; cat requirements.txt) | sha256sum | cut -c1-16)
venv=$cache/chart-python-$key
mkdir -p "$cache"
(
    flock 9
    [ -e "$venv/whole" ] && exit 0
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt >&2
    touch "$venv/whole"
) 9>"$venv.lock"
export ROOMSCRIBE_CACHE="$cache" PYTHONDONTWRITEBYTECODE=1
[ "${1:-}" = --generate ] && exec "$venv/bin/python" generate.py --write
if [ $# -eq 0 ]; then set -- discover; fi
exec "$venv/bin/python" -m unittest "$@"
