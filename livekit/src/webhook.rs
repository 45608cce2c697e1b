//! LiveKit's webhooks: a bare JWT in `Authorization` whose claim is the body's hash.
//!
//! A webhook only ever makes us look sooner; nothing is decided upon its words alone, because they come late, twice or
//! never.

use livekit_api::access_token::TokenVerifier;
use livekit_api::webhooks::{WebhookError, WebhookReceiver};
use livekit_protocol as proto;
use std::collections::{HashSet, VecDeque};

/// Event ids that are remembered: the JWT lives five minutes, and LiveKit repeats within them.
const REMEMBERED: usize = 4096;

/// Why a webhook was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// No `Authorization`, another key, a wrong signature, another body: 401.
    #[error("the signature is not LiveKit's: check that its webhook api_key is ours")]
    Signature,
    /// Not a webhook's body: 400.
    #[error("the body is not a LiveKit webhook")]
    Body,
}

/// Verifies, and knows what came before.
#[derive(Debug)]
pub struct Webhooks {
    receiver: WebhookReceiver,
    seen: HashSet<String>,
    order: VecDeque<String>,
}

impl Webhooks {
    /// For one key of the project.
    pub fn new(api_key: &str, api_secret: &str) -> Self {
        let receiver = WebhookReceiver::new(TokenVerifier::with_api_key(api_key, api_secret));
        Self { receiver, seen: HashSet::new(), order: VecDeque::new() }
    }

    /// The event; `None` when it came before.
    ///
    /// # Errors
    /// [`Rejected`].
    pub fn take(&mut self, body: &str, authorization: &str) -> Result<Option<proto::WebhookEvent>, Rejected> {
        let token = authorization.strip_prefix("Bearer ").unwrap_or(authorization);
        let event = self.receiver.receive(body, token).map_err(|error| match error {
            WebhookError::InvalidData(_) => Rejected::Body,
            _ => Rejected::Signature,
        })?;
        Ok(self.remember(&event.id).then_some(event))
    }

    fn remember(&mut self, id: &str) -> bool {
        if id.is_empty() {
            return true;
        }
        if !self.seen.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_once_and_the_memory_is_bounded() {
        let mut webhooks = Webhooks::new("key", "secret");
        assert!(webhooks.remember("EV_1"));
        assert!(!webhooks.remember("EV_1"));
        for number in 0..REMEMBERED * 2 {
            webhooks.remember(&format!("EV_x{number}"));
        }
        assert_eq!((webhooks.seen.len(), webhooks.order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn an_unsigned_body_is_refused() {
        let mut webhooks = Webhooks::new("key", "secret");
        assert!(matches!(webhooks.take("{}", "Bearer nonsense"), Err(Rejected::Signature)));
        assert!(matches!(webhooks.take("{}", ""), Err(Rejected::Signature)));
    }
}
