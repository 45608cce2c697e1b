#!/bin/sh
# run.sh [FOLDER]: what tells a bad image from a good one; with the folder that images/pack.sh wrote into, these images
# too (PROFILE=dev for those of tests).
set -eu
cd "$(dirname "$0")"
export PYTHONDONTWRITEBYTECODE=1
[ $# -gt 0 ] || exec python3 -m unittest test_archive test_sbom
export IMAGES_DIR="$1"
[ "${PROFILE:-release}" = release ] || exec python3 -m unittest test_packed
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
key=$( (python3 --version; cat requirements.txt) | sha256sum | cut -c1-16)
venv=$cache/images-python-$key
(
    flock 9
    [ -e "$venv/whole" ] && exit 0
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt >&2
    touch "$venv/whole"
) 9>"$venv.lock"
exec "$venv/bin/python" -m unittest test_packed
