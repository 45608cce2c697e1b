//! Stream keys (contract §2): which session and attempt an RTMP URL names, and whether its key is right.
//!
//! `rtmp://HOST:PORT/live/<install>/<id>.<attempt>/<key>`; LiveKit redacts only the last segment, so only that is secret.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use roomscribe_transcript::SessionId;
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq;

/// 128 bits.
const KEY_BYTES: usize = 16;

/// HMAC-SHA-256(install key, id): never stored, never shown.
#[derive(Clone)]
pub struct SessionSecret([u8; 32]);

impl SessionSecret {
    /// Derives a session's secret.
    pub fn derive(install_key: &[u8], id: &SessionId) -> Self {
        Self(hmac(install_key, &[id.as_str().as_bytes()]))
    }

    /// As it stands in the session file: base64url without padding. `None` when it is not 32 bytes.
    pub fn from_base64url(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(…)")
    }
}

/// What an RTMP app names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The installation.
    pub install: String,
    /// The session.
    pub session: SessionId,
    /// From 1.
    pub attempt: u32,
}

/// Reads `live/<install>/<id>.<attempt>`.
pub fn parse_app(app: &str) -> Option<Target> {
    let mut parts = app.split('/');
    let (live, install, session) = (parts.next()?, parts.next()?, parts.next()?);
    if live != "live" || install.is_empty() || parts.next().is_some() {
        return None;
    }
    let (id, attempt) = session.rsplit_once('.')?;
    let attempt: u32 = attempt.parse().ok().filter(|attempt| *attempt > 0)?;
    Some(Target { install: install.to_owned(), session: SessionId::parse(id)?, attempt })
}

/// The stream name of an attempt: base64url of the first 16 bytes of HMAC-SHA-256(secret, "rtmp" ‖ id ‖ attempt), the
/// attempt in decimal.
pub fn derive(secret: &SessionSecret, id: &SessionId, attempt: u32) -> String {
    let mac = hmac(&secret.0, &[b"rtmp", id.as_str().as_bytes(), attempt.to_string().as_bytes()]);
    URL_SAFE_NO_PAD.encode(&mac[..KEY_BYTES])
}

/// Compares in constant time.
pub fn verify(secret: &SessionSecret, id: &SessionId, attempt: u32, key: &str) -> bool {
    derive(secret, id, attempt).as_bytes().ct_eq(key.as_bytes()).into()
}

/// What only the session's owner can know and say to end it: base64url of the first 16 bytes of HMAC-SHA-256(secret,
/// "stop" ‖ id).
pub fn stop_token(secret: &SessionSecret, id: &SessionId) -> String {
    let mac = hmac(&secret.0, &[b"stop", id.as_str().as_bytes()]);
    URL_SAFE_NO_PAD.encode(&mac[..KEY_BYTES])
}

/// Compares in constant time.
pub fn verify_stop(secret: &SessionSecret, id: &SessionId, token: &str) -> bool {
    stop_token(secret, id).as_bytes().ct_eq(token.as_bytes()).into()
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

    fn session() -> (SessionSecret, SessionId) {
        let id = SessionId::parse("0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000").unwrap();
        (SessionSecret::derive(b"install key", &id), id)
    }

    #[test]
    fn a_key_opens_its_own_attempt_of_its_own_session_only() {
        let (secret, id) = session();
        let key = derive(&secret, &id, 1);
        assert_eq!(key.len(), 22);
        assert!(verify(&secret, &id, 1, &key));
        assert!(!verify(&secret, &id, 2, &key));
        assert!(!verify(&secret, &id, 1, ""));
        assert!(!verify(&secret, &id, 1, &format!("{key}?token=1")));
        let other = SessionId::parse("0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001").unwrap();
        assert!(!verify(&SessionSecret::derive(b"install key", &other), &other, 1, &key));
    }

    #[test]
    fn keys_are_those_of_the_contract_for_ever() {
        // Made with: python3 -c 'import hmac,base64; h=lambda k,m: hmac.new(k,m,"sha256").digest();
        // i=b"0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000"; print(base64.urlsafe_b64encode(h(h(b"install key",i),b"rtmp"+i+b"1")[:16]))'
        let (secret, id) = session();
        assert_eq!(derive(&secret, &id, 1), "kDXEPVQsPKZCGUCg1krvnw");
        // … and b"stop"+i instead of b"rtmp"+i+b"1".
        assert_eq!(stop_token(&secret, &id), "wJOKvZNr3_8r6lwQjuzGhw");
    }

    #[test]
    fn a_stop_token_is_good_for_its_own_session_only_and_a_stream_key_for_no_stop() {
        let (secret, id) = session();
        let token = stop_token(&secret, &id);
        assert!(verify_stop(&secret, &id, &token));
        let other = SessionId::parse("0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001").unwrap();
        assert!(!verify_stop(&secret, &other, &token));
        assert!(!verify_stop(&SessionSecret::derive(b"install key", &other), &id, &token));
        assert!(!verify_stop(&secret, &id, &derive(&secret, &id, 1)));
        assert!(!verify_stop(&secret, &id, ""));
    }

    #[test]
    fn an_app_is_three_parts_with_an_id_and_an_attempt() {
        let target = parse_app("live/9f2c01ab/0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000.12").unwrap();
        assert_eq!((target.install.as_str(), target.attempt), ("9f2c01ab", 12));
        for wrong in [
            "",
            "live",
            "live/x",
            "live/x/y.1",
            "live//0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000.1",
            "live/x/0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000.0",
            "live/x/0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000.1/z",
        ] {
            assert_eq!(parse_app(wrong), None, "{wrong}");
        }
    }
}
