#!/usr/bin/env bash
# Where the worker's CPU goes, by what the functions are for: samples a worker during one ingest window with `perf` (the
# cpu-clock event works in virtual machines too) and writes tests/load/profile.md, which `make bench` puts at the end of
# docs/benchmarks.md. Needs perf (Debian: linux-perf) and the peers that bench.sh installs.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
programs=$CARGO_TARGET_DIR/release
seconds=60
peers="$cache/bench-$(cat tests/load/peers/* | sha256sum | cut -c1-16)"
work=$(mktemp -d)
bench=""
trap '[ -z "$bench" ] || kill "$bench" 2>/dev/null || true; rm -rf "$work"' EXIT
command -v perf >/dev/null || { echo "missing: perf. Install linux-perf." >&2; exit 69; }
cargo build --release --locked --config 'profile.release.package.roomscribe-worker.strip="none"' \
    -p roomscribe -p roomscribe-worker -p roomscribe-load >&2
"$programs/bench_ingest" --programs "$programs" --peers "$peers" --audio tests/fixtures/meeting/meeting.aac --runs 1 --seconds $((seconds + 5)) > "$work/ingest.json" &
bench=$!
sleep 16
worker=$(pgrep -P $bench -f "^$programs/roomscribe-worker")
perf record -q -e cpu-clock -F 4999 -o "$work/perf.data" -p "$worker" -- sleep $seconds
wait $bench
bench=""
perf report -i "$work/perf.data" --stdio --no-children --sort dso,symbol 2>/dev/null \
    | grep -v '^#' | sed -n 's/^ *\([0-9.]*\)% *\([^ ]*\) *\[\(.\)\] \(.*[^ -]\)[ -]*$/\1\t\2\t\3\t\4/p' > "$work/symbols"
{
    echo "## Profile of the worker"
    echo
    echo "Written by \`tests/load/profile.sh\` on $(date -u +%F), commit $(git describe --always --exclude '*'): samples of the CPU clock over $seconds s of one session."
    echo
    echo "| share | what for |"
    echo "|---|---|"
    awk -F'\t' '
        { what = "the rest of our code and its libraries" }
        $3 == "k" { what = "kernel: waking, sleeping, sockets, files" }
        $2 ~ /libc|vdso/ && $4 ~ /alloc|free|consolidate|calloc/ { what = "allocation" }
        $2 ~ /libc|vdso/ && $4 !~ /alloc|free|consolidate/ { what = "libc: copying, clock, system calls" }
        $4 ~ /symphonia|sinf|cosf|Decoder::decode/ { what = "AAC decoding (symphonia)" }
        $4 ~ /rustfft|realfft|rubato|resample/ { what = "resampling (rubato)" }
        $4 ~ /tokio|mio::|futures|core::future|epoll/ && $3 != "k" && $4 !~ /tungstenite|roomscribe/ { what = "tokio: tasks, timers, reactor" }
        $4 ~ /tungstenite|serde_json|speech_socket|gladia/ { what = "speech socket: WebSocket and JSON" }
        $4 ~ /roomscribe_rtmp|worker::connection/ { what = "RTMP" }
        $4 ~ /roomscribe_pipeline/ && $4 !~ /resample|gladia|Decoder::decode/ { what = "pipeline: clock, ledger, speech state" }
        $4 ~ /crc32c|spool/ { what = "spool" }
        { share[what] += $1 }
        END { for (what in share) printf "| %.0f %% | %s |\n", share[what], what }' "$work/symbols" | sort -t'|' -k2 -rn
    echo
    echo "| share | function |"
    echo "|---|---|"
    head -25 "$work/symbols" | awk -F'\t' '{ printf "| %.1f %% | `%s`%s |\n", $1, $4, ($3 == "k" ? " (kernel)" : "") }'
} > tests/load/profile.md
cat tests/load/profile.md
