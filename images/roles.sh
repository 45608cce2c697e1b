#!/bin/sh
# roles.sh: prints the roles that have a program.
cd "$(dirname "$0")/.." || exit 1
for role in operator worker gateway speech; do
    [ ! -e "$role/src/main.rs" ] || echo "$role"
done
