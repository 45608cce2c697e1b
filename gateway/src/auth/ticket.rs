//! Tickets: what a page puts into a WebSocket URL in place of its key. Stateless: any replica with the same secret takes
//! them. Form: `<base64url of the claims>.<base64url of an HMAC-SHA-256>`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Grant, Reach, Refused, Scopes, TICKET_SECONDS};

/// Makes and checks tickets.
pub(crate) struct Tickets(Hmac<Sha256>);

#[derive(Serialize, Deserialize)]
struct Claims {
    sid: String,
    sub: String,
    exp: u64,
    /// When the stream's own grant ends.
    until: Option<u64>,
}

impl Tickets {
    /// `root`: a secret that all replicas share; without one the tickets are good in this process only.
    pub(crate) fn new(root: Option<&str>) -> Self {
        let own: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
        let mut derive = keyed(root.map_or(own.as_slice(), str::as_bytes));
        derive.update(b"roomscribe ticket v1");
        Self(keyed(&derive.finalize().into_bytes()))
    }

    pub(crate) fn issue(&self, grant: &Grant, session: &str, now: u64) -> (String, u64) {
        let exp = grant.expires.map_or(now + TICKET_SECONDS, |until| until.min(now + TICKET_SECONDS));
        let claims = Claims { sid: session.into(), sub: grant.subject.clone(), exp, until: grant.expires };
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).unwrap_or_default());
        let mut mac = self.0.clone();
        mac.update(claims.as_bytes());
        let tag = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        (format!("{claims}.{tag}"), exp)
    }

    pub(crate) fn check(&self, ticket: &str, now: u64) -> Result<Grant, Refused> {
        let (claims, tag) = ticket.split_once('.').ok_or(Refused::Unknown)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| Refused::Unknown)?;
        let mut mac = self.0.clone();
        mac.update(claims.as_bytes());
        mac.verify_slice(&tag).map_err(|_| Refused::Unknown)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| Refused::Unknown)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| Refused::Unknown)?;
        if claims.exp <= now {
            return Err(Refused::Expired);
        }
        Ok(Grant {
            subject: claims.sub,
            reach: Reach::Session(claims.sid),
            scopes: Scopes { read: true, control: false },
            expires: claims.until,
        })
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length: the error cannot happen, and the empty key is never used to sign.
    <Hmac<Sha256> as Mac>::new_from_slice(key)
        .unwrap_or_else(|_| <Hmac<Sha256> as Mac>::new(&Default::default()))
}
