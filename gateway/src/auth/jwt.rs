//! Viewers' tokens: HS256 with our own secret, or signed by whoever has a key in the key set (contract §3).

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use super::jwks::KeySet;
use super::{Grant, LEEWAY_SECONDS, Reach, Refused, Scopes};

/// Checks tokens of viewers.
pub(crate) struct Viewers {
    secret: Option<DecodingKey>,
    keys: Option<KeySet>,
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
    /// With our own secret, or with others' keys, or both.
    pub(crate) fn new(secret: Option<&str>, keys: Option<KeySet>) -> Self {
        Self { secret: secret.map(|secret| DecodingKey::from_secret(secret.as_bytes())), keys }
    }

    pub(crate) fn check(&self, token: &str, now: u64) -> Result<Grant, Refused> {
        let header = decode_header(token).map_err(|_| Refused::Unknown)?;
        // An algorithm is a key's, never a token's choice.
        let key = match header.alg {
            Algorithm::HS256 => self.secret.clone(),
            Algorithm::HS384 | Algorithm::HS512 => None,
            _ => self.keys.as_ref().and_then(|keys| keys.find(&header)),
        };
        let key = key.ok_or(Refused::Unknown)?;
        let claims: Claims = decode(token, &key, &rules(header.alg)).map_err(|_| Refused::Unknown)?.claims;
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

fn rules(algorithm: Algorithm) -> Validation {
    let mut rules = Validation::new(algorithm);
    rules.set_audience(&["roomscribe"]);
    rules.set_required_spec_claims(&["exp", "sub", "aud"]);
    // Times are judged by `check`, which is given the time.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules
}

fn reach(sid: String) -> Reach {
    match sid.strip_prefix("room:") {
        _ if sid == "*" => Reach::All,
        Some(room) => Reach::Room(room.into()),
        None => Reach::Session(sid),
    }
}
