//! What a viewer asks for, and the tokens it shows. Pure.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::auth::{Gatekeeper, Grant, Refused};
use crate::routes::bearer;

/// The query of a stream request.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Asked {
    /// The last offset that the viewer has; it gets what follows.
    #[serde(default)]
    pub(crate) after: u64,
    /// The incarnation that `after` belongs to.
    pub(crate) epoch: Option<String>,
    pub(crate) partials: Option<String>,
    pub(crate) ticket: Option<String>,
    pub(crate) access_token: Option<String>,
}

impl Asked {
    pub(crate) fn wants_partials(&self) -> bool {
        !matches!(self.partials.as_deref(), Some("0" | "false"))
    }
}

/// Tokens of the handshake.
#[derive(Clone, Default)]
pub(crate) struct Tokens {
    header: Option<String>,
    subprotocol: Option<String>,
}

impl Tokens {
    pub(crate) fn of(headers: &HeaderMap, offered: &[String]) -> Self {
        let subprotocol = offered.iter().find_map(|offer| offer.strip_prefix("bearer."));
        Self { header: bearer(headers).map(str::to_owned), subprotocol: subprotocol.map(str::to_owned) }
    }

    /// `Ok(None)`: the viewer has shown nothing yet, its first frame may. The order is that of the protocol: header,
    /// subprotocol item, ticket, and the URL's token where the settings allow it.
    pub(crate) fn grant(
        &self,
        keeper: &Gatekeeper,
        asked: &Asked,
        token_in_url: bool,
        now: u64,
    ) -> Result<Option<Grant>, Refused> {
        if let Some(token) = &self.header {
            return keeper.bearer(Some(token), now).map(Some);
        }
        if let Some(item) = &self.subprotocol {
            return from_item(keeper, item, now).map(Some);
        }
        if let Some(ticket) = &asked.ticket {
            return keeper.ticket(ticket, now).map(Some);
        }
        if let Some(token) = asked.access_token.as_deref().filter(|_| token_in_url) {
            return keeper.bearer(Some(token), now).map(Some);
        }
        match keeper.bearer(None, now) {
            Err(Refused::Missing) => Ok(None),
            open => open.map(Some),
        }
    }
}

/// The item holds the token as base64url (a subprotocol may not hold every character), or plain.
fn from_item(keeper: &Gatekeeper, item: &str, now: u64) -> Result<Grant, Refused> {
    let decoded = URL_SAFE_NO_PAD.decode(item).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let plain = keeper.bearer(Some(item), now);
    match decoded {
        Some(token) if plain.is_err() => keeper.bearer(Some(&token), now),
        _ => plain,
    }
}
