#!/bin/sh
# may-e2e.sh: says in one line, on stderr, why this machine cannot run a Kubernetes node; exit code 69.
set -eu
[ -z "${KUBECONFIG:-}" ] || [ -z "${E2E_REGISTRY:-}" ] || exit 0
no() { echo "$1; or name any cluster by KUBECONFIG and a registry with the images by E2E_REGISTRY (docs/cluster.md)" >&2; exit 69; }
[ "$(uname -s)" = Linux ] || no "It needs Linux"
[ "$(id -u)" = 0 ] || no "It needs root (network, mounts and cgroups of its own)"
unshare --net --mount true 2>/dev/null || no "It needs the right to make network and mount namespaces"
