//! What the file backing promises beyond the contract of every backing: crashes, damage, one owner.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::*;
use roomscribe_transcript::{Log, LogError, Offset, SessionId, file::IDLE_SESSIONS_MAX};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn file_of(folder: &Path, id: &SessionId) -> PathBuf {
    folder.join("sessions").join(id.as_str()).join("log.rsl")
}

/// A log of `count` finals, closed again; its bytes.
async fn written(folder: &Path, count: u64) -> Vec<u8> {
    let log = Log::file(folder).unwrap();
    log.open(&session(1)).await.unwrap();
    append_finals(&log, &session(1), 0, count).await;
    fs::read(file_of(folder, &session(1))).unwrap()
}

/// Ends of the records in a log file, the opening first: read by the contract's text, not by our code.
fn ends(bytes: &[u8]) -> Vec<usize> {
    assert_eq!(&bytes[..4], b"RSL1");
    let mut at = 4;
    let mut ends = Vec::new();
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let crc = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        let json = &bytes[at + 8..at + 8 + length];
        assert_eq!(crc32c::crc32c(json), crc);
        assert!(serde_json::from_slice::<serde_json::Value>(json).unwrap().is_object());
        at += 8 + length;
        ends.push(at);
    }
    ends
}

#[tokio::test]
async fn what_was_spoken_is_its_owner_s_to_read() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 1).await;
    let mode = fs::metadata(file_of(folder.path(), &session(1))).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_bytes_are_those_of_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::file(folder.path()).unwrap();
    let epoch = log.open(&session(1)).await.unwrap().epoch;
    let mut append = by(1, 0, final_of(1));
    append.note = Some(note(640));
    log.append(&session(1), append).await.unwrap();
    let bytes = fs::read(file_of(folder.path(), &session(1))).unwrap();
    let ends = ends(&bytes);
    let opening = format!(r#"{{"v":1,"epoch":"{epoch}","session":"{}"}}"#, session(1));
    assert_eq!(std::str::from_utf8(&bytes[12..ends[0]]).unwrap(), opening);
    let record = std::str::from_utf8(&bytes[ends[0] + 8..ends[1]]).unwrap();
    assert!(
        record.starts_with(r#"{"type":"final","offset":1,"gen":1,"seg":"1-00_00000001","startMs":1000"#),
        "{record}"
    );
    assert!(record.contains(r#""note":{"speechOrdinal":1,"speechSession":"s","ackedByte":640"#), "{record}");
}

#[tokio::test]
async fn a_file_cut_at_any_byte_keeps_every_whole_record_and_goes_on() {
    let source = fast_folder();
    let bytes = written(source.path(), 3).await;
    let ends = ends(&bytes);
    for cut in 0..=bytes.len() {
        let folder = fast_folder();
        let path = file_of(folder.path(), &session(1));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &bytes[..cut]).unwrap();
        let log = Log::file(folder.path()).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1) as u64;
        let head = log.open(&session(1)).await.unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(head.head, Offset(whole), "cut at {cut}");
        append_finals(&log, &session(1), whole, whole + 1).await;
        drop(log);
        let log = Log::file(folder.path()).unwrap();
        let stored = read_all(&log, &session(1)).await.unwrap();
        let expected: Vec<_> = (1..=whole + 1).map(|n| (n, final_of(n))).collect();
        let got: Vec<_> = stored.iter().map(|record| (record.offset.0, record.event.clone())).collect();
        assert_eq!(got, expected, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_damaged_byte_of_an_acknowledged_record_is_an_error_that_names_it() {
    let source = fast_folder();
    let bytes = written(source.path(), 4).await;
    let ends = ends(&bytes);
    for at in 0..ends[3] {
        let folder = fast_folder();
        let path = file_of(folder.path(), &session(1));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        fs::write(&path, &damaged).unwrap();
        let log = Log::file(folder.path()).unwrap();
        let start = if at < ends[0] { 0 } else { *ends.iter().rfind(|end| **end <= at).unwrap() };
        match log.open(&session(1)).await {
            Err(error @ LogError::Corrupt { at: named, .. }) => {
                assert_eq!(named, start as u64, "byte {at}");
                assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
        assert_eq!(fs::read(&path).unwrap(), damaged, "byte {at}: the file is left as it was");
    }
}

#[tokio::test]
async fn a_whole_last_record_that_fails_its_checksum_is_kept_beside_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = written(folder.path(), 3).await;
    let ends = ends(&bytes);
    *bytes.last_mut().unwrap() ^= 1;
    let path = file_of(folder.path(), &session(1));
    fs::write(&path, &bytes).unwrap();
    let log = Log::file(folder.path()).unwrap();
    assert_eq!(log.open(&session(1)).await.unwrap().head, Offset(2));
    assert_eq!(fs::read(path.with_file_name("log.torn")).unwrap(), &bytes[ends[2]..]);
}

#[tokio::test]
async fn zeros_after_a_crash_are_a_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = written(folder.path(), 3).await;
    bytes.extend_from_slice(&[0; 5000]);
    fs::write(file_of(folder.path(), &session(1)), &bytes).unwrap();
    let log = Log::file(folder.path()).unwrap();
    assert_eq!(log.open(&session(1)).await.unwrap().head, Offset(3));
    append_finals(&log, &session(1), 3, 4).await;
}

#[tokio::test]
async fn a_restart_serves_everything_again_and_knows_what_it_has_seen() {
    let folder = tempfile::tempdir().unwrap();
    let first = {
        let log = Log::file(folder.path()).unwrap();
        let head = log.open(&session(1)).await.unwrap();
        append_finals(&log, &session(1), 0, 150).await;
        let mut append = by(3, 150, translation_of(150, "de"));
        append.note = Some(note(99));
        log.append(&session(1), append).await.unwrap();
        head
    };
    let log = Log::file(folder.path()).unwrap();
    let head = log.head(&session(1)).await.unwrap();
    assert_eq!((&head.epoch, head.head, head.generation.0), (&first.epoch, Offset(151), 3));
    assert_eq!(head.note, Some(note(99)));
    assert!(log.append(&session(1), by(3, 0, final_of(77))).await.unwrap().duplicate);
    assert!(matches!(log.append(&session(1), by(2, 151, end())).await, Err(LogError::Fenced { .. })));
    let mut follow = log.follow(&session(1), Offset(0)).await.unwrap();
    assert_eq!(offsets(&mut follow, 151).await, (1..=151).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_second_owner_of_the_folder_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let first = Log::file(folder.path()).unwrap();
    let error = Log::file(folder.path()).unwrap_err();
    assert!(matches!(error, LogError::Locked { .. }));
    assert!(error.to_string().contains("DATA_DIR") && error.to_string().contains("lock"), "{error}");
    drop(first);
    Log::file(folder.path()).unwrap();
}

#[tokio::test]
async fn an_erased_transcript_leaves_no_byte_of_text_behind() {
    let folder = tempfile::tempdir().unwrap();
    let epoch = {
        let log = Log::file(folder.path()).unwrap();
        let epoch = log.open(&session(1)).await.unwrap().epoch;
        append_finals(&log, &session(1), 0, 3).await;
        log.erase(&session(1)).await.unwrap();
        epoch
    };
    let left: Vec<_> = fs::read_dir(folder.path().join("sessions").join(session(1).as_str()))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, ["erased"]);
    let path = file_of(folder.path(), &session(1)).with_file_name("erased");
    let tombstone: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!((&tombstone["v"], &tombstone["epoch"]), (&1.into(), &epoch.into()));
    assert!(tombstone["erasedAt"].as_str().unwrap().ends_with('Z'));
    let log = Log::file(folder.path()).unwrap();
    assert!(matches!(log.open(&session(1)).await, Err(LogError::Erased)));
}

#[tokio::test]
async fn an_erasure_interrupted_after_its_tombstone_is_finished_at_the_next_look() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), 3).await;
    let path = file_of(folder.path(), &session(1));
    fs::write(path.with_file_name("erased"), "{}").unwrap();
    let log = Log::file(folder.path()).unwrap();
    assert_eq!(log.sessions().await.unwrap(), []);
    assert!(matches!(log.head(&session(1)).await, Err(LogError::Erased)));
    assert!(!path.exists());
}

#[tokio::test]
async fn more_sessions_than_stay_in_memory_are_all_served() {
    let folder = fast_folder();
    let log = Log::file(folder.path()).unwrap();
    let count = IDLE_SESSIONS_MAX as u32 + 40;
    for n in 0..count {
        log.open(&session(n)).await.unwrap();
        append_finals(&log, &session(n), 0, 1).await;
    }
    for n in 0..count {
        assert_eq!(log.head(&session(n)).await.unwrap().head, Offset(1));
    }
    for n in 0..count + 9 {
        let found = log.head(&session(10_000 + n)).await;
        assert!(matches!(found, Err(LogError::NoSession)));
    }
}

#[test]
fn a_writer_whose_runtime_is_torn_down_blocks_nobody() {
    let folder = fast_folder();
    let log = Log::file(folder.path()).unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    first.block_on(async { log.open(&session(1)).await.map(drop) }).unwrap();
    first.block_on(async {
        let id = session(1);
        tokio::select! {
            biased;
            _ = log.append(&id, by(1, 0, final_of(1))) => {}
            () = std::future::ready(()) => {}
        }
    });
    drop(first);
    runtime().block_on(async {
        let head = log.open(&session(1)).await.unwrap().head.0;
        let appended = soon(log.append(&session(1), by(1, head, final_of(1)))).await;
        assert!(matches!(appended, Ok(a) if a.offset == Offset(1)), "{appended:?}");
    });
}

/// Appends, restarts (with the file cut inside what was never acknowledged) and follows, in an order that `seed` gives.
async fn any_history(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = fast_folder();
    let mut log = Log::file(folder.path()).unwrap();
    let id = session(1);
    let epoch = log.open(&id).await.unwrap().epoch;
    let (mut head, mut seen) = (0, 0);
    for _ in 0..60 {
        match random.u8(0..4) {
            0 => {
                let more = random.u64(1..70);
                append_finals(&log, &id, head, head + more).await;
                head += more;
            }
            1 if head > 0 => {
                let again = random.u64(1..=head);
                assert_eq!(log.append(&id, by(1, 0, final_of(again))).await.unwrap().offset, Offset(again));
            }
            2 => {
                drop(log);
                tear(&file_of(folder.path(), &id), &mut random);
                log = Log::file(folder.path()).unwrap();
                assert_eq!(log.head(&id).await.unwrap().head, Offset(head), "seed {seed}");
            }
            _ => {
                let until = random.u64(seen..=head);
                let mut follow = log.follow(&id, Offset(seen)).await.unwrap();
                let got = offsets(&mut follow, (until - seen) as usize).await;
                assert_eq!(got, (seen + 1..=until).collect::<Vec<_>>(), "seed {seed}");
                seen = until;
            }
        }
    }
    let all = read_all(&log, &id).await.unwrap();
    assert_eq!(
        all.iter().map(|r| r.offset.0).collect::<Vec<_>>(),
        (1..=head).collect::<Vec<_>>(),
        "seed {seed}"
    );
    assert_eq!(log.head(&id).await.unwrap().epoch, epoch);
}

/// Leaves the beginning of a record that was being written when the process died.
fn tear(path: &Path, random: &mut fastrand::Rng) {
    let mut bytes = fs::read(path).unwrap();
    let ends = ends(&bytes);
    if let [.., from, to] = ends[..] {
        let next = bytes[from..random.usize(from..to)].to_vec();
        bytes.extend(next);
        fs::write(path, bytes).unwrap();
    }
}

#[tokio::test]
async fn any_order_of_appends_restarts_and_follows_gives_exactly_one_to_head() {
    for seed in 0..40 {
        any_history(seed).await;
    }
}

/// Not a test by itself: the process that the next one kills. Says each offset only once it is acknowledged.
#[tokio::test]
#[ignore = "run by a_killed_process_loses_nothing_that_it_acknowledged"]
async fn the_process_to_be_killed() {
    let Some(folder) = std::env::var_os("ROOMSCRIBE_TEST_FOLDER") else { return };
    let log = Log::file(Path::new(&folder)).unwrap();
    let mut head = log.open(&session(1)).await.unwrap().head.0;
    loop {
        let mut tasks = tokio::task::JoinSet::new();
        for n in head..head + 8 {
            let log = log.clone();
            tasks.spawn(async move { log.append(&session(1), by(1, n, final_of(n + 1))).await.unwrap() });
        }
        tasks.join_all().await;
        head += 8;
        println!("acknowledged {head}");
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let folder = fast_folder();
    let mut acknowledged = 0;
    for round in 1..=8 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_to_be_killed", "--ignored", "--nocapture"])
            .env("ROOMSCRIBE_TEST_FOLDER", folder.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        // Read to the kill and not further: a closed pipe would end the child in a gentler way.
        let mut said = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        acknowledged = said.by_ref().take(20 * round).last().unwrap();
        if round == 1 {
            let refused = Log::file(folder.path());
            assert!(matches!(refused, Err(LogError::Locked { .. })), "two processes on one folder");
        }
        child.kill().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(9));
        let log = Log::file(folder.path()).unwrap();
        let stored = read_all(&log, &session(1)).await.unwrap();
        assert!(stored.len() as u64 >= acknowledged, "{} of {acknowledged}", stored.len());
        for (nth, record) in stored.iter().enumerate() {
            assert_eq!((record.offset.0, &record.event), (nth as u64 + 1, &final_of(nth as u64 + 1)));
        }
    }
    assert!(acknowledged > 0);
}
