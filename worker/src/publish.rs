//! Appends a session's events to its log, one at a time and in order, and keeps trying while trying can help.

use crate::metrics::{Metrics, Why};
use roomscribe_transcript::{
    Append, Appended, Event, Generation, Head, Log, LogError, Offset, Record, SessionId, WriterNote,
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
    /// NATS has no room.
    NatsFull,
    /// NATS is away: what was recognised waits.
    NatsAway,
}

impl Trouble {
    /// CamelCase, for `/status`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Full | Self::NatsFull => "StorageFull",
            Self::Failed => "StorageFailed",
            Self::NatsAway => "NatsUnreachable",
        }
    }

    /// No new publisher is taken: its words would have nowhere to go. A NATS that is away is mostly back in a moment,
    /// and a refused publisher would cost its egress.
    pub fn holds(self) -> bool {
        self != Self::NatsAway
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
            Self::NatsFull => {
                "NATS has no room: give its disk (then restart it) or its JetStream limits more; new publishers are refused until then, the live one is kept"
            }
            Self::NatsAway => {
                "NATS (NATS_URL) cannot be reached: what is said is kept and stored when it is back"
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
                // The log was lost with its storage. The meeting goes on in a new one, whose epoch says so.
                LogError::NoSession if moves < MAX_MOVES => {
                    self.count("lost");
                    tracing::error!(session = %self.session, "the transcript's log is gone; what is said from now on begins a new one");
                    (expected_head, moves) = (self.begin(expected_head).await, moves + 1);
                    continue;
                }
                LogError::Full if self.in_nats() => Trouble::NatsFull,
                LogError::Full => Trouble::Full,
                LogError::Nats { .. } => Trouble::NatsAway,
                LogError::Io(error) => error.kind().into(),
                _ => {
                    self.count("refused");
                    return Err(error);
                }
            };
            self.count(match trouble {
                Trouble::Full | Trouble::NatsFull => "disk_full",
                Trouble::Failed => "io",
                Trouble::NatsAway => "nats",
            });
            if self.tell(Some(trouble)) {
                tracing::error!(session = %self.session, %error, mend = trouble.message(), "cannot append to the transcript; trying on");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// The head of a log begun anew, or `head` when that cannot be done yet.
    async fn begin(&self, head: Offset) -> Offset {
        self.log.open(&self.session).await.map_or(head, |begun| begun.head)
    }

    fn in_nats(&self) -> bool {
        self.log.is_shared()
    }

    /// Where the log is now, and its newest note.
    pub(crate) async fn head(&self) -> Result<Head, LogError> {
        self.log.head(&self.session).await
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
