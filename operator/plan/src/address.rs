//! What a host says about who can reach it.

use std::net::IpAddr;

/// A loopback or unspecified address: nobody but this machine finds anything there. Names are not resolved.
pub fn only_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) => {
            let ip = ip.to_canonical();
            ip.is_loopback() || ip.is_unspecified()
        }
        Err(_) => {
            let name = bare.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
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
