#!/usr/bin/env bash
# A cluster to play with, in the background. usage: background.sh NAME up PROGRAM [ARGUMENT...] | background.sh NAME down
# The program ends everything that it started; only what this file has started is ever ended.
set -euo pipefail
state=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}/$1
pid() { cat "$state/pid" 2>/dev/null || true; }
runs() { [ -n "$(pid)" ] && tr '\0' ' ' <"/proc/$(pid)/cmdline" 2>/dev/null | grep -q -- "--ready $state/ready"; }

case ${2:-} in
up)
    if runs; then echo "it is up already:" >&2; cat "$state/ready"; exit 0; fi
    rm -rf "$state"; mkdir -p "$state"
    setsid "$3" --ready "$state/ready" "${@:4}" >"$state/log" 2>&1 </dev/null &
    echo $! >"$state/pid"
    shown=0
    for _ in $(seq 1800); do
        said=$(wc -l <"$state/log")
        [ "$said" -le $shown ] || sed -n "$((shown + 1)),${said}p" "$state/log" >&2
        shown=$said
        if [ -e "$state/ready" ]; then cat "$state/ready"; exit 0; fi
        runs || { echo "it did not come up" >&2; rm -rf "$state"; exit 69; }
        sleep 0.1
    done
    echo "it is not up after three minutes; see $state/log, then take it down" >&2
    exit 69
    ;;
down)
    if runs; then
        kill "$(pid)"
        for _ in $(seq 600); do runs || break; sleep 0.1; done
        if runs; then kill -KILL "$(pid)"; fi
    fi
    rm -rf "$state"
    ;;
*)
    echo "usage: background.sh NAME up PROGRAM [ARGUMENT...] | background.sh NAME down" >&2
    exit 64
    ;;
esac
