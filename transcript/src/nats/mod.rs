//! The log in NATS JetStream: one file stream for all sessions, one subject per session (contract §5, docs/nats.md).
//!
//! Many processes share it: a worker appends, gateways follow. No consumer is ever made: followers hear of news by the
//! stream's `republish` and read by Direct Get. Writers are fenced by the expected last sequence of their subject.

mod connect;
mod hub;
mod index;
mod message;
mod read;
mod session;
mod settings;
mod write;

pub use connect::CONNECT_WAIT;
pub(crate) use session::NatsSession;
pub use settings::NatsSettings;

use crate::follow::{Follow, Source};
use crate::live::Tally;
use crate::log::{Append, Appended, Head, LogCounters, LogError, Swept, TranscriptLog};
use crate::model::{Offset, Partial, Record, SessionId};
use async_nats::header::HeaderMap;
use connect::{Conn, chain};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use message::{Body, Entry};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Sessions kept in memory while nobody follows them or writes to them.
pub const IDLE_SESSIONS_MAX: usize = 1024;
/// Reads at once when all sessions are looked at.
const READS_AT_ONCE: usize = 16;

/// A log in NATS.
#[derive(Debug)]
pub struct NatsLog {
    conn: Arc<Conn>,
    resident: Mutex<HashMap<SessionId, Arc<NatsSession>>>,
    clock: AtomicU64,
    tally: Arc<Tally>,
}

impl NatsLog {
    /// Connects, and makes the stream when it is not there. Waits [`CONNECT_WAIT`] at most for NATS; later losses of the
    /// connection are mended inside. [`LogError::Nats`] names the URL, never its password.
    pub async fn connect(settings: NatsSettings) -> Result<Self, LogError> {
        Self::connect_within(CONNECT_WAIT, settings).await
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// As of [`Self::connect`].
    pub async fn connect_within(patience: Duration, settings: NatsSettings) -> Result<Self, LogError> {
        let writer = crate::state::new_epoch();
        let conn = Arc::new(Conn::open(settings, writer, patience).await?);
        Ok(Self { conn, resident: Mutex::default(), clock: AtomicU64::new(0), tally: Arc::default() })
    }

    /// Counts for metrics.
    pub fn counters(&self) -> LogCounters {
        self.tally.read()
    }

    /// Gives an existing stream these settings' replicas and retention: for the one program that owns them, because
    /// workers of an older installation still run with the former.
    pub async fn update_stream(&self) -> Result<(), LogError> {
        let context = &self.conn.context;
        let name = self.conn.settings.stream_name();
        let failed = |error: &(dyn std::error::Error + 'static)| self.conn.error(chain(error));
        let mut config =
            context.get_stream(&name).await.map_err(|error| failed(&error))?.cached_info().config.clone();
        let wanted = self.conn.settings.stream();
        if (config.num_replicas, config.max_age) == (wanted.num_replicas, wanted.max_age) {
            return Ok(());
        }
        (config.num_replicas, config.max_age) = (wanted.num_replicas, wanted.max_age);
        config.duplicate_window = wanted.duplicate_window;
        context.update_stream(config).await.map(drop).map_err(|error| failed(&error))
    }

    fn resident(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<NatsSession>>> {
        self.resident.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the session, perhaps nothing; what is known to be gone is asked for again.
    fn enter(&self, id: &SessionId) -> Arc<NatsSession> {
        let mut resident = self.resident();
        if resident.get(id).is_some_and(|found| found.is_gone()) {
            resident.remove(id);
        }
        if resident.len() >= IDLE_SESSIONS_MAX && !resident.contains_key(id) {
            make_room(&mut resident);
        }
        let new = || Arc::new(NatsSession::new(id.clone(), self.conn.clone(), self.tally.clone()));
        let found = resident.entry(id.clone()).or_insert_with(new).clone();
        found.touch(self.clock.fetch_add(1, Ordering::Relaxed));
        found
    }

    /// Where the log is, from its last message.
    async fn head_of(&self, last: &Entry, subject: &str) -> Result<Head, LogError> {
        let oldest = match (&last.body, self.conn.next_at(subject, 1).await?) {
            // A replica that knows no message of it yet is behind, so nothing is old.
            (Body::Opening, _) | (_, None) => Offset(1),
            (_, Some(first)) => first.offset().max(Offset(1)),
        };
        last.head(oldest)
    }

    /// Ids of all sessions, also erased ones, and how many messages each has.
    async fn listed(&self) -> Result<Vec<(SessionId, usize)>, LogError> {
        let start = format!("{}.log.", self.conn.settings.prefix);
        let failed = |error: &(dyn std::error::Error + 'static)| self.conn.error(chain(error));
        let listing = self.conn.stream.info_with_subjects(format!("{start}*")).await;
        let mut subjects = listing.map_err(|error| failed(&error))?;
        let mut ids = Vec::new();
        while let Some((subject, count)) = subjects.try_next().await.map_err(|error| failed(&error))? {
            let id = subject.strip_prefix(&start).and_then(SessionId::parse);
            ids.extend(id.map(|id| (id, count)));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    async fn remove_if_older(&self, id: SessionId, limit: SystemTime) -> Result<bool, (SessionId, LogError)> {
        let subject = self.conn.subject("log", &id);
        let judged = async {
            let Some(last) = self.conn.last_anywhere(&subject).await? else { return Ok(false) };
            if !last.ended() || last.time >= limit {
                return Ok(false);
            }
            self.conn.purge(&subject).await?;
            let known = self.resident().remove(&id);
            if let Some(known) = known {
                known.observe(&last);
                known.vanish();
            }
            Ok(true)
        };
        judged.await.map_err(|error| (id, error))
    }
}

/// Forgets the longest untouched session that nobody uses.
fn make_room(resident: &mut HashMap<SessionId, Arc<NatsSession>>) {
    let idle = resident.iter().filter(|(_, session)| Arc::strong_count(session) == 1);
    let oldest = idle.min_by_key(|(_, session)| session.touched.load(Ordering::Relaxed));
    if let Some(id) = oldest.map(|(id, _)| id.clone()) {
        resident.remove(&id);
    }
}

impl TranscriptLog for NatsLog {
    async fn open(&self, session: &SessionId) -> Result<Head, LogError> {
        let found = self.enter(session);
        let last = found.open().await?;
        self.head_of(&last, &found.subject()).await
    }

    async fn append(&self, session: &SessionId, append: Append) -> Result<Appended, LogError> {
        match self.enter(session).append(append.clone()).await {
            // What was known of the session was of another log.
            Err(LogError::Replaced) => self.enter(session).append(append).await,
            outcome => outcome,
        }
    }

    async fn read(
        &self,
        session: &SessionId,
        after: Offset,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, LogError> {
        self.enter(session).read(after, limit).await
    }

    async fn follow(&self, session: &SessionId, after: Offset) -> Result<Follow, LogError> {
        let found = self.enter(session);
        let follow = Follow::new(Source::Nats(found.clone()), after);
        let Some(last) = found.last().await? else { return Err(LogError::NoSession) };
        last.head(Offset(1))?;
        found.listen();
        Ok(follow)
    }

    async fn head(&self, session: &SessionId) -> Result<Head, LogError> {
        let found = self.enter(session);
        let Some(last) = found.last().await? else { return Err(LogError::NoSession) };
        self.head_of(&last, &found.subject()).await
    }

    async fn sessions(&self) -> Result<Vec<SessionId>, LogError> {
        let judge = |(id, count)| async move {
            // One message: an opening, or a tombstone.
            if count == 1 {
                let last = self.conn.last_anywhere(&self.conn.subject("log", &id)).await?;
                if matches!(last, Some(Entry { body: Body::Tombstone, .. })) {
                    return Ok(None);
                }
            }
            Ok::<_, LogError>(Some(id))
        };
        let listed = futures_util::stream::iter(self.listed().await?);
        listed
            .map(judge)
            .buffered(READS_AT_ONCE)
            .try_filter_map(|id| async move { Ok(id) })
            .try_collect()
            .await
    }

    fn publish_partial(&self, session: &SessionId, partial: Partial) {
        let found = self.resident().get(session).cloned();
        let Some(found) = found else { return };
        found.touch(self.clock.fetch_add(1, Ordering::Relaxed));
        let Ok(bytes) = serde_json::to_vec(&partial) else { return };
        if !found.show(partial) || !self.conn.is_connected() {
            return;
        }
        let mut headers = HeaderMap::new();
        headers.insert(message::WRITER, self.conn.writer.as_str());
        let subject = self.conn.subject("partial", session);
        // Once or not at all: the next reading is only a moment away.
        let sent = self.conn.client.publish_with_headers(subject, headers, bytes.into()).now_or_never();
        if !matches!(sent, Some(Ok(()))) {
            found.live.drop_partial();
        }
    }

    async fn erase(&self, session: &SessionId) -> Result<(), LogError> {
        self.enter(session).erase().await
    }

    async fn sweep(&self, now: SystemTime, retention: Duration) -> Result<Swept, LogError> {
        let mut swept = Swept::default();
        let Some(limit) = now.checked_sub(retention) else { return Ok(swept) };
        let listed = futures_util::stream::iter(self.listed().await?);
        let mut judged =
            listed.map(|(id, _)| self.remove_if_older(id, limit)).buffer_unordered(READS_AT_ONCE);
        while let Some(outcome) = judged.next().await {
            match outcome {
                Ok(removed) => swept.removed += usize::from(removed),
                Err((id, error)) => {
                    tracing::warn!(session = %id, %error, "retention skipped a log");
                    swept.skipped += 1;
                }
            }
        }
        Ok(swept)
    }
}
