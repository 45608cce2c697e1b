//! Where everything of a node is: benchmarking addresses (RFC 2544), which nothing outside uses.

use std::net::Ipv4Addr;

/// Its cgroup, and its link to the host.
pub(super) const NAME: &str = "roomscribe-node";
/// The host's end of the link.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 64, 1);
/// The node's end: API server, kubelet, node ports.
pub(super) const NODE: Ipv4Addr = Ipv4Addr::new(198, 18, 64, 2);
/// All pods; the one node has the first /24 of it.
pub(super) const PODS: &str = "198.18.80.0/20";
/// What the bridge gives to pods.
pub(super) const PODS_HERE: &str = "198.18.80.0/24";
/// ClusterIPs.
pub(super) const SERVICES: &str = "198.18.96.0/20";
/// The API server's own Service: the first of them.
pub(super) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 18, 96, 1);
/// The cluster's DNS.
pub(super) const DNS: Ipv4Addr = Ipv4Addr::new(198, 18, 96, 10);
/// Services of type LoadBalancer.
pub(super) const BALANCERS: &str = "198.18.112.0/24";

/// The load balancers' addresses.
pub(super) fn balancers() -> impl Iterator<Item = Ipv4Addr> {
    (1..255).map(|last| Ipv4Addr::new(198, 18, 112, last))
}
