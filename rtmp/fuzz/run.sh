#!/bin/sh
# run.sh SECONDS: runs each fuzz target for that time and prints the executions of all together.
#
# The kept corpus (corpus/TARGET) is only read; new finds go to the cache. A crash ends with its file's name; make it
# a named test, then a corpus file. `run.sh 0 --minimise` folds the cache's finds back into the kept corpus.
set -eu
cd "$(dirname "$0")"
seconds=${1:?usage: run.sh SECONDS}
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
targets="chunk_reader amf0 handshake session"

missing=""
PATH="$cache/tools/bin:$PATH"
command -v cargo >/dev/null 2>&1 || missing="$missing cargo (https://rustup.rs)"
command -v cargo-fuzz >/dev/null 2>&1 || missing="$missing cargo-fuzz (cargo install --locked --version 0.13.2 cargo-fuzz)"
command -v c++ >/dev/null 2>&1 || missing="$missing c++ (Debian: apt-get install g++)"
[ -z "$missing" ] || { echo "missing:$missing" >&2; exit 69; }

# Sanitizers need a nightly compiler; where there is none, the stable one is told to allow what it can do too.
if command -v rustup >/dev/null 2>&1 && nightly=$(rustup toolchain list | grep -o '^nightly[^ ]*' | head -n 1) && [ -n "$nightly" ]; then
    export RUSTUP_TOOLCHAIN="$nightly"
else
    export RUSTC_BOOTSTRAP=1
fi

# The sanitizer keeps freed memory aside (256 MB by itself): less of it leaves the memory limit to what the target holds.
export ASAN_OPTIONS="quarantine_size_mb=64${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

total=0
for target in $targets; do
    found="$cache/fuzz-corpus/$target"
    mkdir -p "$found" "corpus/$target"
    log="$cache/fuzz-$target.log"
    [ "${2:-}" = --minimise ] || echo "building and running $target for $seconds s" >&2
    if [ "${2:-}" = --minimise ]; then
        cargo fuzz run --target-dir "$cache/fuzz-target" "$target" -- -merge=1 -max_len=4096 "corpus/$target" "$found"
        continue
    fi
    cargo fuzz run --target-dir "$cache/fuzz-target" "$target" "$found" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=512 -print_final_stats=1 >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        echo "$target failed; the input is in $(pwd)/artifacts/$target" >&2
        exit 1
    }
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log" | tail -n 1)
    echo "$target: $executions executions, peak $peak MB"
    total=$((total + executions))
done
[ "${2:-}" = --minimise ] && echo "folded the finds into corpus; keep it below 300 KB in all (it has $(du -sb corpus | cut -f1) bytes)" || echo "total executions: $total"
