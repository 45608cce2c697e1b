//! Erasure on request: the session ends first, then everything of it goes; a tombstone stays.

use super::Running;
use crate::hands::Hands;
use crate::sessions::{Entries, disk, timestamp};
use roomscribe_gateway::sessions::SessionsError;
use roomscribe_transcript::{LogError, SessionId};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Erases a session once it has ended.
pub(crate) struct Eraser {
    /// Which.
    pub id: SessionId,
    /// Log, spool and speech service.
    pub hands: Hands,
    /// All sessions.
    pub entries: Arc<Mutex<Entries>>,
    /// `DATA_DIR`.
    pub data_dir: PathBuf,
}

impl Eraser {
    /// Waits for the end, then erases.
    pub(crate) async fn run(self) -> Result<(), SessionsError> {
        let end = {
            let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.all.get(&self.id).and_then(|entry| entry.running.as_ref()).map(Running::ended)
        };
        if let Some(end) = end {
            end.await;
        }
        self.hands.erase(&self.id).await.map_err(|error| match error {
            LogError::NoSession | LogError::Erased => SessionsError::NotFound,
            other => SessionsError::Unavailable(other.to_string()),
        })?;
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.find(self.id.as_str())?;
        entry.stored.erased = true;
        entry.stored.completed_at.get_or_insert_with(timestamp);
        entry.stored.save(&self.data_dir).map_err(|error| disk(&error))
    }
}
