//! One log subscription per watched session, feeding its hub.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use roomscribe_transcript::{Event, Follow, FollowItem, Log, LogError, Offset, Partial, Record, SessionId};
use tokio::sync::watch;

use crate::config::GatewayLimits;
use crate::fanout::{Closing, Hub, PartialFrame, Settles};
use crate::metrics::Metrics;

/// Records before the head that a new hub begins with, so that viewers who reconnect together share serialised frames.
const WARM: u64 = 64;

/// The sessions that this process watches.
pub(crate) struct Rooms {
    log: Log,
    bound: usize,
    linger: Duration,
    metrics: Arc<Metrics>,
    rooms: Mutex<HashMap<SessionId, Arc<Room>>>,
    /// Dropped with this value: the feeders end.
    alive: watch::Sender<()>,
}

/// One watched session.
pub(crate) struct Room {
    hub: RwLock<Hub<Utf8Bytes>>,
    changed: watch::Sender<()>,
    viewers: watch::Sender<usize>,
    metrics: Arc<Metrics>,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// `viewers_per_session`.
    #[error("This session has too many viewers: try again later.")]
    Session,
    /// `held_bytes`.
    #[error("This process watches as many sessions as its memory allows: try again later.")]
    Memory,
}

impl Full {
    /// The limit's name in the metrics.
    pub(crate) fn limit(self) -> &'static str {
        match self {
            Self::Session => "viewers_per_session",
            Self::Memory => "held_bytes",
        }
    }
}

/// A viewer's seat in a room; the last one to leave starts the linger.
pub(crate) struct Seat(Arc<Room>);

impl Rooms {
    pub(crate) fn new(log: Log, bound: usize, linger: Duration, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { log, bound, linger, metrics, rooms: Mutex::default(), alive: watch::Sender::new(()) })
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// A seat, or which limit leaves none.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        session: &SessionId,
        limits: &GatewayLimits,
    ) -> Result<Result<Seat, Full>, LogError> {
        let max = limits.viewers_per_session;
        if let Some(room) = self.rooms().get(session) {
            return Ok(room.sit(max));
        }
        if usize::try_from(self.metrics.held.get()).is_ok_and(|held| held >= limits.held_bytes) {
            return Ok(Err(Full::Memory));
        }
        let head = self.log.head(session).await?.head.0;
        let from = head.saturating_sub(WARM);
        let follow = self.log.follow(session, Offset(from)).await?;
        let room = Arc::new(Room::new(Hub::new(from, self.bound), Arc::clone(&self.metrics)));
        let mut rooms = self.rooms();
        if let Some(faster) = rooms.get(session) {
            return Ok(faster.sit(max));
        }
        let seat = room.sit(max);
        if seat.is_ok() {
            rooms.insert(session.clone(), Arc::clone(&room));
            self.metrics.rooms.inc();
            let keeper =
                Keeper { rooms: Arc::downgrade(self), session: session.clone(), room, linger: self.linger };
            tokio::spawn(keeper.run(follow, self.alive.subscribe()));
        }
        Ok(seat)
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Room>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the room; with `only_empty`, unless somebody sat down meanwhile.
    fn forget(&self, session: &SessionId, room: &Arc<Room>, only_empty: bool) -> bool {
        let mut rooms = self.rooms();
        if only_empty && *room.viewers.borrow() > 0 {
            return false;
        }
        if rooms.get(session).is_some_and(|known| Arc::ptr_eq(known, room)) {
            rooms.remove(session);
            self.metrics.rooms.dec();
        }
        true
    }
}

impl Room {
    fn new(hub: Hub<Utf8Bytes>, metrics: Arc<Metrics>) -> Self {
        let (changed, viewers) = (watch::Sender::new(()), watch::Sender::new(0));
        Self { hub: RwLock::new(hub), changed, viewers, metrics }
    }

    fn sit(self: &Arc<Self>, max: usize) -> Result<Seat, Full> {
        let room = self.viewers.send_if_modified(|viewers| {
            let room = *viewers < max;
            *viewers += usize::from(room);
            room
        });
        room.then(|| Seat(Arc::clone(self))).ok_or(Full::Session)
    }

    fn change(&self, act: impl FnOnce(&mut Hub<Utf8Bytes>)) {
        {
            let mut hub: RwLockWriteGuard<'_, _> = self.hub.write().unwrap_or_else(PoisonError::into_inner);
            let before = hub.held_bytes();
            act(&mut hub);
            self.metrics.held.inc_by(hub.held_bytes() as i64 - before as i64);
        }
        self.changed.send_replace(());
    }

    fn hub(&self) -> RwLockReadGuard<'_, Hub<Utf8Bytes>> {
        self.hub.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.metrics.held.dec_by(self.hub().held_bytes() as i64);
    }
}

impl Seat {
    pub(crate) fn hub(&self) -> RwLockReadGuard<'_, Hub<Utf8Bytes>> {
        self.0.hub()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.viewers.send_modify(|viewers| *viewers -= 1);
    }
}

/// The task that carries one session's log into its hub, and ends when nobody has watched for the linger.
struct Keeper {
    rooms: std::sync::Weak<Rooms>,
    session: SessionId,
    room: Arc<Room>,
    linger: Duration,
}

impl Keeper {
    async fn run(self, follow: Follow, mut alive: watch::Receiver<()>) {
        let feed = self.feed(follow);
        tokio::select! {
            () = feed => {}
            _ = alive.changed() => {}
            () = self.deserted() => return,
        }
        // The log has ended: viewers who come later may still share this hub.
        tokio::select! {
            _ = alive.changed() => {}
            () = self.deserted() => {}
        }
    }

    async fn feed(&self, mut follow: Follow) {
        let why = loop {
            match follow.next().await {
                Some(Ok(FollowItem::Record(record))) => {
                    let (frame, settles) = (record_frame(&record), settles(&record));
                    self.room.change(|hub| hub.publish(record.offset.0, frame, settles.as_ref()));
                    if self.room.hub().finished() {
                        tracing::error!(session = %self.session, offset = record.offset.0, "the log skipped an offset; viewers reconnect");
                        break Closing::Broken;
                    }
                }
                Some(Ok(FollowItem::Partial(partial))) => {
                    self.room.change(|hub| hub.publish_partial(partial_frame(&partial)));
                }
                None => break Closing::End,
                Some(Err(LogError::Erased | LogError::NoSession)) => break Closing::Gone,
                Some(Err(error)) => {
                    tracing::error!(session = %self.session, %error, "the log cannot be followed; viewers reconnect");
                    break Closing::Broken;
                }
            }
        };
        self.room.change(|hub| hub.finish(why));
        if why != Closing::End
            && let Some(rooms) = self.rooms.upgrade()
        {
            rooms.forget(&self.session, &self.room, false);
        }
    }

    /// Returns when nobody has watched for the linger and the room is forgotten.
    async fn deserted(&self) {
        let mut viewers = self.room.viewers.subscribe();
        loop {
            if viewers.wait_for(|viewers| *viewers == 0).await.is_err() {
                return;
            }
            let somebody = viewers.wait_for(|viewers| *viewers > 0);
            if tokio::time::timeout(self.linger, somebody).await.is_ok() {
                continue;
            }
            let Some(rooms) = self.rooms.upgrade() else { return };
            if rooms.forget(&self.session, &self.room, true) {
                return;
            }
        }
    }
}

/// A record as viewers see it.
pub(crate) fn record_frame(record: &Record) -> Utf8Bytes {
    // Serialising plain structs with string keys cannot fail.
    serde_json::to_string(record).unwrap_or_default().into()
}

fn settles(record: &Record) -> Option<Settles> {
    let Event::Final(event) = &record.event else { return None };
    Some(Settles { seg: event.seg.0.clone(), end_ms: event.end_ms.0 })
}

fn partial_frame(partial: &Partial) -> PartialFrame<Utf8Bytes> {
    #[derive(serde::Serialize)]
    struct Out<'a> {
        r#type: &'static str,
        #[serde(flatten)]
        partial: &'a Partial,
    }
    let frame = serde_json::to_string(&Out { r#type: "partial", partial }).unwrap_or_default().into();
    PartialFrame {
        seg: partial.seg.0.clone(),
        rev: partial.rev,
        after: partial.after.0,
        end_ms: partial.end_ms.0,
        frame,
    }
}
