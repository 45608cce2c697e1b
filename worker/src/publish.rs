//! Appends a session's events to its log, one at a time and in order, and keeps trying while trying can help.

use crate::metrics::{Metrics, Why};
use roomscribe_transcript::{
    Append, Appended, Event, Generation, Log, LogError, Offset, Record, SessionId, WriterNote,
};
use std::sync::Arc;
use std::time::Duration;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The session's single writer.
#[derive(Debug, Clone)]
pub struct Writer {
    log: Log,
    session: SessionId,
    generation: Generation,
    metrics: Metrics,
}

impl Writer {
    /// A writer of attempt `generation`.
    pub fn new(log: Log, session: SessionId, generation: Generation, metrics: Metrics) -> Self {
        Self { log, session, generation, metrics }
    }

    /// Appends `event` after `head`. A full disk and other I/O errors are retried, for as long as the caller lets this
    /// future live: nothing that was recognised is thrown away. Fencing, an ended session and erasure are final.
    pub async fn append(
        self,
        head: Offset,
        event: Event,
        note: Option<WriterNote>,
    ) -> Result<Appended, LogError> {
        let (mut expected_head, mut wait) = (head, FIRST_WAIT);
        loop {
            let append = Append {
                generation: self.generation,
                expected_head,
                event: event.clone(),
                note: note.clone(),
            };
            let error = match self.log.append(&self.session, append).await {
                Ok(appended) => {
                    self.metrics.appended.inc();
                    return Ok(appended);
                }
                Err(LogError::Moved { head, .. }) => {
                    // Ours alone: an append whose answer was lost, or the gateway's `end`.
                    self.count("moved");
                    expected_head = head;
                    continue;
                }
                Err(error) => error,
            };
            match &error {
                LogError::Full => self.count("disk_full"),
                LogError::Io(_) => self.count("io"),
                _ => {
                    self.count("refused");
                    return Err(error);
                }
            }
            if wait == FIRST_WAIT {
                tracing::error!(session = %self.session, %error, "cannot append to the transcript; trying on");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Records after `after`; empty when there are no more.
    pub(crate) async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Arc<Record>>, LogError> {
        self.log.read(&self.session, after, limit).await
    }

    /// Shows a partial to followers.
    pub fn partial(&self, partial: roomscribe_transcript::Partial) {
        self.log.publish_partial(&self.session, partial);
    }

    fn count(&self, reason: &'static str) {
        self.metrics.append_errors.get_or_create(&Why { reason }).inc();
    }
}
