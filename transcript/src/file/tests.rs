//! A disk that fails on demand.

use super::disk::{Disk, OsDisk};
use super::*;
use crate::model::{Event, Generation, Status};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// Writes half of each batch and fails while `broken`; cannot even truncate while `stuck`.
#[derive(Debug, Default)]
struct Flaky {
    broken: Mutex<Option<ErrorKind>>,
    stuck: AtomicBool,
    /// Dies after the next batch is on the disk and before anyone is told.
    dies: AtomicBool,
    writes: AtomicUsize,
}

impl Flaky {
    fn breaks(&self, kind: Option<ErrorKind>) {
        *self.broken.lock().unwrap() = kind;
    }
}

impl Disk for Flaky {
    fn write_synced(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let broken = *self.broken.lock().unwrap();
        match broken {
            Some(kind) => {
                OsDisk.write_synced(path, at, &bytes[..bytes.len() / 2])?;
                Err(io::Error::from(kind))
            }
            None => {
                OsDisk.write_synced(path, at, bytes)?;
                assert!(!self.dies.swap(false, Ordering::Relaxed), "on purpose");
                Ok(())
            }
        }
    }

    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        if self.stuck.load(Ordering::Relaxed) {
            return Err(io::Error::from(ErrorKind::Other));
        }
        OsDisk.truncate(path, length)
    }
}

fn id() -> SessionId {
    SessionId::parse("019aaaaa-0000-7000-8000-000000000001").unwrap()
}

fn status_after(head: u64) -> Append {
    let event = Event::Status(Status { state: "Live".into(), reason: "Test".into(), message: String::new() });
    Append { generation: Generation(1), expected_head: Offset(head), event, note: None }
}

async fn log_with_three(folder: &Path, disk: &Arc<Flaky>) -> FileLog {
    let log = FileLog::with_disk(folder, disk.clone()).unwrap();
    log.open(&id()).await.unwrap();
    for head in 0..3 {
        log.append(&id(), status_after(head)).await.unwrap();
    }
    log
}

fn length(folder: &Path) -> u64 {
    fs::metadata(folder.join("sessions").join(id().as_str()).join("log.rsl")).unwrap().len()
}

#[tokio::test]
async fn a_full_disk_says_so_and_loses_nothing_acknowledged() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), Arc::new(Flaky::default()));
    let log = log_with_three(folder.path(), &disk).await;
    let before = length(folder.path());
    disk.breaks(Some(ErrorKind::StorageFull));
    for _ in 0..2 {
        assert!(matches!(log.append(&id(), status_after(3)).await, Err(LogError::Full)));
        assert_eq!(length(folder.path()), before, "the half-written record is gone");
    }
    assert_eq!(log.read(&id(), Offset(0), 9).await.unwrap().len(), 3);
    disk.breaks(None);
    assert_eq!(log.append(&id(), status_after(3)).await.unwrap().offset, Offset(4), "room again: it goes on");
    let counters = log.counters();
    assert_eq!((counters.appended, counters.fsyncs, counters.failed_writes), (4, 4, 2));
}

#[tokio::test]
async fn after_a_write_whose_leftovers_stay_the_file_is_read_again() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), Arc::new(Flaky::default()));
    let log = log_with_three(folder.path(), &disk).await;
    let mut follow = log.follow(&id(), Offset(3)).await.unwrap();
    disk.breaks(Some(ErrorKind::Other));
    disk.stuck.store(true, Ordering::Relaxed);
    assert!(matches!(log.append(&id(), status_after(3)).await, Err(LogError::Io(_))));
    disk.breaks(None);
    disk.stuck.store(false, Ordering::Relaxed);
    assert_eq!(log.append(&id(), status_after(3)).await.unwrap().offset, Offset(4));
    let next = follow.next().await.unwrap().unwrap();
    assert!(matches!(next, crate::FollowItem::Record(record) if record.offset == Offset(4)));
    drop((log, follow));
    let log = FileLog::open(folder.path()).unwrap();
    assert_eq!(log.read(&id(), Offset(0), 9).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_failed_batch_fails_everyone_in_it_and_the_head_goes_back() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), Arc::new(Flaky::default()));
    let log = Arc::new(log_with_three(folder.path(), &disk).await);
    disk.breaks(Some(ErrorKind::StorageFull));
    let mut tasks = tokio::task::JoinSet::new();
    for head in 3..10 {
        let log = log.clone();
        tasks.spawn(async move { log.append(&id(), status_after(head)).await });
    }
    for outcome in tasks.join_all().await {
        assert!(matches!(outcome, Err(LogError::Full | LogError::Moved { .. })), "{outcome:?}");
    }
    assert_eq!(log.head(&id()).await.unwrap().head, Offset(3));
    disk.breaks(None);
    assert_eq!(log.append(&id(), status_after(3)).await.unwrap().offset, Offset(4));
}

#[tokio::test]
async fn concurrent_appends_share_their_fsyncs() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), Arc::new(Flaky::default()));
    let log = Arc::new(log_with_three(folder.path(), &disk).await);
    let mut tasks = tokio::task::JoinSet::new();
    for head in 3..3 + PENDING_APPENDS_MAX as u64 {
        let log = log.clone();
        tasks.spawn(async move { log.append(&id(), status_after(head)).await.unwrap() });
    }
    tasks.join_all().await;
    let writes = disk.writes.load(Ordering::Relaxed) - 3;
    assert!(writes < PENDING_APPENDS_MAX / 2, "{writes} fsyncs for {PENDING_APPENDS_MAX} appends");
}

#[tokio::test]
async fn after_a_writer_that_died_in_a_batch_the_file_says_what_was_written() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), Arc::new(Flaky::default()));
    let log = log_with_three(folder.path(), &disk).await;
    disk.dies.store(true, Ordering::Relaxed);
    assert!(matches!(log.append(&id(), status_after(3)).await, Err(LogError::Io(_))));
    assert_eq!(log.head(&id()).await.unwrap().head, Offset(4), "it is on the disk, though no one was told");
    assert_eq!(log.append(&id(), status_after(4)).await.unwrap().offset, Offset(5));
}

#[tokio::test]
async fn sessions_that_nobody_uses_leave_memory_and_one_that_is_followed_stays() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let log = FileLog::open(folder.path()).unwrap();
    let nth = |n: usize| SessionId::parse(&format!("019aaaaa-0000-7000-8000-{n:012}")).unwrap();
    log.open(&nth(0)).await.unwrap();
    let _follow = log.follow(&nth(0), Offset(0)).await.unwrap();
    for n in 1..IDLE_SESSIONS_MAX + 40 {
        log.open(&nth(n)).await.unwrap();
    }
    assert_eq!(log.resident().len(), IDLE_SESSIONS_MAX);
    assert!(log.resident().contains_key(&nth(0)));
}
