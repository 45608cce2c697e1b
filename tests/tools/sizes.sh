#!/bin/sh
# Code files over 300 lines; fails for one over 500 whose first lines do not explain it.
cd "$(dirname "$0")/../.." || exit 1
status=0
for file in $(git ls-files '*.rs' '*.js' '*.mjs' '*.css' '*.py' '*.sh'); do
    lines=$(wc -l < "$file")
    [ "$lines" -gt 300 ] || continue
    echo "$lines $file"
    if [ "$lines" -gt 500 ] && ! head -12 "$file" | grep -qi 'long because\|one file because'; then
        echo "  over 500: split it, or say why in its first lines" >&2
        status=1
    fi
done
exit $status
