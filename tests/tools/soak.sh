#!/bin/sh
# soak.sh SEED POINTS: lives of one session with so many crashes of the operator between two actions, faults and lost
# answers in between. The last line is `soak: points=N orphans=N doubled=N lost=N`; a broken rule fails and names its seed.
said=$(mktemp)
trap 'rm -f "$said"' EXIT
SEED=$1 POINTS=$2 cargo test --locked --release -q -p roomscribe-plan --test model -- --nocapture > "$said" 2>&1
code=$?
if [ $code -ne 0 ]; then
    cat "$said" >&2
    exit $code
fi
grep -E '^(of|endings)' "$said"
grep '^soak:' "$said"
