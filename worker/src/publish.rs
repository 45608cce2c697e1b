//! Appends a session's events to its log, one at a time and in order, and keeps trying while trying can help.

use crate::metrics::{Metrics, Why};
use roomscribe_transcript::{
    Append, Appended, Event, Generation, Log, LogError, Offset, Record, SessionId, WriterNote,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The head moves under us when an append's answer was lost, or by the gateway's `end`: once or twice, not for ever.
const MAX_MOVES: u32 = 8;

/// Why nothing can be stored at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No space is left.
    Full,
    /// Any other error of the disk.
    Failed,
}

impl Trouble {
    /// CamelCase, for `/status`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Full => "StorageFull",
            Self::Failed => "StorageFailed",
        }
    }

    /// For people: what to do.
    pub fn message(self) -> &'static str {
        match self {
            Self::Full => {
                "DATA_DIR is full: free space; new publishers are refused until then, the live one is kept"
            }
            Self::Failed => {
                "DATA_DIR cannot be written: mend the disk; new publishers are refused until then, the live one is kept"
            }
        }
    }
}

impl From<io::ErrorKind> for Trouble {
    fn from(kind: io::ErrorKind) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        if matches!(kind, StorageFull | QuotaExceeded | FileTooLarge) { Self::Full } else { Self::Failed }
    }
}

/// The session's single writer.
#[derive(Debug, Clone)]
pub struct Writer {
    log: Log,
    session: SessionId,
    generation: Generation,
    metrics: Metrics,
    trouble: watch::Sender<Option<Trouble>>,
}

impl Writer {
    /// A writer of attempt `generation`.
    pub fn new(log: Log, session: SessionId, generation: Generation, metrics: Metrics) -> Self {
        Self { log, session, generation, metrics, trouble: watch::Sender::new(None) }
    }

    /// Tells whether appends fail at the moment.
    pub fn trouble(&self) -> watch::Receiver<Option<Trouble>> {
        self.trouble.subscribe()
    }

    /// Appends `event` after `head`. A full disk and other I/O errors are retried, for as long as the caller lets this
    /// future live: nothing that was recognised is thrown away. Fencing, an ended session and erasure are final.
    pub async fn append(
        self,
        head: Offset,
        event: Event,
        note: Option<WriterNote>,
    ) -> Result<Appended, LogError> {
        let (mut expected_head, mut wait, mut moves) = (head, FIRST_WAIT, 0);
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
                    self.tell(None);
                    return Ok(appended);
                }
                Err(error) => error,
            };
            let trouble = match &error {
                LogError::Moved { head, .. } if moves < MAX_MOVES => {
                    self.count("moved");
                    (expected_head, moves) = (*head, moves + 1);
                    continue;
                }
                LogError::Full => Trouble::Full,
                LogError::Io(error) => error.kind().into(),
                _ => {
                    self.count("refused");
                    return Err(error);
                }
            };
            self.count(if trouble == Trouble::Full { "disk_full" } else { "io" });
            if self.tell(Some(trouble)) {
                tracing::error!(session = %self.session, %error, "cannot append to the transcript: free or mend DATA_DIR; trying on");
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

    /// True when it is news.
    fn tell(&self, trouble: Option<Trouble>) -> bool {
        self.trouble.send_if_modified(|known| std::mem::replace(known, trouble) != trouble)
    }

    fn count(&self, reason: &'static str) {
        self.metrics.append_errors.get_or_create(&Why { reason }).inc();
    }
}
