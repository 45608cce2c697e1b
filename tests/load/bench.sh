#!/usr/bin/env bash
# Everything that `make bench` measures, into docs/benchmarks.{json,md}: about 25 minutes after the build.
# usage: bench.sh [--quick | --keep] [stage...]   stages: ingest sessions fanout log operator. A run of some stages, or a
# quick one, prints its results and leaves docs/ alone; with --keep they replace what docs/ has of these stages.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
programs=$CARGO_TARGET_DIR/release
kind=full
case ${1:-} in --quick | --keep) kind=${1#--}; shift ;; esac
stages=("$@")
if [ ${#stages[@]} -eq 0 ]; then
    [ $kind != keep ] || { echo "bench.sh: --keep needs stages; without them, everything is measured again" >&2; exit 64; }
    stages=(log fanout ingest sessions operator)
fi
runs=3 window=60 many=20 few=30 open=6 crowd=(--sessions 1000 --sessions 5000)
if [ $kind = quick ]; then runs=1 window=15 many=10 few=8 open=2 crowd=(--sessions 200 --rest 15); fi

results=$(mktemp -d)
child=""
# A stage ends its own children; killed, the kernel does (pdeathsig).
finish() {
    [ -z "$child" ] || kill "$child" 2>/dev/null || true
    rm -rf "$results"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { echo "=== bench: $*" >&2; }

# stage NAME SECONDS COMMAND...: its standard output is its result; SECONDS bound it.
stage() {
    local name=$1 limit=$2 begin
    shift 2
    begin=$(date +%s)
    say "$name"
    timeout --kill-after=5 "$limit" "$@" > "$results/$name.json" &
    child=$!
    wait "$child" || { child=""; say "$name FAILED (after $(( $(date +%s) - begin )) s; its limit is $limit s)"; exit 1; }
    child=""
    say "$name: $(( $(date +%s) - begin )) s"
}

for tool in taskset setpriv timeout; do
    command -v $tool >/dev/null || { echo "missing: $tool. Install util-linux and coreutils." >&2; exit 69; }
done
say "build (release)"
case " ${stages[*]} " in
    *" operator "*)
        cargo build --release --locked -p roomscribe-operator --bin roomscribe-operator -p roomscribe-cluster --bin bench_operator --bin fake_kubelet >&2 ;;
esac
packages=(-p roomscribe-load)
[ "${stages[*]}" = operator ] || packages+=(-p roomscribe -p roomscribe-worker)
cargo build --release --locked "${packages[@]}" >&2

peers="$cache/bench-$(cat tests/load/peers/* | sha256sum | cut -c1-16)"
if [ ! -e "$peers/ready" ]; then
    say "installing node-media-server and ws into $peers (once)"
    mkdir -p "$peers"
    cp tests/load/peers/* "$peers"
    (cd "$peers" && npm ci --no-audit --no-fund --silent) >&2 \
        || { echo "missing: the npm registry does not answer, and the peers are not in $peers yet" >&2; exit 69; }
    touch "$peers/ready"
fi

load=$(cut -d' ' -f1-3 /proc/loadavg)
say "load average before: $load (numbers are good on a quiet machine only)"
audio=tests/fixtures/meeting/meeting.aac
where=(--programs "$programs" --peers "$peers")
generator=()
[ "$(nproc)" -lt 2 ] || generator=(taskset -c 1)
for name in "${stages[@]}"; do
    case $name in
        log) stage log 180 "$programs/bench_log" ;;
        fanout) stage fanout 400 "${generator[@]}" "$programs/bench_fanout" "${where[@]}" --runs $runs --seconds $open ;;
        ingest) stage ingest 600 "$programs/bench_ingest" "${where[@]}" --audio $audio --runs $runs --seconds $window ;;
        sessions) stage sessions 180 "$programs/bench_sessions" "${where[@]}" --audio $audio --sessions $many --seconds $few ;;
        # Thousands of connections in one process.
        operator) ulimit -n "$(ulimit -Hn)"; stage operator 2400 "$programs/bench_operator" "${crowd[@]}" ;;
        *) echo "bench.sh: $name is not a stage: ingest sessions fanout log operator" >&2; exit 64 ;;
    esac
done

docs=docs
if [ $kind = quick ] || { [ $kind = full ] && [ $# -gt 0 ]; }; then docs=$results; fi
"$programs/bench_report" --results "$results" --peers "$peers" --profile tests/load/profile.md --docs "$docs" --kind $kind --load "$load" >&2
if [ $docs = docs ]; then say "written: docs/benchmarks.json, docs/benchmarks.md"; else cat "$results/benchmarks.json"; fi
