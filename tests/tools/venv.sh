#!/bin/sh
# venv.sh NAME: prints the Python that has what requirements.txt of this folder asks for, installed once for each such file.
set -eu
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
venv=$cache/$1-python-$( (python3 --version; cat requirements.txt) | sha256sum | cut -c1-16)
mkdir -p "$cache"
(
    flock 9
    [ -e "$venv/whole" ] && exit 0
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt >&2
    touch "$venv/whole"
) 9>"$venv.lock"
echo "$venv/bin/python"
