//! A log that is gone with the process.

use crate::follow::{Follow, Source};
use crate::live::{Gone, Live, Tally};
use crate::log::{Append, Appended, Head, LogCounters, LogError, Swept, TranscriptLog};
use crate::model::{Offset, Partial, Record, SessionId};
use crate::state::{Decision, State, new_epoch};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Records of one session kept in memory; the next append gets [`LogError::Full`].
pub const MEMORY_RECORDS_MAX: usize = 500_000;

/// In memory.
#[derive(Debug, Default)]
pub struct MemoryLog {
    sessions: Mutex<HashMap<SessionId, Arc<MemorySession>>>,
    tally: Arc<Tally>,
}

#[derive(Debug)]
pub(crate) struct MemorySession {
    epoch: String,
    inner: Mutex<Inner>,
    pub(crate) live: Live,
}

#[derive(Debug)]
struct Inner {
    state: State,
    records: Vec<Arc<Record>>,
    gone: Option<Gone>,
    changed: SystemTime,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts for metrics.
    pub fn counters(&self) -> LogCounters {
        self.tally.read()
    }

    fn find(&self, session: &SessionId) -> Result<Arc<MemorySession>, LogError> {
        self.sessions().get(session).cloned().ok_or(LogError::NoSession)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<MemorySession>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemorySession {
    fn new(tally: Arc<Tally>) -> Self {
        let inner =
            Inner { state: State::default(), records: Vec::new(), gone: None, changed: SystemTime::now() };
        Self { epoch: new_epoch(), inner: Mutex::new(inner), live: Live::new(tally) }
    }

    /// The session's state, unless it is gone.
    fn inner(&self) -> Result<MutexGuard<'_, Inner>, LogError> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.gone.map_or(Ok(inner), |gone| Err(gone.into()))
    }

    fn append(&self, append: &Append) -> Result<Appended, LogError> {
        let mut inner = self.inner()?;
        let record = match inner.state.decide(append)? {
            Decision::Duplicate(offset) => {
                return Ok(Appended { offset, head: inner.state.marks.head, duplicate: true });
            }
            Decision::Write(record) => record,
        };
        crate::log::check_size(&record, append.note.as_ref())?;
        if inner.records.len() >= MEMORY_RECORDS_MAX {
            return Err(LogError::Full);
        }
        inner.state.apply(&record, append.note.as_ref());
        inner.records.push(record.clone());
        inner.changed = SystemTime::now();
        let ended = inner.state.marks.ended.is_some();
        self.live.advance(std::slice::from_ref(&record), record.offset, ended);
        Ok(Appended { offset: record.offset, head: record.offset, duplicate: false })
    }

    pub(crate) fn read(&self, after: Offset, limit: usize) -> Result<Vec<Arc<Record>>, LogError> {
        let inner = self.inner()?;
        let from = usize::try_from(after.0).unwrap_or(usize::MAX).min(inner.records.len());
        Ok(inner.records[from..].iter().take(limit).cloned().collect())
    }

    fn head(&self) -> Result<Head, LogError> {
        Ok(self.inner()?.state.marks.head_of(&self.epoch))
    }

    fn remove(&self, gone: Gone) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.gone.is_none() {
            inner.records = Vec::new();
            inner.state = State::default();
            inner.gone = Some(gone);
            self.live.end_with(gone);
        }
    }

    fn finished_before(&self, limit: SystemTime) -> bool {
        self.inner().is_ok_and(|inner| inner.state.marks.ended.is_some() && inner.changed < limit)
    }
}

impl TranscriptLog for MemoryLog {
    async fn open(&self, session: &SessionId) -> Result<Head, LogError> {
        let found = self
            .sessions()
            .entry(session.clone())
            .or_insert_with(|| Arc::new(MemorySession::new(self.tally.clone())))
            .clone();
        found.head()
    }

    async fn append(&self, session: &SessionId, append: Append) -> Result<Appended, LogError> {
        self.find(session)?.append(&append)
    }

    async fn read(
        &self,
        session: &SessionId,
        after: Offset,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, LogError> {
        self.find(session)?.read(after, limit)
    }

    async fn follow(&self, session: &SessionId, after: Offset) -> Result<Follow, LogError> {
        let found = self.find(session)?;
        found.head()?;
        Ok(Follow::new(Source::Memory(found), after))
    }

    async fn head(&self, session: &SessionId) -> Result<Head, LogError> {
        self.find(session)?.head()
    }

    async fn sessions(&self) -> Result<Vec<SessionId>, LogError> {
        let known = self.sessions();
        let mut ids: Vec<_> =
            known.iter().filter(|(_, found)| found.head().is_ok()).map(|(id, _)| id.clone()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn publish_partial(&self, session: &SessionId, partial: Partial) {
        let Ok(found) = self.find(session) else { return };
        let Ok(inner) = found.inner() else { return };
        if inner.state.marks.ended.is_some() || inner.state.has_final(&partial.seg) {
            found.live.drop_partial();
        } else {
            found.live.publish(partial);
        }
    }

    async fn erase(&self, session: &SessionId) -> Result<(), LogError> {
        self.find(session)?.remove(Gone::Erased);
        Ok(())
    }

    async fn sweep(&self, now: SystemTime, retention: Duration) -> Result<Swept, LogError> {
        let Some(limit) = now.checked_sub(retention) else { return Ok(Swept::default()) };
        let mut known = self.sessions();
        let before = known.len();
        known.retain(|_, found| {
            let old = found.finished_before(limit);
            if old {
                found.remove(Gone::Removed);
            }
            !old
        });
        Ok(Swept { removed: before - known.len(), skipped: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{End, Event, Generation};

    #[tokio::test]
    async fn a_session_at_the_limit_of_records_refuses_more_and_is_still_read() {
        let (log, id) = (MemoryLog::new(), SessionId::parse("019aaaaa-0000-7000-8000-000000000001").unwrap());
        log.open(&id).await.unwrap();
        let found = log.find(&id).unwrap();
        let end = Event::End(End { reason: "Test".into() });
        let record = Arc::new(Record { offset: Offset(1), generation: Generation(1), event: end.clone() });
        found.inner().unwrap().records = vec![record; MEMORY_RECORDS_MAX];
        let append = Append { generation: Generation(1), expected_head: Offset(0), event: end, note: None };
        assert!(matches!(log.append(&id, append).await, Err(LogError::Full)));
        assert_eq!(log.head(&id).await.unwrap().head, Offset(0), "nothing was counted");
        assert_eq!(log.read(&id, Offset(0), 3).await.unwrap().len(), 3);
    }
}
