#!/bin/sh
# run.sh [FOLDER]: what tells a bad image from a good one; with the folder that images/pack.sh wrote into, these images
# too (PROFILE=dev for those of tests).
set -eu
cd "$(dirname "$0")"
export PYTHONDONTWRITEBYTECODE=1
[ $# -gt 0 ] || exec python3 -m unittest test_archive test_sbom
export IMAGES_DIR="$1"
[ "${PROFILE:-release}" = release ] || exec python3 -m unittest test_packed
python=$(../tools/venv.sh images)
exec "$python" -m unittest test_packed
