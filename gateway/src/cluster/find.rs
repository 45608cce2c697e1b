//! Which session is meant, and what is known of one whose resource is gone.

use super::cache::Session;
use super::sessions::Shared;
use crate::sessions::{CaptureMode, SessionDocument, SessionsError};
use kube::ResourceExt;
use roomscribe_transcript::{Event, Head, LogError, Offset, SessionId};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// A session that another replica has just made is waited for so long before it counts as unknown.
const UNSEEN: Duration = Duration::from_secs(1);

impl Shared {
    /// The resource of this id or name, as the watch shows it.
    pub(super) fn held(&self, key: &str) -> Result<Option<Session>, SessionsError> {
        let cache = self.cache();
        if let Some(session) = SessionId::parse(key).and_then(|id| cache.by_uid(id.as_str())) {
            return Ok(Some(session));
        }
        let named = cache.by_name(key);
        match named.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(Arc::clone(one))),
            several => {
                let of = |session: &Session| {
                    format!(
                        "{} ({})",
                        session.uid().unwrap_or_default(),
                        session.namespace().unwrap_or_default()
                    )
                };
                let ids: Vec<String> = several.iter().map(of).collect();
                Err(SessionsError::Conflict(format!(
                    "{key} is the name of several sessions: use an id, one of {}",
                    ids.join(", ")
                )))
            }
        }
    }

    /// Waits for the cache to say so, but not long.
    pub(super) async fn await_cache<T>(
        &self,
        patience: Duration,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.changed.subscribe();
        let found = async {
            loop {
                if let Some(found) = look(self) {
                    return Some(found);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, found).await.ok().flatten()
    }

    pub(super) async fn find(&self, key: &str) -> Result<SessionDocument, SessionsError> {
        if let Some(session) = self.held(key)? {
            return Ok(self.document(&session));
        }
        if let Some(id) = SessionId::parse(key) {
            if let Some(document) = self.cache().gone(id.as_str()) {
                return Ok(document);
            }
            if let Some(document) = self.told_by_log(&id).await? {
                return Ok(document);
            }
        }
        let seen = self.await_cache(UNSEEN, |shared| shared.held(key).ok().flatten()).await;
        seen.map(|session| self.document(&session)).ok_or(SessionsError::NotFound)
    }

    /// Of a session whose resource is gone the log still knows when and how it ended.
    async fn told_by_log(&self, id: &SessionId) -> Result<Option<SessionDocument>, SessionsError> {
        let head = match self.log.head(id).await {
            Ok(head) => Some(head),
            Err(LogError::Erased) => None,
            Err(LogError::NoSession) => return Ok(None),
            Err(error) => return Err(log_is_away(&error)),
        };
        let reason = match &head {
            Some(head) => self.end_of(id, head).await?,
            None => "Erased".into(),
        };
        let failed =
            ["StartDeadlineExceeded", "AttemptsExhausted", "AddressTimeout"].contains(&reason.as_str());
        let zero = head.and_then(|head| head.note?.media_zero_at);
        Ok(Some(SessionDocument {
            id: id.to_string(),
            name: String::new(),
            namespace: String::new(),
            room_name: String::new(),
            state: if failed { "Failed" } else { "Succeeded" }.into(),
            reason,
            message: "The resource is gone; the transcript stays as long as the log keeps it.".into(),
            capture_mode: CaptureMode::Auto,
            created_at: zero.clone().unwrap_or_default(),
            started_at: zero,
            completed_at: None,
            usage: json!({}),
            ingest: None,
        }))
    }

    async fn end_of(&self, id: &SessionId, head: &Head) -> Result<String, SessionsError> {
        let before = Offset(head.head.0.saturating_sub(1));
        let last = self.log.read(id, before, 1).await.map_err(|error| log_is_away(&error))?;
        Ok(match last.last().map(|record| &record.event) {
            Some(Event::End(end)) => end.reason.clone(),
            _ => "Stopped".into(),
        })
    }
}

/// The log cannot be asked.
pub(super) fn log_is_away(error: &LogError) -> SessionsError {
    tracing::error!(%error, "the transcript log does not answer: whoever runs it must look at it");
    SessionsError::Unavailable("the transcript log does not answer: try again".into())
}
