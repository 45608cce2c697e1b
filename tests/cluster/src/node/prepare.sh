# Sets up the surroundings of a node: its cgroups, its own /run, /var/lib and /var/log, and one link to the host.
folder=$1
host() { nsenter --net=/proc/self/fd/9 "$@"; }
need() { [ -e "$1" ] || { echo "this kernel has no $1: $2" >&2; exit 1; }; }

groups() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        mkdir -p "/sys/fs/cgroup/$NAME"
        return
    fi
    for root in /sys/fs/cgroup/*/; do
        [ ! -e "$root/tasks" ] || mkdir -p "$root/$NAME"
    done
    # An empty set of processors or memory holds no process.
    for file in cpuset.cpus cpuset.mems; do
        cat "/sys/fs/cgroup/cpuset/$file" >"/sys/fs/cgroup/cpuset/$NAME/$file"
    done
}

folders() {
    for path in run lib log; do mkdir -p "$folder/sys/$path"; done
    mount --bind "$folder/sys/run" /run &&
    mount --bind "$folder/sys/log" /var/log &&
    mount --bind "$folder/sys/lib" /var/lib &&
    # After the binds, so that each is a world of its own: what a pod mounts is seen once.
    mount --make-rshared /
}

network() {
    ip link set lo up &&
    ip link add eth0 type veth peer name "$NAME" netns /proc/self/fd/9 &&
    ip address add "$NODE/30" dev eth0 &&
    ip link set eth0 up &&
    ip route add default via "$HOST" &&
    host ip address add "$HOST/30" dev "$NAME" &&
    host ip link set "$NAME" up || return
    for range in $RANGES; do host ip route add "$range" via "$NODE" || return; done
    echo 1 >/proc/sys/net/ipv4/ip_forward
    need /proc/sys/net/bridge/bridge-nf-call-iptables "modprobe br_netfilter"
    echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
}

# As a service manager would: a part that ends is started again. Killing it is all that a test has to do.
keeps=yes
run() {
    [ ! -e "$1.pid" ] || return 0
    : >"$1.pid"
    while :; do
        sh "./$1.sh"
        echo "$(date +%T) $1 ended" >>log/restarts.log
        sleep 0.3
    done >>"log/$1.log" 2>&1 </dev/null &
}

tidy() {
    # It would go with the network, but a moment after the last process.
    ip link delete eth0 2>/dev/null
    umount -l /var/lib /var/log /run 2>/dev/null
    while read -r _ path _; do
        case $path in "$folder"/*) umount -l "$path" 2>/dev/null ;; esac
    done </proc/mounts
    sweep "$NAME"
}

groups && folders && network || { echo "the node's surroundings cannot be set up" >&2; cd /; tidy; rm -rf "$folder"; exit 1; }
