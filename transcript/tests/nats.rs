//! What a log in NATS promises beyond the contract of every log: several processes, and a NATS that refuses.
#![cfg(feature = "nats")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
mod proxy;
mod server;

use common::*;
use proxy::Proxy;
use roomscribe_transcript::nats::{NatsLog, NatsSettings};
use roomscribe_transcript::{
    Append, Event, Follow, FollowItem, Log, LogError, MediaMs, Offset, Partial, SpeechSessionNote, Word,
    WriterNote,
};
use server::{NatsServer, delete_stream, edit_stream, free_port, log, request, settings};
use std::sync::Arc;
use std::time::Duration;

async fn ended_with(follow: &mut Follow) -> LogError {
    loop {
        match soon(follow.next()).await.expect("it ended in peace") {
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

async fn refused(settings: NatsSettings) -> String {
    match tokio::time::timeout(Duration::from_secs(40), NatsLog::connect(settings)).await.unwrap() {
        Err(error @ LogError::Nats { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_follower_in_another_process_gets_history_then_live_and_the_readings_of_open_words() {
    let server = NatsServer::start("");
    let (worker, gateway, id) = (log(&server).await, log(&server).await, session(1));
    worker.open(&id).await.unwrap();
    append_finals(&worker, &id, 0, 40).await;
    let mut follow = gateway.follow(&id, Offset(10)).await.unwrap();
    assert_eq!(offsets(&mut follow, 30).await, (11..=40).collect::<Vec<_>>());
    append_finals(&worker, &id, 40, 60).await;
    assert_eq!(offsets(&mut follow, 20).await, (41..=60).collect::<Vec<_>>());
    // The subscription for readings was made with the one for events.
    worker.publish_partial(&id, partial(61, 3, 60));
    let shown: Arc<Partial> = next_partial(&mut follow).await;
    assert_eq!((shown.seg.clone(), shown.rev), (seg(61), 3));
    append_finals(&worker, &id, 60, 61).await;
    worker.append(&id, by(1, 61, end())).await.unwrap();
    assert_eq!(offsets(&mut follow, 2).await, [61, 62]);
    assert!(soon(follow.next()).await.is_none());
}

#[tokio::test]
async fn a_reading_that_overtakes_nothing_is_shown_and_one_that_comes_after_its_final_is_not() {
    let server = NatsServer::start("");
    let (worker, gateway, id) = (log(&server).await, log(&server).await, session(1));
    worker.open(&id).await.unwrap();
    append_finals(&worker, &id, 0, 2).await;
    let mut follow = gateway.follow(&id, Offset(0)).await.unwrap();
    assert_eq!(offsets(&mut follow, 2).await, [1, 2]);
    // A worker's own check would stop it: what comes late comes from the network.
    let late = serde_json::to_string(&partial(2, 9, 1)).unwrap();
    let fresh = serde_json::to_string(&partial(3, 1, 2)).unwrap();
    for reading in [late, fresh] {
        publish(&server, &format!("roomscribe.partial.{id}"), &reading).await;
    }
    assert_eq!(next_partial(&mut follow).await.seg, seg(3));
}

/// Published by hand, and taken by the server before this returns.
async fn publish(server: &NatsServer, subject: &str, payload: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let said =
        format!("CONNECT {{\"verbose\":false}}\r\nPUB {subject} {}\r\n{payload}\r\nPING\r\n", payload.len());
    stream.write_all(said.as_bytes()).await.unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(b"PONG\r\n") {
        let length = soon(stream.read(&mut buffer)).await.unwrap();
        answer.extend_from_slice(&buffer[..length]);
    }
}

#[tokio::test]
async fn two_writers_of_one_session_take_each_place_once_and_the_older_attempt_learns_that_it_is_fenced() {
    let server = NatsServer::start("");
    let (old, new, id) = (log(&server).await, log(&server).await, session(1));
    old.open(&id).await.unwrap();
    append_finals(&old, &id, 0, 3).await;
    let moved = new.append(&id, by(2, 0, final_of(9))).await;
    assert!(matches!(moved, Err(LogError::Moved { head: Offset(3), .. })), "{moved:?}");
    new.append(&id, by(2, 3, final_of(4))).await.unwrap();
    let fenced = old.append(&id, by(1, 3, final_of(4))).await;
    assert!(matches!(fenced, Err(LogError::Fenced { .. })), "{fenced:?}");
    let again = new.append(&id, by(2, 4, final_of(2))).await.unwrap();
    assert_eq!((again.offset, again.duplicate), (Offset(2), true), "a final of the attempt before");
    assert_eq!(read_all(&new, &id).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_lost_acknowledgement_costs_nothing_even_for_events_that_look_alike() {
    let server = NatsServer::start("");
    let proxy = Proxy::start(server.port).await;
    let (worker, id) = (Log::nats(settings(proxy.url())).await.unwrap(), session(1));
    worker.open(&id).await.unwrap();
    append_finals(&worker, &id, 0, 1).await;
    // Stored, and nobody hears of it.
    proxy.deafen(true);
    let worker_too = worker.clone();
    let waiting = tokio::spawn(async move { worker_too.append(&session(1), by(1, 1, status())).await });
    let reader = log(&server).await;
    until_head(&reader, 2).await;
    proxy.cut();
    proxy.deafen(false);
    let appended = match soon(waiting).await.unwrap() {
        Err(LogError::Nats { .. }) => retried(&worker, by(1, 1, status())).await,
        outcome => outcome.unwrap(),
    };
    assert_eq!((appended.offset, appended.duplicate), (Offset(2), false));
    assert_eq!(
        worker.append(&id, by(1, 2, status())).await.unwrap().offset,
        Offset(3),
        "another one is another one"
    );
    assert_eq!(read_all(&reader, &id).await.unwrap().len(), 3);
}

async fn retried(log: &Log, append: roomscribe_transcript::Append) -> roomscribe_transcript::Appended {
    soon(async {
        loop {
            match log.append(&session(1), append.clone()).await {
                Err(LogError::Nats { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                outcome => return outcome.unwrap(),
            }
        }
    })
    .await
}

async fn until_head(log: &Log, head: u64) {
    soon(async {
        while log.head(&session(1)).await.unwrap().head.0 < head {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_append_that_its_caller_dropped_is_neither_lost_to_the_next_nor_written_twice() {
    let server = NatsServer::start("");
    let (worker, id) = (log(&server).await, session(1));
    worker.open(&id).await.unwrap();
    append_finals(&worker, &id, 0, 1).await;
    for n in 1..60 {
        let mut append = Box::pin(worker.append(&id, by(1, n, final_of(n + 1))));
        for _ in 0..n % 7 {
            if futures_util::FutureExt::now_or_never(&mut append).is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(append);
        let appended = worker.append(&id, by(1, n, final_of(n + 1))).await;
        // The dropped one may have been stored in between: then the place is taken, by the same event.
        let offset = match appended {
            Ok(appended) => appended.offset,
            Err(LogError::Moved { head, .. }) => head,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(offset, Offset(n + 1));
    }
    let stored = read_all(&worker, &id).await.unwrap();
    let expected: Vec<Event> = (1..=60).map(final_of).collect();
    assert_eq!(stored.iter().map(|record| record.event.clone()).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn news_that_republish_lost_is_found_at_the_next_look() {
    let server = NatsServer::start("");
    let (worker, gateway, id) = (log(&server).await, log(&server).await, session(1));
    worker.open(&id).await.unwrap();
    append_finals(&worker, &id, 0, 1).await;
    let mut follow = gateway.follow(&id, Offset(0)).await.unwrap();
    assert_eq!(offsets(&mut follow, 1).await, [1]);
    // Republish is off: as if every live message were lost.
    edit_stream(&server, |config| {
        config["republish"] =
            serde_json::json!({"src": "roomscribe.log.*", "dest": "nowhere.{{wildcard(1)}}"})
    })
    .await;
    append_finals(&worker, &id, 1, 5).await;
    assert_eq!(offsets(&mut follow, 4).await, [2, 3, 4, 5]);
}

#[tokio::test]
async fn a_stream_that_was_deleted_tells_followers_and_the_next_log_has_another_epoch() {
    let server = NatsServer::start("");
    let (worker, gateway, id) = (log(&server).await, log(&server).await, session(1));
    let lost = worker.open(&id).await.unwrap().epoch;
    append_finals(&worker, &id, 0, 3).await;
    let mut follow = gateway.follow(&id, Offset(3)).await.unwrap();
    delete_stream(&server).await;
    assert!(matches!(worker.append(&id, by(1, 3, final_of(4))).await, Err(LogError::NoSession)));
    let begun = worker.open(&id).await.unwrap();
    assert_ne!(begun.epoch, lost);
    assert_eq!(worker.append(&id, by(1, 0, final_of(4))).await.unwrap().offset, Offset(1));
    let told = ended_with(&mut follow).await;
    assert!(matches!(told, LogError::Replaced), "{told}");
    let mut again = gateway.follow(&id, Offset(0)).await.unwrap();
    assert_eq!(next_record(&mut again).await.event, final_of(4));
    assert_eq!(gateway.head(&id).await.unwrap().epoch, begun.epoch);
}

#[tokio::test]
async fn an_erasure_reaches_followers_and_writers_of_other_processes_and_survives_a_restart() {
    let mut server = NatsServer::start("");
    let (worker, gateway, id) = (log(&server).await, log(&server).await, session(1));
    worker.open(&id).await.unwrap();
    append_finals(&worker, &id, 0, 3).await;
    let mut follow = gateway.follow(&id, Offset(3)).await.unwrap();
    log(&server).await.erase(&id).await.unwrap();
    assert!(matches!(ended_with(&mut follow).await, LogError::Erased));
    assert!(matches!(worker.append(&id, by(1, 3, final_of(4))).await, Err(LogError::Erased)));
    server.kill();
    server.run();
    let later = log(&server).await;
    assert!(matches!(later.open(&id).await, Err(LogError::Erased)));
    assert_eq!(later.sessions().await.unwrap(), []);
    let left = request(&server, "$JS.API.STREAM.INFO.ROOMSCRIBE", "").await;
    assert!(left.contains("\"messages\":1,"), "only the tombstone is left: {left}");
}

#[tokio::test]
async fn a_full_stream_refuses_the_new_keeps_the_old_can_still_erase_and_goes_on_when_there_is_room() {
    let server = NatsServer::start("");
    let (worker, id) = (log(&server).await, session(1));
    worker.open(&id).await.unwrap();
    worker.open(&session(2)).await.unwrap();
    append_finals(&worker, &id, 0, 20).await;
    edit_stream(&server, |config| config["max_bytes"] = 10_000.into()).await;
    let mut head = 20;
    let refused = loop {
        match worker.append(&id, by(1, head, final_of(head + 1))).await {
            Ok(appended) => head = appended.head.0,
            Err(error) => break error,
        }
        assert!(head < 1000, "never full");
    };
    assert!(matches!(refused, LogError::Full), "{refused}");
    assert_eq!(read_all(&worker, &id).await.unwrap().len() as u64, head, "nothing acknowledged goes");
    assert!(matches!(worker.append(&id, by(1, head, final_of(head + 1))).await, Err(LogError::Full)));
    edit_stream(&server, |config| config["max_bytes"] = 20_000.into()).await;
    append_finals(&worker, &id, head, head + 1).await;
    edit_stream(&server, |config| config["max_bytes"] = 1_000.into()).await;
    worker.erase(&id).await.unwrap();
    assert!(matches!(worker.head(&id).await, Err(LogError::Erased)));
}

#[tokio::test]
async fn a_server_whose_storage_limit_is_reached_says_full() {
    let limits = "jetstream { store_dir: \"STORE\", max_mem: 1MB, max_file: 200KB }";
    let server = NatsServer::bare(free_port(), limits);
    let (worker, id) = (log(&server).await, session(1));
    worker.open(&id).await.unwrap();
    let mut head = 0;
    let refused = loop {
        let Event::Final(mut event) = final_of(head + 1) else { panic!("a final") };
        event.text = "word ".repeat(1000);
        match worker.append(&id, by(1, head, Event::Final(event))).await {
            Ok(appended) => head = appended.head.0,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, LogError::Full), "{refused}");
    assert!(head > 10, "{head}");
    assert_eq!(read_all(&worker, &id).await.unwrap().len() as u64, head);
}

#[tokio::test]
async fn a_nats_that_refuses_is_an_error_that_names_it_and_who_must_act_and_never_the_password() {
    let port = free_port();
    let server = NatsServer::bare(port, "authorization { user: worker, password: secret }");
    let with = |user: &str| settings(format!("nats://{user}@127.0.0.1:{port}"));
    let wrong = refused(with("worker:hush")).await;
    assert!(
        wrong.contains("NATS_URL") && wrong.contains("credentials") && !wrong.contains("hush"),
        "{wrong}"
    );
    let off = refused(with("worker:secret")).await;
    assert!(off.contains("JetStream is off") && off.contains("-js") && !off.contains("secret"), "{off}");
    let mut keyless = settings(server.url());
    keyless.creds = Some("/nowhere/nats.creds".into());
    let keyless = refused(keyless).await;
    assert!(keyless.contains("NATS_CREDS") && keyless.contains("/nowhere/nats.creds"), "{keyless}");
    let unusable = refused(settings("nats://worker:hush@[".into())).await;
    assert!(unusable.contains("NATS_URL") && !unusable.contains("hush"), "{unusable}");
}

#[tokio::test]
async fn copies_that_one_server_cannot_keep_and_a_stream_that_would_drop_words_are_refused_by_name() {
    let server = NatsServer::start("");
    let said = refused(NatsSettings { replicas: 3, ..settings(server.url()) }).await;
    assert!(said.contains("NATS_REPLICAS"), "{said}");
    drop(log(&server).await);
    edit_stream(&server, |config| config["discard"] = "old".into()).await;
    let said = refused(settings(server.url())).await;
    assert!(said.contains("ROOMSCRIBE") && said.contains("discard new"), "{said}");
}

#[tokio::test]
async fn another_retention_is_taken_only_when_asked_for() {
    let server = NatsServer::start("");
    drop(log(&server).await);
    let week = NatsSettings { retention: Duration::from_secs(7 * 86_400), ..settings(server.url()) };
    let days = async || {
        let info = request(&server, "$JS.API.STREAM.INFO.ROOMSCRIBE", "").await;
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        info["config"]["max_age"].as_u64().unwrap() / 1_000_000_000 / 86_400
    };
    let log = NatsLog::connect(week).await.unwrap();
    assert_eq!(days().await, 30, "a worker of an older installation changes nothing");
    log.update_stream().await.unwrap();
    assert_eq!(days().await, 7);
}

#[tokio::test]
async fn what_retention_took_from_the_front_is_told_by_the_oldest_offset_and_not_hidden() {
    let server = NatsServer::start("");
    let (worker, id) = (log(&server).await, session(1));
    worker.open(&id).await.unwrap();
    append_finals(&worker, &id, 0, 10).await;
    // As `max_age` does: the first messages go.
    request(&server, "$JS.API.STREAM.PURGE.ROOMSCRIBE", "{\"seq\":6}").await;
    let later = log(&server).await;
    let head = later.head(&id).await.unwrap();
    assert_eq!((head.oldest, head.head), (Offset(5), Offset(10)));
    let mut follow = later.follow(&id, Offset(0)).await.unwrap();
    assert_eq!(offsets(&mut follow, 6).await, [5, 6, 7, 8, 9, 10]);
    append_finals(&later, &id, 10, 11).await;
}

#[tokio::test]
async fn a_reader_in_the_middle_of_a_long_session_among_others_reads_little() {
    let server = NatsServer::start("");
    let (worker, id) = (log(&server).await, session(1));
    worker.open(&id).await.unwrap();
    worker.open(&session(2)).await.unwrap();
    for n in 0..1500 {
        append_finals(&worker, &id, n, n + 1).await;
        if n % 3 == 0 {
            worker.append(&session(2), by(1, n / 3, final_of(n / 3 + 1))).await.unwrap();
        }
    }
    let proxy = Proxy::start(server.port).await;
    let later = Log::nats(settings(proxy.url())).await.unwrap();
    let whole = {
        let before = proxy.answered();
        assert_eq!(read_all(&later, &id).await.unwrap().len(), 1500);
        proxy.answered() - before
    };
    let later = Log::nats(settings(proxy.url())).await.unwrap();
    let before = proxy.answered();
    for after in [1490, 900, 901, 902, 1200] {
        let page = later.read(&id, Offset(after), 5).await.unwrap();
        let seen: Vec<_> = page.iter().map(|record| record.offset.0).collect();
        assert_eq!(seen, (after + 1..=after + 5).collect::<Vec<_>>());
    }
    let pages = proxy.answered() - before;
    assert!(
        pages < whole * 3 / 4,
        "{pages} bytes for five pages of five, {whole} for the whole session of 1500"
    );
}

#[tokio::test]
async fn a_follower_that_waits_through_a_restart_of_nats_goes_on_where_it_was() {
    let mut server = NatsServer::start("");
    let (worker, gateway, id) = (log(&server).await, log(&server).await, session(1));
    worker.open(&id).await.unwrap();
    append_finals(&worker, &id, 0, 3).await;
    let mut follow = gateway.follow(&id, Offset(0)).await.unwrap();
    assert_eq!(offsets(&mut follow, 3).await, [1, 2, 3]);
    server.kill();
    let down = worker.append(&id, by(1, 3, final_of(4))).await;
    assert!(matches!(down, Err(LogError::Nats { .. })), "{down:?}");
    server.run();
    assert_eq!(retried(&worker, by(1, 3, final_of(4))).await.offset, Offset(4));
    assert_eq!(offsets(&mut follow, 1).await, [4]);
    assert!(matches!(follow_item(&mut follow), None | Some(Ok(FollowItem::Partial(_)))));
}

fn follow_item(follow: &mut Follow) -> Option<Result<FollowItem, LogError>> {
    futures_util::FutureExt::now_or_never(follow.next()).flatten()
}

/// 150 words a minute in sentences of 10, each word with its times, and the writer's record beside each.
#[tokio::test]
async fn an_hour_of_speech_takes_a_few_megabytes() {
    let server = NatsServer::start("");
    let (worker, id) = (log(&server).await, session(1));
    worker.open(&id).await.unwrap();
    for n in 0..900 {
        let Event::Final(mut event) = final_of(n + 1) else { panic!("a final") };
        event.words = (0..10).map(|word| word_at(n * 4000 + word * 400)).collect();
        event.text = event.words.iter().map(|word| word.w.as_str()).collect::<Vec<_>>().join(" ");
        let speech = SpeechSessionNote {
            ordinal: 1,
            id: id.to_string(),
            map: vec![(0, 0, false), (n * 128_000, n * 64_000, true)],
            from: 0,
            to: None,
        };
        let note = WriterNote {
            media_zero_at: Some("2026-11-23T10:00:04.120Z".into()),
            covered_samples: n * 64_000,
            speech_sessions: vec![speech],
            ..note(n * 128_000)
        };
        let append = Append { note: Some(note), ..by(1, n, Event::Final(event)) };
        worker.append(&id, append).await.unwrap();
    }
    let info = request(&server, "$JS.API.STREAM.INFO.ROOMSCRIBE", "").await;
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    let bytes = info["state"]["bytes"].as_u64().unwrap();
    println!("an hour of speech, 9000 words with times: {bytes} bytes in the stream");
    assert!((500_000..3_000_000).contains(&bytes), "{bytes}");
}

fn word_at(start: u64) -> Word {
    Word { w: "sentence".into(), start_ms: MediaMs(start), end_ms: MediaMs(start + 350), c: 0.98 }
}

/// A really full disk, a small tmpfs: needs root, says so and passes without.
#[tokio::test]
async fn a_server_whose_disk_is_full_loses_nothing_acknowledged_says_so_and_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("not run: mounting a small tmpfs needs root");
        return;
    };
    let place = disk.0.path().display();
    let mut server = NatsServer::bare(
        free_port(),
        &format!("jetstream {{ store_dir: \"{place}/js\", max_mem: 1MB, max_file: 1GB }}"),
    );
    let (worker, id) = (log(&server).await, session(1));
    worker.open(&id).await.unwrap();
    append_finals(&worker, &id, 0, 3).await;
    let mut head = 3;
    let refused = loop {
        let Event::Final(mut event) = final_of(head + 1) else { panic!("a final") };
        event.text = "word ".repeat(20_000);
        match worker.append(&id, by(1, head, Event::Final(event))).await {
            Ok(appended) => head = appended.head.0,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, LogError::Full), "{refused}");
    assert!(head > 10, "{head}");
    assert_eq!(worker.head(&id).await.unwrap().head, Offset(head));
    // nats-server 2.15 does not try its disk again by itself: it wants a restart once there is room.
    disk.grow();
    server.kill();
    server.run();
    assert_eq!(
        retried(&worker, by(1, head, final_of(head + 1))).await.offset,
        Offset(head + 1),
        "{}",
        server.said()
    );
    let stored = read_all(&log(&server).await, &id).await.unwrap();
    assert_eq!(stored.len() as u64, head + 1);
    drop(server);
}

struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(folder.path())
            .output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }
}

impl SmallDisk {
    fn grow(&self) {
        let remount =
            std::process::Command::new("mount").args(["-o", "remount,size=32m"]).arg(self.0.path()).status();
        assert!(remount.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
