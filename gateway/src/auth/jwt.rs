//! Viewers' tokens: HS256 only (contract §3).

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

use super::{Grant, LEEWAY_SECONDS, Reach, Refused, Scopes};

/// Checks tokens signed with one shared secret.
pub(crate) struct Viewers {
    key: DecodingKey,
    rules: Validation,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    #[serde(default)]
    nbf: u64,
    sid: String,
    scope: String,
}

impl Viewers {
    pub(crate) fn new(secret: &str) -> Self {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&["roomscribe"]);
        rules.set_required_spec_claims(&["exp", "sub", "aud"]);
        // Times are judged by `check`, which is given the time.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        Self { key: DecodingKey::from_secret(secret.as_bytes()), rules }
    }

    pub(crate) fn check(&self, token: &str, now: u64) -> Result<Grant, Refused> {
        let claims: Claims = decode(token, &self.key, &self.rules).map_err(|_| Refused::Unknown)?.claims;
        if claims.exp.saturating_add(LEEWAY_SECONDS) <= now {
            return Err(Refused::Expired);
        }
        if claims.nbf > now.saturating_add(LEEWAY_SECONDS) {
            return Err(Refused::Unknown);
        }
        Ok(Grant {
            subject: format!("viewer:{}", claims.sub),
            reach: reach(claims.sid),
            scopes: Scopes::parse(&claims.scope),
            expires: Some(claims.exp),
        })
    }
}

fn reach(sid: String) -> Reach {
    match sid.strip_prefix("room:") {
        _ if sid == "*" => Reach::All,
        Some(room) => Reach::Room(room.into()),
        None => Reach::Session(sid),
    }
}
