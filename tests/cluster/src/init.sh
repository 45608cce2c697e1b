# First process of a machine's pid namespace. It obeys the lines of its standard input; when that closes, because the test
# is over or was killed, everything ends and the folder goes. What stands before this has defined `run`, `tidy` and
# `keeps`.
cd "$1" || exit 1
while read -r verb part; do
    case $verb in
        start) run "$part" ;;
        kill) kill -9 "$(cat "$part.pid")"; wait "$(cat "$part.pid")" 2>/dev/null ;;
        freeze) kill -STOP "$(cat "$part.pid")" ;;
        # The command line of a zombie is empty.
        alive) [ -n "$keeps" ] || grep -q . "/proc/$(cat "$part.pid")/cmdline" || verb=dead ;;
        thaw) kill -CONT "$(cat "$part.pid")" ;;
    esac
    echo "$verb $part"
done
kill -9 -1
cd /
tidy
[ -n "${ROOMSCRIBE_KEEP:-}" ] || rm -rf "$1"
