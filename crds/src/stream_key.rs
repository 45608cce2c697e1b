//! Stream keys (contract §2), made from the installation's key. The worker derives the same ones from the session secret
//! (`worker/pipeline/src/stream_key.rs`); both hold to the same example.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;

/// 128 bits.
const KEY_BYTES: usize = 16;

/// The key of one installation: every session secret comes from it. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct InstallKey(Vec<u8>);

impl InstallKey {
    /// As the install Secret holds it.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for InstallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstallKey(…)")
    }
}

/// HMAC-SHA-256(install key, id). Never stored but in the session file, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret([u8; 32]);

impl SessionSecret {
    /// Derives a session's secret.
    pub fn derive(key: &InstallKey, id: &str) -> Self {
        Self(hmac(&key.0, &[id.as_bytes()]))
    }

    /// As it stands in the session file: base64url without padding.
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The stream name of an attempt: base64url of the first 16 bytes of HMAC-SHA-256(secret, "rtmp" ‖ id ‖ attempt),
    /// the attempt in decimal.
    pub fn stream_key(&self, id: &str, attempt: u32) -> String {
        let mac = hmac(&self.0, &[b"rtmp", id.as_bytes(), attempt.to_string().as_bytes()]);
        URL_SAFE_NO_PAD.encode(&mac[..KEY_BYTES])
    }

    /// What a worker wants to hear before it ends its session: base64url of the first 16 bytes of HMAC-SHA-256(secret,
    /// "stop" ‖ id).
    pub fn stop_token(&self, id: &str) -> String {
        let mac = hmac(&self.0, &[b"stop", id.as_bytes()]);
        URL_SAFE_NO_PAD.encode(&mac[..KEY_BYTES])
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(…)")
    }
}

/// Where RTMP is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ingest<'a> {
    /// `rtmps` instead of `rtmp`.
    pub tls: bool,
    /// Host name or IP address, IPv6 without brackets.
    pub host: &'a str,
    /// Port; always written.
    pub port: u16,
}

/// `rtmp://HOST:PORT/live/<install>/<id>.<attempt>/<key>`: a secret.
pub fn rtmp_url(ingest: Ingest<'_>, install: &str, key: &InstallKey, id: &str, attempt: u32) -> String {
    let scheme = if ingest.tls { "rtmps" } else { "rtmp" };
    let stream_key = SessionSecret::derive(key, id).stream_key(id, attempt);
    let authority = authority(ingest.host, ingest.port);
    format!("{scheme}://{authority}/live/{install}/{id}.{attempt}/{stream_key}")
}

fn authority(host: &str, port: u16) -> String {
    let bare_v6 = host.contains(':') && !host.starts_with('[');
    if bare_v6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length: the error of `new_from_slice` cannot occur.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000";

    fn url(host: &str, tls: bool) -> String {
        let ingest = Ingest { tls, host, port: 1935 };
        rtmp_url(ingest, "9f2c01ab", &InstallKey::new("install key"), ID, 1)
    }

    #[test]
    fn keys_are_those_of_the_contract_for_ever() {
        // The example of the worker's own test, made with Python's hmac.
        let secret = SessionSecret::derive(&InstallKey::new("install key"), ID);
        assert_eq!(secret.stream_key(ID, 1), "kDXEPVQsPKZCGUCg1krvnw");
        assert_eq!(secret.stop_token(ID), "wJOKvZNr3_8r6lwQjuzGhw");
        assert_ne!(secret.stream_key(ID, 2), secret.stream_key(ID, 1));
    }

    #[test]
    fn a_url_names_installation_session_and_attempt() {
        assert_eq!(
            url("rtmp.example.com", false),
            format!("rtmp://rtmp.example.com:1935/live/9f2c01ab/{ID}.1/kDXEPVQsPKZCGUCg1krvnw")
        );
        assert!(url("rtmp.example.com", true).starts_with("rtmps://rtmp.example.com:1935/live/"));
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets_once() {
        assert!(url("2001:db8::7", false).starts_with("rtmp://[2001:db8::7]:1935/"));
        assert!(url("[2001:db8::7]", false).starts_with("rtmp://[2001:db8::7]:1935/"));
    }

    #[test]
    fn no_secret_is_shown_by_debug() {
        let key = InstallKey::new("install key");
        assert_eq!(format!("{key:?}"), "InstallKey(…)");
        assert_eq!(format!("{:?}", SessionSecret::derive(&key, ID)), "SessionSecret(…)");
    }
}
