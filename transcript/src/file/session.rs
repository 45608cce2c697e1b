//! One session's file: its state in memory, loading, reading, erasing. Writing is in `commit`.

use super::disk::{self, Disk};
use super::format::{self, FRAME, Opening, Scan, Scanned};
use crate::live::{Gone, Live, Tally, count};
use crate::log::{Head, LogError};
use crate::model::{Offset, Partial, Record, SessionId, WriterNote};
use crate::state::{Marks, State, new_epoch};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

/// Appends of one session that wait for the disk at once; further ones wait before they are looked at.
pub const PENDING_APPENDS_MAX: usize = 64;
/// Newest records of a session that followers read without touching the disk.
const RECENT_MAX: usize = 64;
/// Bytes of one read.
const READ_BYTES_MAX: u64 = 4 << 20;

/// One session of a [`super::FileLog`].
#[derive(Debug)]
pub(crate) struct FileSession {
    pub(super) id: SessionId,
    pub(super) folder: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    /// Held, in blocking threads only, by whoever touches the file; taken before `inner`.
    pub(super) io: Mutex<()>,
    pub(super) inner: Mutex<Inner>,
    /// Blocking threads that the whole log uses at once.
    pub(super) threads: Arc<Semaphore>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) touched: AtomicU64,
    pub(crate) live: Live,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) loaded: bool,
    pub(super) gone: Option<Gone>,
    pub(super) epoch: String,
    /// With what is still on its way to the disk.
    pub(super) state: State,
    /// Without it.
    pub(super) durable: Marks,
    /// Start of each durable record in the file, and the file's durable length.
    pub(super) index: Vec<u64>,
    pub(super) length: u64,
    pub(super) recent: VecDeque<Arc<Record>>,
    pub(super) pending: VecDeque<Pending>,
    pub(super) waiters: Vec<Waiter>,
    pub(super) committing: bool,
}

/// An event on its way to the disk, and what the durable state becomes with it.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) record: Arc<Record>,
    pub(super) note: Option<WriterNote>,
    pub(super) marks: Marks,
    pub(super) bytes: usize,
}

/// Someone who waits until `offset` is durable.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) offset: Offset,
    pub(super) duplicate: bool,
    pub(super) answer: oneshot::Sender<Result<crate::log::Appended, LogError>>,
    pub(super) _slot: tokio::sync::OwnedSemaphorePermit,
}

impl FileSession {
    pub(super) fn new(
        id: SessionId,
        root: &Path,
        disk: Arc<dyn Disk>,
        threads: Arc<Semaphore>,
        tally: Arc<Tally>,
    ) -> Self {
        let folder = root.join(id.as_str());
        Self {
            id,
            folder,
            disk,
            io: Mutex::default(),
            inner: Mutex::default(),
            threads,
            slots: Arc::new(Semaphore::new(PENDING_APPENDS_MAX)),
            touched: AtomicU64::new(0),
            live: Live::new(tally),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join("log.rsl")
    }

    pub(super) fn tombstone(&self) -> PathBuf {
        self.folder.join("erased")
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn io(&self) -> MutexGuard<'_, ()> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn touch(&self, clock: u64) {
        self.touched.store(clock, Ordering::Relaxed);
    }

    /// Where the log is, `None` while it is not loaded.
    pub(super) fn loaded_head(&self) -> Option<Result<Head, LogError>> {
        let inner = self.inner();
        match inner.gone {
            Some(gone) => Some(Err(gone.into())),
            None if inner.loaded => Some(Ok(inner.durable.head_of(&inner.epoch))),
            None => None,
        }
    }

    /// Blocking: reads the file in, mending a torn tail; makes it when `create`.
    pub(super) fn load(&self, create: bool) -> Result<(), LogError> {
        let _io = self.io();
        if let Some(known) = self.loaded_head() {
            return known.map(drop);
        }
        if self.tombstone().exists() {
            return self.bury(Gone::Erased);
        }
        let bytes = disk::read_if_there(&self.path())?;
        match bytes.as_deref().map(format::scan) {
            Some(Scanned::Log(scan)) => self.mend(bytes.as_deref().unwrap_or_default(), &scan)?.adopt(scan),
            Some(Scanned::Damaged { at, what }) => Err(LogError::Corrupt { path: self.path(), at, what }),
            Some(Scanned::Unborn) | None if create => self.create(),
            Some(Scanned::Unborn) | None => Err(LogError::NoSession),
        }
    }

    fn create(&self) -> Result<(), LogError> {
        let opening = Opening { v: 1, epoch: new_epoch(), session: self.id.to_string() };
        let bytes = format::encode_opening(&opening)?;
        disk::create_folder(&self.folder)
            .and_then(|()| disk::create_whole(&self.path(), &bytes))
            .map_err(storage_error)?;
        self.adopt(Scan { opening, records: Vec::new(), length: bytes.len() as u64, suspicious: false })
    }

    /// Cuts a torn tail off. One that may have been more than that is kept beside the log.
    fn mend(&self, bytes: &[u8], scan: &Scan) -> Result<&Self, LogError> {
        let (good, all) = (scan.length, bytes.len() as u64);
        if good < all {
            if scan.suspicious {
                let tail = bytes.get(good as usize..).unwrap_or_default();
                disk::create_whole(&self.folder.join("log.torn"), tail).map_err(storage_error)?;
            }
            self.disk.truncate(&self.path(), good).map_err(storage_error)?;
            count(&self.live.tally().torn_tails);
            tracing::warn!(session = %self.id, at = good, bytes = all - good, kept = scan.suspicious, "torn tail cut off the log");
        }
        Ok(self)
    }

    fn adopt(&self, scan: Scan) -> Result<(), LogError> {
        if scan.opening.session != self.id.as_str() {
            let what = "it is the log of another session";
            return Err(LogError::Corrupt { path: self.path(), at: 0, what });
        }
        let mut inner = self.inner();
        inner.state = State::default();
        inner.index.clear();
        inner.recent.clear();
        for (start, stored) in scan.records {
            inner.state.apply(&stored.record, stored.note.as_ref());
            inner.index.push(start);
            inner.remember(Arc::new(stored.record));
        }
        inner.epoch = scan.opening.epoch;
        inner.length = scan.length;
        inner.durable = inner.state.marks.clone();
        inner.loaded = true;
        self.live.advance(&[], inner.durable.head, inner.durable.ended.is_some());
        Ok(())
    }

    /// The records after `after`, when they are still in memory.
    pub(crate) fn recent(&self, after: Offset, limit: usize) -> Option<Vec<Arc<Record>>> {
        let inner = self.inner();
        let oldest = inner.recent.front()?.offset;
        let skip = (after.0 + 1).checked_sub(oldest.0)?;
        Some(inner.recent.iter().skip(usize::try_from(skip).ok()?).take(limit).cloned().collect())
    }

    /// Starts a read of durable records after `after`.
    pub(crate) async fn read_task(
        self: Arc<Self>,
        after: Offset,
        limit: usize,
    ) -> Result<JoinHandle<Result<Vec<Arc<Record>>, LogError>>, LogError> {
        let thread = self.threads.clone().acquire_owned().await.map_err(io::Error::other)?;
        Ok(tokio::task::spawn_blocking(move || {
            let _thread = thread;
            self.read(after, limit)
        }))
    }

    /// Blocking. At most [`READ_BYTES_MAX`], but always one record when there is one.
    fn read(&self, after: Offset, limit: usize) -> Result<Vec<Arc<Record>>, LogError> {
        let Some((start, end)) = self.span(after, limit)? else { return Ok(Vec::new()) };
        let mut bytes = vec![0; (end - start) as usize];
        let filled = File::open(self.path()).and_then(|file| file.read_exact_at(&mut bytes, start));
        if let Some(gone) = self.inner().gone {
            return Err(gone.into());
        }
        if let Err(error) = filled {
            let what = "the file is shorter than what was acknowledged";
            return Err(match error.kind() {
                io::ErrorKind::UnexpectedEof => LogError::Corrupt { path: self.path(), at: start, what },
                _ => error.into(),
            });
        }
        let mut records = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let damaged = |what| LogError::Corrupt { path: self.path(), at: start + at as u64, what };
            let json = format::frame_at(&bytes, at).ok_or_else(|| damaged("a record fails its checksum"))?;
            let stored: format::Stored =
                serde_json::from_slice(json).map_err(|_| damaged("a record is not JSON"))?;
            records.push(Arc::new(stored.record));
            at += FRAME + json.len();
        }
        Ok(records)
    }

    /// Bytes `start..end` of the file that hold the records after `after`.
    fn span(&self, after: Offset, limit: usize) -> Result<Option<(u64, u64)>, LogError> {
        let inner = self.inner();
        if let Some(gone) = inner.gone {
            return Err(gone.into());
        }
        let from = usize::try_from(after.0).unwrap_or(usize::MAX);
        let Some(&start) = inner.index.get(from) else { return Ok(None) };
        let to = from.saturating_add(limit.max(1)).min(inner.index.len());
        let ends = (from + 1..=to).map(|next| inner.index.get(next).copied().unwrap_or(inner.length));
        let mut ends = ends.enumerate().take_while(|(nth, end)| *nth == 0 || end - start <= READ_BYTES_MAX);
        Ok(ends.by_ref().last().map(|(_, end)| (start, end)))
    }

    /// Never waits for the disk.
    pub(super) fn publish(&self, partial: Partial) {
        let inner = self.inner();
        let closed = !inner.loaded || inner.gone.is_some() || inner.state.marks.ended.is_some();
        if closed || inner.state.has_final(&partial.seg) {
            self.live.drop_partial();
        } else {
            self.live.publish(partial);
        }
    }
}

impl Inner {
    pub(super) fn remember(&mut self, record: Arc<Record>) {
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(record);
    }
}

/// A full disk is told apart: it has another remedy.
pub(super) fn storage_error(error: io::Error) -> LogError {
    if disk::is_full(&error) { LogError::Full } else { LogError::Io(error) }
}
