//! Append-only segment files, one per session: `DATA_DIR/sessions/<id>/log.rsl` (contract §5).
//!
//! Files are opened for each batch and each read, never kept, so open files are bounded by
//! [`THREADS_MAX`], not by sessions. One process at a time owns a folder (`DATA_DIR/lock`).

mod commit;
mod disk;
mod erase;
mod format;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use session::FileSession;
pub use session::PENDING_APPENDS_MAX;

use crate::follow::{Follow, Source};
use crate::live::Tally;
use crate::log::{Append, Appended, Head, LogCounters, LogError, Swept, TranscriptLog};
use crate::model::{Offset, Partial, Record, SessionId};
use disk::{Disk, OsDisk};
use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;

/// Blocking threads, and so open files, that one log uses at once.
pub const THREADS_MAX: usize = 16;
/// Sessions kept in memory while nobody follows them or writes to them.
pub const IDLE_SESSIONS_MAX: usize = 256;
/// How long another owner of the folder is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// A log under a folder.
#[derive(Debug)]
pub struct FileLog {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    threads: Arc<Semaphore>,
    resident: Mutex<HashMap<SessionId, Arc<FileSession>>>,
    clock: AtomicU64,
    tally: Arc<Tally>,
    /// Released by the operating system however the process ends.
    _lock: File,
}

impl FileLog {
    /// Takes the folder `data_dir`, making it when it is not there. [`LogError::Locked`] when another process has it.
    pub fn open(data_dir: &Path) -> Result<Self, LogError> {
        Self::with_disk(data_dir, Arc::new(OsDisk))
    }

    fn with_disk(data_dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, LogError> {
        let root = data_dir.join("sessions");
        disk::create_folder(data_dir)?;
        disk::create_folder(&root)?;
        let path = data_dir.join("lock");
        let lock = take_lock(path)?;
        let threads = Arc::new(Semaphore::new(THREADS_MAX));
        let resident = Mutex::default();
        Ok(Self {
            root,
            disk,
            threads,
            resident,
            clock: AtomicU64::new(0),
            tally: Arc::default(),
            _lock: lock,
        })
    }

    /// Counts for metrics.
    pub fn counters(&self) -> LogCounters {
        self.tally.read()
    }

    fn resident(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<FileSession>>> {
        self.resident.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session, perhaps not loaded yet.
    fn enter(&self, id: &SessionId) -> Arc<FileSession> {
        let mut resident = self.resident();
        if resident.len() >= IDLE_SESSIONS_MAX && !resident.contains_key(id) {
            make_room(&mut resident);
        }
        let new = || {
            Arc::new(FileSession::new(
                id.clone(),
                &self.root,
                self.disk.clone(),
                self.threads.clone(),
                self.tally.clone(),
            ))
        };
        let found = resident.entry(id.clone()).or_insert_with(new);
        found.touch(self.clock.fetch_add(1, Ordering::Relaxed));
        found.clone()
    }

    /// The session, loaded; made when `create`.
    async fn ready(&self, id: &SessionId, create: bool) -> Result<Arc<FileSession>, LogError> {
        let found = self.enter(id);
        match found.loaded_head() {
            Some(head) => head.map(|_| found),
            None => self.blocking(&found, move |session| session.load(create)).await.map(|()| found),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        session: &Arc<FileSession>,
        work: impl FnOnce(&FileSession) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let thread = self.threads.clone().acquire_owned().await.map_err(io::Error::other)?;
        let session = session.clone();
        let work = move || {
            let _thread = thread;
            work(&session)
        };
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }

    async fn listed(&self) -> Result<Vec<SessionId>, LogError> {
        let root = self.root.clone();
        tokio::task::spawn_blocking(move || list(&root)).await.map_err(io::Error::other)?
    }
}

/// Blocking, for [`LOCK_WAIT`] at most: a process that was killed, or that is just starting a child, lets go in a moment.
fn take_lock(path: PathBuf) -> Result<File, LogError> {
    let lock = File::options().create(true).truncate(false).write(true).open(&path)?;
    let started = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_WAIT => thread::sleep(LOCK_WAIT / 50),
            Err(TryLockError::WouldBlock) => return Err(LogError::Locked { path }),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// Forgets the longest untouched session that nobody uses.
fn make_room(resident: &mut HashMap<SessionId, Arc<FileSession>>) {
    let idle = resident.iter().filter(|(_, session)| Arc::strong_count(session) == 1);
    let oldest = idle.min_by_key(|(_, session)| session.touched.load(Ordering::Relaxed));
    if let Some(id) = oldest.map(|(id, _)| id.clone()) {
        resident.remove(&id);
    }
}

/// Blocking: folders that hold a log and no tombstone.
fn list(root: &Path) -> Result<Vec<SessionId>, LogError> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(SessionId::parse) else { continue };
        if entry.path().join("log.rsl").exists() && !entry.path().join("erased").exists() {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

impl TranscriptLog for FileLog {
    async fn open(&self, session: &SessionId) -> Result<Head, LogError> {
        let found = self.ready(session, true).await?;
        found.loaded_head().unwrap_or(Err(LogError::NoSession))
    }

    async fn append(&self, session: &SessionId, append: Append) -> Result<Appended, LogError> {
        self.ready(session, false).await?.append(append).await
    }

    async fn read(
        &self,
        session: &SessionId,
        after: Offset,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, LogError> {
        let found = self.ready(session, false).await?;
        found.read_task(after, limit).await?.await.map_err(io::Error::other)?
    }

    async fn follow(&self, session: &SessionId, after: Offset) -> Result<Follow, LogError> {
        Ok(Follow::new(Source::File(self.ready(session, false).await?), after))
    }

    async fn head(&self, session: &SessionId) -> Result<Head, LogError> {
        let found = self.ready(session, false).await?;
        found.loaded_head().unwrap_or(Err(LogError::NoSession))
    }

    async fn sessions(&self) -> Result<Vec<SessionId>, LogError> {
        self.listed().await
    }

    fn publish_partial(&self, session: &SessionId, partial: Partial) {
        let found = self.resident().get(session).cloned();
        if let Some(found) = found {
            found.touch(self.clock.fetch_add(1, Ordering::Relaxed));
            found.publish(partial);
        }
    }

    async fn erase(&self, session: &SessionId) -> Result<(), LogError> {
        let at = jiff::Timestamp::now().to_string();
        self.blocking(&self.enter(session), move |found| found.erase(at)).await
    }

    async fn sweep(&self, now: SystemTime, retention: Duration) -> Result<Swept, LogError> {
        let mut swept = Swept::default();
        let Some(limit) = now.checked_sub(retention) else { return Ok(swept) };
        for id in self.listed().await? {
            match self.blocking(&self.enter(&id), move |found| found.remove_if_older(limit)).await {
                Ok(true) => {
                    self.resident().remove(&id);
                    swept.removed += 1;
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(session = %id, %error, "retention skipped a log");
                    swept.skipped += 1;
                }
            }
        }
        Ok(swept)
    }
}
