//! The backings behind one value. The methods are inherent too, so that callers need not import the trait.

use crate::file::FileLog;
use crate::follow::Follow;
use crate::log::{Append, Appended, Head, LogCounters, LogError, Swept, TranscriptLog};
use crate::memory::MemoryLog;
use crate::model::{Offset, Partial, Record, SessionId};
#[cfg(feature = "nats")]
use crate::nats::{NatsLog, NatsSettings};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The backings, as one cheap-to-clone value.
#[derive(Debug, Clone)]
pub enum Log {
    /// Gone with the process.
    Memory(Arc<MemoryLog>),
    /// Append-only segment files under `DATA_DIR/sessions`.
    File(Arc<FileLog>),
    /// In NATS JetStream, shared with other processes.
    #[cfg(feature = "nats")]
    Nats(Arc<NatsLog>),
}

macro_rules! dispatch {
    ($self:ident, $log:ident => $call:expr) => {
        match $self {
            Self::Memory($log) => $call,
            Self::File($log) => $call,
            #[cfg(feature = "nats")]
            Self::Nats($log) => $call,
        }
    };
}

impl Log {
    /// A log that is gone with the process.
    pub fn memory() -> Self {
        Self::Memory(Arc::new(MemoryLog::new()))
    }

    /// A log under the folder `data_dir`, which is made when it is not there and locked against other processes.
    pub fn file(data_dir: impl AsRef<Path>) -> Result<Self, LogError> {
        Ok(Self::File(Arc::new(FileLog::open(data_dir.as_ref())?)))
    }

    /// A log in NATS: see [`NatsLog::connect`].
    #[cfg(feature = "nats")]
    pub async fn nats(settings: NatsSettings) -> Result<Self, LogError> {
        Ok(Self::Nats(Arc::new(NatsLog::connect(settings).await?)))
    }

    /// Other processes read and write it too: it is in NATS.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Memory(_) | Self::File(_) => false,
            #[cfg(feature = "nats")]
            Self::Nats(_) => true,
        }
    }

    /// Counts for metrics.
    pub fn counters(&self) -> LogCounters {
        dispatch!(self, log => log.counters())
    }

    /// See [`TranscriptLog::open`].
    pub async fn open(&self, session: &SessionId) -> Result<Head, LogError> {
        dispatch!(self, log => log.open(session).await)
    }

    /// See [`TranscriptLog::append`].
    pub async fn append(&self, session: &SessionId, append: Append) -> Result<Appended, LogError> {
        dispatch!(self, log => log.append(session, append).await)
    }

    /// See [`TranscriptLog::read`].
    pub async fn read(
        &self,
        session: &SessionId,
        after: Offset,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, LogError> {
        dispatch!(self, log => log.read(session, after, limit).await)
    }

    /// See [`TranscriptLog::follow`].
    pub async fn follow(&self, session: &SessionId, after: Offset) -> Result<Follow, LogError> {
        dispatch!(self, log => log.follow(session, after).await)
    }

    /// See [`TranscriptLog::head`].
    pub async fn head(&self, session: &SessionId) -> Result<Head, LogError> {
        dispatch!(self, log => log.head(session).await)
    }

    /// See [`TranscriptLog::sessions`].
    pub async fn sessions(&self) -> Result<Vec<SessionId>, LogError> {
        dispatch!(self, log => TranscriptLog::sessions(log.as_ref()).await)
    }

    /// See [`TranscriptLog::publish_partial`].
    pub fn publish_partial(&self, session: &SessionId, partial: Partial) {
        dispatch!(self, log => log.publish_partial(session, partial));
    }

    /// See [`TranscriptLog::erase`].
    pub async fn erase(&self, session: &SessionId) -> Result<(), LogError> {
        dispatch!(self, log => log.erase(session).await)
    }

    /// See [`TranscriptLog::sweep`].
    pub async fn sweep(&self, now: SystemTime, retention: Duration) -> Result<Swept, LogError> {
        dispatch!(self, log => log.sweep(now, retention).await)
    }
}

impl TranscriptLog for Log {
    async fn open(&self, session: &SessionId) -> Result<Head, LogError> {
        self.open(session).await
    }

    async fn append(&self, session: &SessionId, append: Append) -> Result<Appended, LogError> {
        self.append(session, append).await
    }

    async fn read(
        &self,
        session: &SessionId,
        after: Offset,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, LogError> {
        self.read(session, after, limit).await
    }

    async fn follow(&self, session: &SessionId, after: Offset) -> Result<Follow, LogError> {
        self.follow(session, after).await
    }

    async fn head(&self, session: &SessionId) -> Result<Head, LogError> {
        self.head(session).await
    }

    async fn sessions(&self) -> Result<Vec<SessionId>, LogError> {
        self.sessions().await
    }

    fn publish_partial(&self, session: &SessionId, partial: Partial) {
        self.publish_partial(session, partial);
    }

    async fn erase(&self, session: &SessionId) -> Result<(), LogError> {
        self.erase(session).await
    }

    async fn sweep(&self, now: SystemTime, retention: Duration) -> Result<Swept, LogError> {
        self.sweep(now, retention).await
    }
}
