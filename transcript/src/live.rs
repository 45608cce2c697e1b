//! What followers of one session wait for: how far the log has come, and the newest partials.

use crate::log::{LogCounters, LogError};
use crate::model::{Event, Offset, Partial, Record, SegmentId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Open segments remembered per session; the longest untouched one makes room.
pub(crate) const MAX_OPEN_SEGMENTS: usize = 64;

/// Why a session's log is not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// On request; a tombstone stays.
    Erased,
    /// By retention.
    Removed,
    /// Lost, or begun anew under another epoch.
    #[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "only logs that others share are replaced"))]
    Replaced,
}

impl From<Gone> for LogError {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Erased => Self::Erased,
            Gone::Removed => Self::NoSession,
            Gone::Replaced => Self::Replaced,
        }
    }
}

/// How far followers may read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    pub(crate) head: Offset,
    pub(crate) ended: bool,
    pub(crate) gone: Option<Gone>,
    board: u64,
}

/// One per session. Memory: one cell and at most [`MAX_OPEN_SEGMENTS`] partials, however many follow.
#[derive(Debug)]
pub(crate) struct Live {
    progress: watch::Sender<Progress>,
    board: Mutex<Board>,
    tally: Arc<Tally>,
}

/// Counts of one log, all sessions together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) appended: AtomicU64,
    pub(crate) fsyncs: AtomicU64,
    pub(crate) failed_writes: AtomicU64,
    pub(crate) torn_tails: AtomicU64,
    pub(crate) partials_dropped: AtomicU64,
}

impl Tally {
    pub(crate) fn read(&self) -> LogCounters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogCounters {
            appended: get(&self.appended),
            fsyncs: get(&self.fsyncs),
            failed_writes: get(&self.failed_writes),
            torn_tails: get(&self.torn_tails),
            partials_dropped: get(&self.partials_dropped),
        }
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[derive(Debug, Default)]
struct Board {
    version: u64,
    open: HashMap<SegmentId, (u64, Arc<Partial>)>,
}

impl Live {
    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self { progress: watch::Sender::default(), board: Mutex::default(), tally }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Somebody follows.
    #[cfg(feature = "nats")]
    pub(crate) fn is_watched(&self) -> bool {
        self.progress.receiver_count() > 0
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// No follower will get it: a stale reading, or a segment beyond the limit.
    pub(crate) fn drop_partial(&self) {
        count(&self.tally.partials_dropped);
    }

    /// This process made `records` durable.
    pub(crate) fn advance(&self, records: &[Arc<Record>], head: Offset, ended: bool) {
        self.tally.appended.fetch_add(records.len() as u64, Ordering::Relaxed);
        self.observe(records, head, ended);
    }

    /// `records` are durable: lets followers read up to `head` and forgets the partials they settle.
    pub(crate) fn observe(&self, records: &[Arc<Record>], head: Offset, ended: bool) {
        {
            let mut board = self.board();
            records.iter().for_each(|record| board.settle(record));
            if ended {
                board.open.clear();
            }
        }
        self.progress.send_modify(|progress| {
            progress.head = head;
            progress.ended = ended;
        });
    }

    /// Wakes every follower with the bad news.
    pub(crate) fn end_with(&self, gone: Gone) {
        self.board().open.clear();
        self.progress.send_modify(|progress| progress.gone = Some(gone));
    }

    /// False when a newer reading is known.
    pub(crate) fn publish(&self, partial: Partial) -> bool {
        let mut board = self.board();
        if board.open.get(&partial.seg).is_some_and(|(_, known)| known.rev >= partial.rev) {
            self.drop_partial();
            return false;
        }
        if board.open.len() >= MAX_OPEN_SEGMENTS && !board.open.contains_key(&partial.seg) {
            board.drop_oldest();
            self.drop_partial();
        }
        board.version += 1;
        let version = board.version;
        board.open.insert(partial.seg.clone(), (version, Arc::new(partial)));
        self.progress.send_modify(|progress| progress.board = version);
        true
    }

    /// The longest waiting partial newer than `seen`, and its version.
    pub(crate) fn partial_after(&self, seen: u64) -> Option<(u64, Arc<Partial>)> {
        let board = self.board();
        let newer = board.open.values().filter(|(version, _)| *version > seen);
        newer.min_by_key(|(version, _)| *version).cloned()
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// A final settles its own partial, and every older reading of audio that it covers.
    fn settle(&mut self, record: &Record) {
        let Event::Final(event) = &record.event else { return };
        self.open.retain(|seg, (_, partial)| {
            *seg != event.seg && (partial.after >= record.offset || partial.end_ms > event.end_ms)
        });
    }

    fn drop_oldest(&mut self) {
        let oldest = self.open.iter().min_by_key(|(_, (version, _))| *version).map(|(seg, _)| seg.clone());
        if let Some(seg) = oldest {
            self.open.remove(&seg);
        }
    }
}
