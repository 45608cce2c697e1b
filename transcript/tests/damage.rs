//! What the file backing does on a full disk and with files that someone else has harmed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::*;
use roomscribe_transcript::{Log, LogError, Offset, SessionId};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

fn file_of(folder: &Path, id: &SessionId) -> PathBuf {
    folder.join("sessions").join(id.as_str()).join("log.rsl")
}

/// Records enough that the first are not in memory any more.
const LONG: u64 = 100;

async fn with_two_logs(folder: &Path) -> Log {
    let log = Log::file(folder).unwrap();
    for n in 1..=2 {
        log.open(&session(n)).await.unwrap();
        append_finals(&log, &session(n), 0, LONG).await;
    }
    log
}

#[tokio::test]
async fn a_record_damaged_under_an_open_log_is_named_to_readers_and_followers_and_nothing_is_made_up() {
    let folder = fast_folder();
    let log = with_two_logs(folder.path()).await;
    let path = file_of(folder.path(), &session(1));
    let mut bytes = fs::read(&path).unwrap();
    bytes[400] ^= 0x20;
    fs::write(&path, &bytes).unwrap();
    let mut follow = log.follow(&session(1), Offset(0)).await.unwrap();
    let followed = loop {
        match soon(follow.next()).await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let read = log.read(&session(1), Offset(0), 9).await.unwrap_err();
    for error in [followed, read] {
        assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    assert!(soon(follow.next()).await.is_none());
    assert_eq!(fs::read(&path).unwrap(), bytes, "the file is left as it was");
    assert_eq!(read_all(&log, &session(2)).await.unwrap().len() as u64, LONG, "other sessions are served");
}

#[tokio::test]
async fn a_file_cut_short_under_an_open_log_says_so() {
    let folder = fast_folder();
    let log = with_two_logs(folder.path()).await;
    let path = file_of(folder.path(), &session(1));
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(200).unwrap();
    let error = log.read(&session(1), Offset(0), 9).await.unwrap_err();
    assert!(error.to_string().contains("shorter than what was acknowledged"), "{error}");
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_an_error_of_its_session_alone_and_is_kept() {
    let folder = fast_folder();
    drop(with_two_logs(folder.path()).await);
    let path = file_of(folder.path(), &session(1));
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let log = Log::file(folder.path()).unwrap();
    for _ in 0..2 {
        assert!(matches!(log.open(&session(1)).await, Err(LogError::Io(_))));
    }
    assert_eq!(log.sessions().await.unwrap(), [session(1), session(2)]);
    assert_eq!(log.head(&session(2)).await.unwrap().head, Offset(LONG));
    let year = Duration::from_secs(365 * 86_400);
    assert_eq!(log.sweep(SystemTime::now() + year, year / 2).await.unwrap().skipped, 1, "retention goes on");
    fs::remove_dir(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    assert_eq!(log.head(&session(1)).await.unwrap().head, Offset(LONG), "as soon as it can be read again");
}

#[tokio::test]
async fn retention_skips_a_damaged_log_and_erasure_removes_it() {
    let folder = fast_folder();
    drop(with_two_logs(folder.path()).await);
    let path = file_of(folder.path(), &session(1));
    let mut bytes = fs::read(&path).unwrap();
    bytes[400] ^= 0x20;
    fs::write(&path, &bytes).unwrap();
    let log = Log::file(folder.path()).unwrap();
    let year = Duration::from_secs(365 * 86_400);
    let swept = log.sweep(SystemTime::now() + year, year / 2).await.unwrap();
    assert_eq!((swept.removed, swept.skipped), (0, 1), "session 2 has no end, session 1 cannot be judged");
    assert!(matches!(log.open(&session(1)).await, Err(LogError::Corrupt { .. })));
    log.erase(&session(1)).await.unwrap();
    assert!(!path.exists());
    assert!(matches!(log.open(&session(1)).await, Err(LogError::Erased)));
}

/// A record as the contract frames it: length, checksum, JSON.
fn framed(json: &str) -> Vec<u8> {
    let (length, crc) = (json.len() as u32, crc32c::crc32c(json.as_bytes()));
    [&length.to_le_bytes()[..], &crc.to_le_bytes(), json.as_bytes()].concat()
}

#[tokio::test]
async fn a_sound_file_that_is_not_this_log_is_refused_with_the_reason_and_left_alone() {
    let opening = |v: u32, n: u32| {
        let json = format!(r#"{{"v":{v},"epoch":"9f2c01ab","session":"{}"}}"#, session(n));
        [b"RSL1".to_vec(), framed(&json)].concat()
    };
    let end =
        |offset: u64| framed(&format!(r#"{{"type":"end","offset":{offset},"gen":1,"reason":"Stopped"}}"#));
    let unknown = framed(r#"{"type":"hologram","offset":1,"gen":1}"#);
    let cases = [
        (opening(1, 2), "another session"),
        (opening(2, 1), "another version"),
        ([b"RSL1".to_vec(), end(1)].concat(), "not an opening"),
        ([opening(1, 1), end(2)].concat(), "missing or doubled"),
        ([opening(1, 1), end(1), end(1)].concat(), "missing or doubled"),
        ([opening(1, 1), unknown].concat(), "cannot read"),
        (b"WEBVTT, not a log at all".to_vec(), "not a roomscribe log"),
    ];
    for (bytes, reason) in cases {
        let folder = fast_folder();
        let path = file_of(folder.path(), &session(1));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &bytes).unwrap();
        let log = Log::file(folder.path()).unwrap();
        let error = log.open(&session(1)).await.unwrap_err();
        assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{reason}: {error}");
        assert!(log.append(&session(1), by(1, 0, final_of(1))).await.is_err());
        assert_eq!(fs::read(&path).unwrap(), bytes, "{reason}");
    }
    let folder = fast_folder();
    let path = file_of(folder.path(), &session(1));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, [opening(1, 1), end(1)].concat()).unwrap();
    let head = Log::file(folder.path()).unwrap().open(&session(1)).await.unwrap();
    assert_eq!(
        (head.head, head.epoch.as_str(), head.ended),
        (Offset(1), "9f2c01ab", true),
        "made by hand, and good"
    );
}

#[tokio::test]
async fn erasure_takes_the_torn_tail_that_was_kept_beside_the_log_too() {
    let folder = fast_folder();
    drop(with_two_logs(folder.path()).await);
    let path = file_of(folder.path(), &session(1));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    let log = Log::file(folder.path()).unwrap();
    assert_eq!(log.open(&session(1)).await.unwrap().head, Offset(LONG - 1));
    assert!(path.with_file_name("log.torn").exists());
    log.erase(&session(1)).await.unwrap();
    let left: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["erased"]);
}

/// A file system of 256 KiB, where the test may mount one.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "none"])
            .arg(folder.path())
            .stderr(std::process::Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then(|| Self(folder))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg(self.0.path()).status());
    }
}

#[tokio::test]
async fn a_disk_that_is_really_full_keeps_what_it_acknowledged_and_goes_on_when_there_is_room() {
    let Some(disk) = TinyDisk::mount() else {
        eprintln!(
            "skipped: only root may mount a tiny tmpfs; file/tests.rs fails the disk by a seam instead"
        );
        return;
    };
    let log = Log::file(disk.0.path()).unwrap();
    log.open(&session(1)).await.unwrap();
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![1; 100 << 10]).unwrap();
    let mut head = 0;
    let refused = loop {
        match log.append(&session(1), by(1, head, final_of(head + 1))).await {
            Ok(appended) => head = appended.offset.0,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, LogError::Full), "{refused}");
    assert!(matches!(log.open(&session(2)).await, Err(LogError::Full)), "a new session says the same");
    assert_eq!(read_all(&log, &session(1)).await.unwrap().len() as u64, head);
    drop(log);
    let log = Log::file(disk.0.path()).unwrap();
    assert_eq!(log.head(&session(1)).await.unwrap().head, Offset(head));
    fs::remove_file(ballast).unwrap();
    append_finals(&log, &session(1), head, head + 1).await;
    log.open(&session(2)).await.unwrap();
}

#[tokio::test]
async fn a_transcript_on_a_full_disk_can_be_erased_and_leaves_its_tombstone() {
    let Some(disk) = TinyDisk::mount() else {
        eprintln!("skipped: only root may mount a tiny tmpfs");
        return;
    };
    let log = Log::file(disk.0.path()).unwrap();
    log.open(&session(1)).await.unwrap();
    append_finals(&log, &session(1), 0, 20).await;
    // Writes until nothing fits any more.
    let mut ballast = fs::File::create(disk.0.path().join("ballast")).unwrap();
    while std::io::Write::write_all(&mut ballast, &[1; 512]).is_ok() {}
    log.erase(&session(1)).await.unwrap();
    let path = file_of(disk.0.path(), &session(1));
    assert!(!path.exists() && path.with_file_name("erased").metadata().unwrap().len() > 0);
    drop(log);
    let log = Log::file(disk.0.path()).unwrap();
    assert!(matches!(log.open(&session(1)).await, Err(LogError::Erased)));
}
