# What of a node outlives its processes: the cgroup folders. The link to the host goes with the node's network.
sweep() {
    for _ in $(seq 100); do
        left=
        for group in /sys/fs/cgroup/*/"$1" /sys/fs/cgroup/"$1"; do
            [ -d "$group" ] || continue
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
            [ ! -d "$group" ] || left=$group
        done
        [ -n "$left" ] || return 0
        sleep 0.1
    done
    echo "cannot remove $left: something still runs in it" >&2
    return 1
}
