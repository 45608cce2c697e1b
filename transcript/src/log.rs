//! The log: one per session, a single writer, many readers (design §3).
//!
//! Contract: `append` gives contiguous offsets from 1; the same `seg` again is a no-op that returns the first offset;
//! a lower `gen` than seen is [`LogError::Fenced`], a wrong head [`LogError::Moved`]. `follow` gives history, then live,
//! without gap or duplicate; partials are latest-state and may be dropped.

use crate::model::{Event, Generation, Offset, Partial, Record, SessionId, WriterNote};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use crate::backing::Log;
pub use crate::follow::{FOLLOW_BATCH, Follow};

/// Bytes of one record's JSON at most, the writer's note included.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// What a writer asks to append.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// The writer's attempt.
    pub generation: Generation,
    /// The head that the writer believes in; the event gets the offset after it.
    pub expected_head: Offset,
    /// What happened.
    pub event: Event,
    /// The writer's own record, for its successor.
    pub note: Option<WriterNote>,
}

/// Where an appended event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The event's offset (the first one, when it was there already).
    pub offset: Offset,
    /// The log's head now.
    pub head: Offset,
    /// The same final was there already; nothing was written.
    pub duplicate: bool,
}

/// Where a log begins and ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// The log's incarnation, 8 hex digits.
    pub epoch: String,
    /// First offset still there (1 unless something was erased by retention).
    pub oldest: Offset,
    /// Last offset given; 0 when empty.
    pub head: Offset,
    /// Highest `gen` seen.
    pub generation: Generation,
    /// An `end` has been appended.
    pub ended: bool,
    /// The newest writer's record.
    pub note: Option<WriterNote>,
}

/// Why the log refused.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A later attempt writes this session: this writer must stop.
    #[error("fenced: attempt {seen} has written already, this writer is attempt {own}", seen = .seen.0, own = .own.0)]
    Fenced {
        /// Highest attempt in the log.
        seen: Generation,
        /// The refused writer's.
        own: Generation,
    },
    /// The head is elsewhere: read it and decide again.
    #[error("the log's head is {head}, not {expected}")]
    Moved {
        /// Where the log is.
        head: Offset,
        /// Where the writer thought it was.
        expected: Offset,
    },
    /// No event may follow an `end`.
    #[error("the session has ended")]
    Ended,
    /// No log of that session (or it was erased).
    #[error("no such session")]
    NoSession,
    /// The transcript was erased on request; a tombstone stays.
    #[error("the transcript was erased")]
    Erased,
    /// The event is larger than a record may be.
    #[error("event of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Encoded size.
        bytes: usize,
        /// Largest allowed.
        limit: usize,
    },
    /// No room: nothing acknowledged is lost, the operator of the machine must free space (in memory: end the session).
    #[error(
        "the log's storage (the disk that holds DATA_DIR, or of NATS its disk or limits; in memory the session's share) is full: make room there; nothing acknowledged is lost"
    )]
    Full,
    /// The log that was followed is lost, or was begun anew under another epoch: whoever followed begins again.
    #[error("the log was lost or begun anew; what follows has another epoch")]
    Replaced,
    /// NATS cannot be reached or refuses: whoever runs it must act. What was not acknowledged may be tried again.
    #[error("NATS at {url} (NATS_URL): {why}; {mend}")]
    Nats {
        /// Without user and password.
        url: String,
        /// What happened.
        why: String,
        /// What to do.
        mend: &'static str,
    },
    /// Another process uses this folder: stop it, or set another `DATA_DIR`.
    #[error("DATA_DIR {} is in use by another roomscribe process (lock file {})", path.parent().unwrap_or(path).display(), path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Acknowledged data cannot be read back: the operator of the machine must restore the file from a backup,
    /// or move it away to give the session up. It is never cut short silently.
    #[error("log file {} is damaged at byte {at}: {what}; restore it from a backup or move it away", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// First byte of the record that is not good.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Reading or writing failed.
    #[error("the log's storage under DATA_DIR failed, whoever runs this machine must look at it: {0}")]
    Io(#[from] std::io::Error),
}

/// What a follower receives.
#[derive(Debug, Clone, PartialEq)]
pub enum FollowItem {
    /// A durable event, in order, each exactly once.
    Record(Arc<Record>),
    /// Latest state of an open segment; some are skipped when the follower is slow.
    Partial(Arc<Partial>),
}

/// Counts since this log was opened, all sessions together; for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogCounters {
    /// Events made durable.
    pub appended: u64,
    /// Batches written; `appended / fsyncs` is how much they share. 0 in memory.
    pub fsyncs: u64,
    /// Batches that failed (full disk, broken disk); everyone in them was told.
    pub failed_writes: u64,
    /// Logs whose torn tail was cut off.
    pub torn_tails: u64,
    /// Partials that no follower got: stale ones, and open segments beyond the limit.
    pub partials_dropped: u64,
}

/// What a retention sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Sessions whose log is gone now.
    pub removed: usize,
    /// Sessions that could not be judged or removed; each was logged.
    pub skipped: usize,
}

/// One log of many sessions.
pub trait TranscriptLog: Send + Sync + 'static {
    /// Opens the session's log for writing, making it (and its epoch) when it is not there.
    fn open(&self, session: &SessionId) -> impl Future<Output = Result<Head, LogError>> + Send;
    /// Appends durably: when this returns, the event survives a crash of this process.
    fn append(
        &self,
        session: &SessionId,
        append: Append,
    ) -> impl Future<Output = Result<Appended, LogError>> + Send;
    /// Records after `after`, at most `limit`. May be fewer than are there; empty means nothing is.
    fn read(
        &self,
        session: &SessionId,
        after: Offset,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Arc<Record>>, LogError>> + Send;
    /// Every record after `after`, then what comes.
    fn follow(
        &self,
        session: &SessionId,
        after: Offset,
    ) -> impl Future<Output = Result<Follow, LogError>> + Send;
    /// Where the log is.
    fn head(&self, session: &SessionId) -> impl Future<Output = Result<Head, LogError>> + Send;
    /// Every session with a log.
    fn sessions(&self) -> impl Future<Output = Result<Vec<SessionId>, LogError>> + Send;
    /// Shows the newest reading of an open segment to followers; never stored, never waits.
    fn publish_partial(&self, session: &SessionId, partial: Partial);
    /// Erases the events; a tombstone stays. Erasing twice is fine.
    fn erase(&self, session: &SessionId) -> impl Future<Output = Result<(), LogError>> + Send;
    /// Removes finished sessions whose last append is older than `retention` at wall time `now`.
    fn sweep(
        &self,
        now: SystemTime,
        retention: Duration,
    ) -> impl Future<Output = Result<Swept, LogError>> + Send;
}

/// Bytes that a record takes; refuses what none may hold, before anything is written.
pub(crate) fn check_size(record: &Record, note: Option<&WriterNote>) -> Result<usize, LogError> {
    let mut count = Count(0);
    serde_json::to_writer(&mut count, &(record, note)).map_err(io::Error::from)?;
    match count.0 + ENVELOPE_BYTES {
        bytes if bytes > RECORD_BYTES_MAX => Err(LogError::TooLarge { bytes, limit: RECORD_BYTES_MAX }),
        bytes => Ok(bytes),
    }
}

/// Room for what a backing writes around record and note.
const ENVELOPE_BYTES: usize = 64;

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
