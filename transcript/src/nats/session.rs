//! What this process knows of one session: how far its log has come, its newest records, and, once it writes, its state.

use super::connect::Conn;
use super::hub;
use super::index::Index;
use super::message::{Body, Entry};
use super::read::BATCH;
use crate::live::{Gone, Live, Tally};
use crate::log::LogError;
use crate::model::{Event, Offset, Partial, Record, SessionId};
use crate::state::State;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::time::sleep;

/// Newest records that followers get without asking NATS.
const RECENT_MAX: usize = 64;
/// Waits for a replica that is behind what was acknowledged: longer and longer, about 6 s in all.
const BEHIND_WAITS: u32 = 10;

/// One session of a [`super::NatsLog`].
#[derive(Debug)]
pub(crate) struct NatsSession {
    id: SessionId,
    conn: Arc<Conn>,
    pub(crate) live: Live,
    pub(super) inner: Mutex<Inner>,
    /// Appends of this process, one at a time, in the order of their calls.
    pub(super) turn: tokio::sync::Mutex<()>,
    pub(super) touched: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) gone: Option<Gone>,
    known: Option<Known>,
    recent: VecDeque<Arc<Record>>,
    index: Index,
    pub(super) writing: Option<Writing>,
    pub(super) doubt: Option<Doubt>,
    hub: bool,
}

/// The newest message seen.
#[derive(Debug, Clone)]
struct Known {
    epoch: String,
    seq: u64,
    time: SystemTime,
    offset: Offset,
    ended: bool,
}

/// What a writer must know to answer an append.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) epoch: String,
    /// The last message of the subject.
    pub(super) seq: u64,
    pub(super) state: State,
    /// False while a message may stand in the log that is not in `state`.
    pub(super) certain: bool,
}

/// An append whose outcome was not known; the next try of the same one must not write it twice.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) append: crate::log::Append,
    pub(super) id: String,
    pub(super) stored: Option<Offset>,
}

impl NatsSession {
    pub(super) fn new(id: SessionId, conn: Arc<Conn>, tally: Arc<Tally>) -> Self {
        Self {
            id,
            conn,
            live: Live::new(tally),
            inner: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            touched: AtomicU64::new(0),
        }
    }

    pub(super) fn id(&self) -> &SessionId {
        &self.id
    }

    pub(super) fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    pub(super) fn subject(&self) -> String {
        self.conn.subject("log", &self.id)
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn touch(&self, clock: u64) {
        self.touched.store(clock, Ordering::Relaxed);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.inner().gone.is_some()
    }

    pub(super) fn check(&self) -> Result<(), LogError> {
        self.inner().gone.map_or(Ok(()), |gone| Err(gone.into()))
    }

    /// Takes in what some message says, in whatever order messages come.
    pub(super) fn observe(&self, entry: &Entry) {
        let mut inner = self.inner();
        if inner.gone.is_some() {
            return;
        }
        match &inner.known {
            // Another log: of a later time it has replaced ours, of an earlier one some replica still speaks of it.
            Some(known) if entry.epoch != known.epoch && entry.time > known.time => {
                return self.end(inner, Gone::Replaced);
            }
            Some(known) if entry.epoch != known.epoch || entry.seq <= known.seq => return,
            _ => {}
        }
        match &entry.body {
            Body::Tombstone => self.end(inner, Gone::Erased),
            Body::Opening => inner.known = Some(Known::of(entry)),
            Body::Record(record, _) => {
                inner.remember(record);
                inner.index.note(record.offset, entry.seq);
                inner.known = Some(Known::of(entry));
                self.live.observe(std::slice::from_ref(record), record.offset, entry.ended());
            }
        }
    }

    /// The log is not there any more: removed by retention when it had ended, otherwise lost.
    pub(super) fn vanish(&self) {
        let inner = self.inner();
        let finished = inner.known.as_ref().is_none_or(|known| known.ended);
        self.end(inner, if finished { Gone::Removed } else { Gone::Replaced });
    }

    fn end(&self, mut inner: MutexGuard<'_, Inner>, gone: Gone) {
        if inner.gone.is_none() {
            *inner = Inner { gone: Some(gone), hub: inner.hub, ..Inner::default() };
            self.live.end_with(gone);
        }
    }

    /// The head as any replica knows it; the leader is asked before a log is called lost.
    pub(super) async fn look(&self) -> Result<(), LogError> {
        let subject = self.subject();
        match self.conn.last_anywhere(&subject).await? {
            Some(entry) => self.observe(&entry),
            None => drop(self.last().await?),
        }
        Ok(())
    }

    /// The last message as the leader knows it.
    pub(super) async fn last(&self) -> Result<Option<Entry>, LogError> {
        let last = self.conn.last(&self.subject()).await?;
        match &last {
            Some(entry) => self.observe(entry),
            None => self.vanish(),
        }
        Ok(last)
    }

    /// Records after `after`, `limit` at most; empty when there are none.
    pub(crate) async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Arc<Record>>, LogError> {
        for wait in 0..BEHIND_WAITS {
            self.check()?;
            if self.inner().known.is_none() && self.last().await?.is_none() {
                return Err(LogError::NoSession);
            }
            if let Some(records) = self.inner().recent(after, limit) {
                return Ok(records);
            }
            let records = self.read_stored(after, limit).await?;
            self.check()?;
            if !records.is_empty() || self.inner().head() <= after {
                return Ok(records);
            }
            // A replica is behind, or the log was purged.
            self.last().await?;
            sleep(Duration::from_millis(10) * 2u32.pow(wait)).await;
        }
        Err(self.conn.error("its replicas do not hold what was acknowledged"))
    }

    async fn read_stored(&self, after: Offset, limit: usize) -> Result<Vec<Arc<Record>>, LogError> {
        let (mut from, before) = self.find(after).await?;
        let (subject, mut records) = (self.subject(), Vec::new());
        let count = limit.saturating_add(before).min(BATCH);
        loop {
            let entries = self.conn.batch(&subject, from, count).await?;
            for entry in &entries {
                from = entry.seq + 1;
                match &entry.body {
                    Body::Opening => {}
                    Body::Tombstone => self.observe(entry),
                    Body::Record(record, _) => {
                        self.inner().index.note(record.offset, entry.seq);
                        if record.offset > after && records.len() < limit {
                            records.push(record.clone());
                        }
                    }
                }
            }
            if entries.is_empty() || !records.is_empty() {
                return Ok(records);
            }
        }
    }

    /// The records after `after`, when they are still in memory.
    pub(crate) fn recent(&self, after: Offset, limit: usize) -> Option<Vec<Arc<Record>>> {
        self.inner().recent(after, limit)
    }

    /// A sequence number at or before the record after `after`, and how many messages may stand between.
    async fn find(&self, after: Offset) -> Result<(u64, usize), LogError> {
        let mut search = {
            let inner = self.inner();
            inner.index.search(after, inner.known.as_ref().map_or(0, |known| known.seq))
        };
        let subject = self.subject();
        while let Some(probe) = search.probe() {
            let found = self.conn.next_at(&subject, probe).await?;
            let place = found.map(|entry| (entry.offset(), entry.seq));
            if let Some((offset, seq)) = place {
                self.inner().index.note(offset, seq);
            }
            search.narrow(probe, place);
        }
        Ok((search.start(), search.before()))
    }

    /// Shows a partial to this process' followers; false when it is old news.
    pub(super) fn show(&self, partial: Partial) -> bool {
        let inner = self.inner();
        if inner.gone.is_some() || inner.settles(&partial) {
            self.live.drop_partial();
            return false;
        }
        self.live.publish(partial)
    }

    /// Starts to listen for what others publish.
    pub(super) fn listen(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.inner().hub, true) {
            tokio::spawn(hub::run(self.clone()));
        }
    }

    pub(super) fn is_followed(&self) -> bool {
        self.live.is_watched()
    }

    /// False when a follower came in the last moment.
    pub(super) fn hub_ends(&self) -> bool {
        let mut inner = self.inner();
        inner.hub = self.is_followed();
        !inner.hub
    }

    pub(super) fn hub_ended(&self) {
        self.inner().hub = false;
    }
}

impl Known {
    fn of(entry: &Entry) -> Self {
        let (epoch, seq, time) = (entry.epoch.clone(), entry.seq, entry.time);
        Self { epoch, seq, time, offset: entry.offset(), ended: entry.ended() }
    }
}

impl Inner {
    fn head(&self) -> Offset {
        self.known.as_ref().map_or(Offset(0), |known| known.offset)
    }

    fn remember(&mut self, record: &Arc<Record>) {
        if self.recent.back().is_some_and(|last| last.offset.next() != record.offset) {
            self.recent.clear();
        }
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(record.clone());
    }

    fn recent(&self, after: Offset, limit: usize) -> Option<Vec<Arc<Record>>> {
        let skip = (after.0 + 1).checked_sub(self.recent.front()?.offset.0)?;
        let records: Vec<_> =
            self.recent.iter().skip(usize::try_from(skip).ok()?).take(limit).cloned().collect();
        (!records.is_empty()).then_some(records)
    }

    /// The partial's final is there, or a later one of the same audio, or the end.
    fn settles(&self, partial: &Partial) -> bool {
        let written = self.writing.as_ref().is_some_and(|writing| writing.state.has_final(&partial.seg));
        let ended = self.known.as_ref().is_some_and(|known| known.ended);
        let settled = |record: &Arc<Record>| match &record.event {
            Event::Final(event) => {
                event.seg == partial.seg || (partial.after < record.offset && partial.end_ms <= event.end_ms)
            }
            _ => false,
        };
        written || ended || self.recent.iter().any(settled)
    }
}
