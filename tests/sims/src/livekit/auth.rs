//! The JWT check of livekit-server's middleware (`pkg/service/auth.go`): its failures are plain text.

use livekit_api::access_token::{Claims, TokenVerifier, VideoGrants};
use std::time::{SystemTime, UNIX_EPOCH};

/// API key and secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Key.
    pub api_key: String,
    /// Secret.
    pub api_secret: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("api_key", &self.api_key).finish_non_exhaustive()
    }
}

/// The grants of an `Authorization` header; `None`: there is no header, which only the called service minds.
///
/// # Errors
/// The body of a 401.
pub(super) fn check(keys: &Keys, header: Option<&str>) -> Result<Option<VideoGrants>, String> {
    let Some(header) = header else { return Ok(None) };
    let token =
        header.strip_prefix("Bearer ").ok_or("invalid authorization header. Must start with Bearer ")?;
    let claims = Claims::from_unverified(token).map_err(|_| "invalid authorization token".to_owned())?;
    if claims.iss != keys.api_key {
        return Err(format!("invalid API key: {}", claims.iss));
    }
    // The real one quotes the token too: callers must not show this text as it is.
    let verified = TokenVerifier::with_api_key(&keys.api_key, &keys.api_secret).verify(token);
    verified
        .map(|claims| Some(claims.video))
        .map_err(|_| format!("invalid token: {token}, error: {}", reason(&claims)))
}

/// A real server's words (livekit-server 1.13.5).
fn reason(claims: &Claims) -> &'static str {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match (claims.exp as u64) < now {
        true => "token has invalid claims: token is expired",
        false => "token signature is invalid: signature is invalid",
    }
}
