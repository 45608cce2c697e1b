//! Following a log: history, then live. A follower pulls; the writer never knows it, so a slow one costs nothing.

use crate::file::FileSession;
use crate::live::{Live, Progress};
use crate::log::{FollowItem, LogError};
use crate::memory::MemorySession;
use crate::model::{Event, Offset, Record};
#[cfg(feature = "nats")]
use crate::nats::NatsSession;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Records that one follower holds at most; the rest stays in the log.
pub const FOLLOW_BATCH: usize = 32;

/// History, then live. Ends after the `end` event, when the log is erased, or with an error.
///
/// Nothing runs on its behalf while nobody calls [`Follow::next`], and it holds at most [`FOLLOW_BATCH`] records.
#[derive(Debug)]
pub struct Follow {
    source: Source,
    progress: watch::Receiver<Progress>,
    cursor: Offset,
    batch: VecDeque<Arc<Record>>,
    partials_seen: u64,
    reading: Option<JoinHandle<Result<Vec<Arc<Record>>, LogError>>>,
    done: bool,
}

#[derive(Debug)]
pub(crate) enum Source {
    Memory(Arc<MemorySession>),
    File(Arc<FileSession>),
    #[cfg(feature = "nats")]
    Nats(Arc<NatsSession>),
}

impl Source {
    fn live(&self) -> &Live {
        match self {
            Self::Memory(session) => &session.live,
            Self::File(session) => &session.live,
            #[cfg(feature = "nats")]
            Self::Nats(session) => &session.live,
        }
    }
}

impl Follow {
    pub(crate) fn new(source: Source, after: Offset) -> Self {
        let progress = source.live().watch();
        Self {
            source,
            progress,
            cursor: after,
            batch: VecDeque::new(),
            partials_seen: 0,
            reading: None,
            done: false,
        }
    }

    /// The next item; `None` after `end` (or after an error). Cancel-safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Result<FollowItem, LogError>> {
        while !self.done {
            if let Some(item) = self.ready() {
                return Some(item);
            }
            let progress = *self.progress.borrow_and_update();
            if let Some(gone) = progress.gone {
                return Some(self.fail(gone.into()));
            }
            if self.cursor < progress.head {
                match self.fill().await {
                    Ok(records) => self.batch.extend(records),
                    Err(error) => return Some(self.fail(error)),
                }
            } else if progress.ended {
                self.done = true;
            } else if let Some((version, partial)) = self.source.live().partial_after(self.partials_seen) {
                self.partials_seen = version;
                return Some(Ok(FollowItem::Partial(partial)));
            } else if self.progress.changed().await.is_err() {
                self.done = true;
            }
        }
        None
    }

    /// Records held for this follower now, at most [`FOLLOW_BATCH`].
    pub fn held(&self) -> usize {
        self.batch.len()
    }

    fn ready(&mut self) -> Option<Result<FollowItem, LogError>> {
        let record = self.batch.pop_front()?;
        self.cursor = record.offset;
        self.done = matches!(record.event, Event::End(_));
        Some(Ok(FollowItem::Record(record)))
    }

    fn fail(&mut self, error: LogError) -> Result<FollowItem, LogError> {
        self.done = true;
        Err(error)
    }

    /// A read that has begun is kept in `self.reading`, so that a cancelled call does not start it over for ever.
    async fn fill(&mut self) -> Result<Vec<Arc<Record>>, LogError> {
        if self.reading.is_none() {
            self.reading = Some(match &self.source {
                Source::Memory(session) => return session.read(self.cursor, FOLLOW_BATCH),
                Source::File(session) => {
                    if let Some(records) = session.recent(self.cursor, FOLLOW_BATCH) {
                        return Ok(records);
                    }
                    session.clone().read_task(self.cursor, FOLLOW_BATCH).await?
                }
                #[cfg(feature = "nats")]
                Source::Nats(session) => {
                    if let Some(records) = session.recent(self.cursor, FOLLOW_BATCH) {
                        return Ok(records);
                    }
                    let (session, after) = (session.clone(), self.cursor);
                    tokio::spawn(async move { session.read(after, FOLLOW_BATCH).await })
                }
            });
        }
        let Some(task) = self.reading.as_mut() else { return Ok(Vec::new()) };
        let outcome = task.await;
        self.reading = None;
        outcome.map_err(|error| LogError::Io(std::io::Error::other(error)))?
    }
}
