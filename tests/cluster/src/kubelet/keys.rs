//! Stream keys as the contract (§2) defines them, written from it once more: the operator's and the worker's own code must
//! not be its own judge.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

/// `live/<install>/<id>.<attempt>`: id and attempt.
pub(super) fn target(app: &str) -> Option<(&str, u32)> {
    let mut parts = app.split('/');
    let (live, _install, session) = (parts.next()?, parts.next()?, parts.next()?);
    let (id, attempt) = session.rsplit_once('.')?;
    (live == "live" && parts.next().is_none()).then_some((id, attempt.parse().ok()?))
}

/// The session secret of a session file.
pub(super) fn secret(session_file: &[u8]) -> Option<Vec<u8>> {
    let file: Value = serde_json::from_slice(session_file).ok()?;
    URL_SAFE_NO_PAD.decode(file["secret"].as_str()?).ok()
}

/// base64url of the first 16 bytes of HMAC-SHA-256(secret, "rtmp" ‖ id ‖ attempt).
pub(super) fn stream_key(secret: &[u8], id: &str, attempt: u32) -> String {
    derived(secret, &format!("rtmp{id}{attempt}"))
}

/// base64url of the first 16 bytes of HMAC-SHA-256(secret, "stop" ‖ id).
pub(super) fn stop_token(secret: &[u8], id: &str) -> String {
    derived(secret, &format!("stop{id}"))
}

fn derived(secret: &[u8], text: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    mac.update(text.as_bytes());
    URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_contract() {
        // The example that the operator and the worker hold to as well.
        let id = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000";
        let derived = Hmac::<Sha256>::new_from_slice(b"install key").map(|mut mac| {
            mac.update(id.as_bytes());
            URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
        });
        let file = format!(r#"{{"v":1,"secret":"{}"}}"#, derived.unwrap_or_default());
        let secret = secret(file.as_bytes()).unwrap_or_default();
        assert_eq!(stream_key(&secret, id, 1), "kDXEPVQsPKZCGUCg1krvnw");
        assert_eq!(stop_token(&secret, id), "wJOKvZNr3_8r6lwQjuzGhw");
    }

    #[test]
    fn the_app_names_session_and_attempt() {
        let id = "0195c7f0-1111-7222-8333-944455556666";
        assert_eq!(target(&format!("live/0a1b2c3d/{id}.12")), Some((id, 12)));
        for wrong in ["live/0a1b2c3d/x", "live/x.1", "live/0a1b2c3d/x.1/y", "other/0a1b2c3d/x.1", ""] {
            assert_eq!(target(wrong), None, "{wrong}");
        }
    }
}
