//! What an address says about who can reach it. Names are taken as public: nothing is resolved here.

use std::net::IpAddr;

/// A LiveKit at this URL is not in a private network, as far as the URL tells.
pub fn is_public_url(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    is_public(host)
}

fn is_public(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            let benchmark = ip.octets()[0] == 198 && matches!(ip.octets()[1], 18 | 19);
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || benchmark)
        }
        Ok(IpAddr::V6(ip)) => {
            !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified())
        }
        // A name without a dot, and the cluster's own names, are found inside only.
        Err(_) => {
            host.contains('.')
                && ![".svc", ".local", ".internal", ".localhost"].iter().any(|end| host.ends_with(end))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_is_public_and_a_cluster_is_not() {
        for (url, public) in [
            ("wss://p.livekit.cloud", true),
            ("https://203.0.113.7:7880/", true),
            ("http://livekit.livekit.svc:7880", false),
            ("http://livekit.livekit.svc.cluster.local:7880", false),
            ("ws://localhost:7880", false),
            ("http://127.0.0.1:7880", false),
            ("http://10.0.0.3", false),
            ("http://198.18.64.1:7880", false),
            ("http://[::1]:7880", false),
            ("http://[2001:db8::1]:7880", true),
        ] {
            assert_eq!(is_public_url(url), public, "{url}");
        }
    }
}
