#!/bin/sh
# stage.sh NAME COMMAND...: runs a stage, says how long it took, keeps its exit code.
name=$1; shift
echo "=== $name" >&2
begin=$(date +%s)
"$@"
code=$?
echo "=== $name: $(( $(date +%s) - begin )) s$([ $code -eq 0 ] || echo ", FAILED ($code)")" >&2
exit $code
