#!/usr/bin/env bash
# An operator to play with, in the background. usage: operator-up.sh up PROGRAM | down
# The program ends everything that it started; only what this file has started is ever ended.
set -euo pipefail
state=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}/operator-up
pid() { cat "$state/pid" 2>/dev/null || true; }
runs() { [ -n "$(pid)" ] && tr '\0' ' ' <"/proc/$(pid)/cmdline" 2>/dev/null | grep -q operator_up; }

case ${1:-} in
up)
    if runs; then echo "it is up already:"; cat "$state/ready"; exit 0; fi
    rm -rf "$state"; mkdir -p "$state"
    setsid "$2" --ready "$state/ready" >"$state/log" 2>&1 </dev/null &
    echo $! >"$state/pid"
    for _ in $(seq 1200); do
        if [ -e "$state/ready" ]; then cat "$state/ready"; exit 0; fi
        runs || { echo "it did not come up:" >&2; cat "$state/log" >&2; rm -rf "$state"; exit 69; }
        sleep 0.1
    done
    echo "it is not up after two minutes; see $state/log, then make operator-down" >&2
    exit 69
    ;;
down)
    if runs; then
        kill "$(pid)"
        for _ in $(seq 300); do runs || break; sleep 0.1; done
        if runs; then kill -KILL "$(pid)"; fi
    fi
    rm -rf "$state"
    ;;
*)
    echo "usage: operator-up.sh up PROGRAM | down" >&2
    exit 64
    ;;
esac
