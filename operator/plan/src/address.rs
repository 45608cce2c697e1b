//! What a host says about who can reach it.

use std::net::IpAddr;

/// A loopback or unspecified address: nobody but this machine finds anything there. Names are not resolved.
pub fn only_this_machine(host: &str) -> bool {
    if let Some(ip) = ip(host) {
        return ip.is_loopback() || ip.is_unspecified();
    }
    let name = bare(host).trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// An address to listen on, never one to publish to.
pub fn is_unspecified(host: &str) -> bool {
    ip(host).is_some_and(|ip| ip.is_unspecified())
}

fn ip(host: &str) -> Option<IpAddr> {
    bare(host).parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_unspecified_addresses_are_this_machine_s_alone() {
        for host in ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::", "::1", "[::1]", "::ffff:127.0.0.1"] {
            assert!(only_this_machine(host), "{host}");
        }
        for host in ["localhost", "LOCALHOST.", "rtmp.localhost"] {
            assert!(only_this_machine(host), "{host}");
        }
        for host in
            ["10.0.0.7", "198.18.0.1", "2001:db8::7", "rtmp.example.com", "localhost.example.com", "worker"]
        {
            assert!(!only_this_machine(host), "{host}");
        }
    }
}
