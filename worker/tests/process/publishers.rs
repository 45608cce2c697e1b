//! Odd and hostile publishers against the real process.

use crate::publisher::Publisher;
use crate::stage::{Speech, Stage, Worker};
use crate::tones::{check, encode, numbers};
use roomscribe_sims::rtmp_client::{Client, target};
use serde_json::json;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// KiB. The program alone has about 30 MiB in a debug build.
const BOUNDED: u64 = 160 * 1024;

async fn refused(worker: &Worker, reason: &str) -> u64 {
    worker.metric(&format!("roomscribe_worker_rtmp_refused_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test]
async fn six_hundred_strangers_who_hold_on_keep_no_publisher_out_and_cost_bounded_memory_and_log() {
    let speech = Speech::start(json!({}));
    let stage = Stage::new(&speech.url());
    let mut worker = stage.worker().await;
    let address = ("127.0.0.1", stage.rtmp);
    let mut held = Vec::new();
    for number in 0..600 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // A handshake that never ends; or a line of another protocol.
        socket
            .write_all(if number % 10 > 0 { b"\x03slow" } else { b"GET / HTTP/1.1\r\n\r\n" })
            .await
            .unwrap();
        held.push(socket);
    }
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    worker.until(|| async { refused(&worker, "made_room").await > 0 }).await;
    assert!(worker.metric("roomscribe_worker_rtmp_open_connections").await <= 512);
    worker.until(|| async { worker.metric("roomscribe_worker_rtmp_open_connections").await == 1 }).await;
    assert!(worker.memory("VmHWM:") < BOUNDED, "{} KiB", worker.memory("VmHWM:"));
    let lines = stage.stderr().lines().count();
    assert!(lines < 60, "{lines} lines of log for 600 strangers");
    publisher.reach(4.5).await;
    assert!(publisher.holes().is_empty());
    let heard = publisher.leave().await - 0.1;
    drop(held);
    worker.signal("TERM").await;
    assert_eq!(worker.ended().await.code(), Some(0));
    check(&stage.events(), &[], heard);
}

#[tokio::test]
async fn a_handshake_of_one_byte_a_second_is_closed_by_its_deadline() {
    let stage = Stage::new("http://127.0.0.1:1");
    let worker = stage.worker().await;
    let (mut reader, mut writer) = TcpStream::connect(("127.0.0.1", stage.rtmp)).await.unwrap().into_split();
    let dripping = async {
        while writer.write_all(b"\x03").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let mut answer = Vec::new();
    let closed = async { drop(reader.read_to_end(&mut answer).await) };
    tokio::select! {
        () = dripping => {}
        () = closed => {}
        () = sleep(Duration::from_secs(12)) => panic!("it may drip for ever"),
    }
    worker.until(|| async { worker.metric("roomscribe_worker_rtmp_open_connections").await == 0 }).await;
}

#[tokio::test]
async fn a_reconnect_takes_over_from_a_socket_that_hangs_and_attempts_only_go_up() {
    let speech = Speech::start(json!({}));
    let stage = Stage::new(&speech.url());
    let worker = stage.worker().await;
    let hanging = Client::publish(&target(&stage.url(1)).unwrap()).await.unwrap();
    let publisher = Publisher::start(&stage.url(2), 1.0).await;
    worker.until_status(|status| status["publisher"]["attempt"] == 2).await;
    assert_eq!(worker.metric("roomscribe_worker_takeovers_total").await, 1);
    assert!(Client::publish(&target(&stage.url(1)).unwrap()).await.is_err(), "an older attempt was accepted");
    assert!(
        Client::publish(&target(&format!("{}x", stage.url(2))).unwrap()).await.is_err(),
        "a wrong key was accepted"
    );
    assert_eq!(refused(&worker, "bad_stream_key").await, 2);
    stage.until_events(|events| numbers(events).contains(&1)).await;
    assert_eq!(worker.metric("roomscribe_worker_publishers").await, 1);
    assert!(publisher.holes().is_empty(), "the newer one was disturbed");
    drop(hanging);
}

#[tokio::test]
async fn a_publisher_that_never_sends_audio_is_silent_after_five_seconds_and_closed_after_ten() {
    let stage = Stage::new("http://127.0.0.1:1");
    let worker = stage.worker().await;
    let mut client = Client::publish(&target(&stage.url(1)).unwrap()).await.unwrap();
    worker.until_status(|status| status["state"] == "silent").await;
    let _ =
        timeout(Duration::from_secs(12), client.listen()).await.expect("a silent socket is kept for ever");
    worker.until_status(|status| status["state"] == "listening" && status["publisher"].is_null()).await;
}

async fn ffmpeg(arguments: &[&str], url: &str) -> tokio::process::Child {
    let mut command = tokio::process::Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "quiet"]).args(arguments).args(["-f", "flv", url]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("ffmpeg is missing: install it")
}

#[tokio::test]
async fn video_beside_the_audio_is_thrown_away_without_holding_the_audio_up() {
    let speech = Speech::start(json!({}));
    let stage = Stage::new(&speech.url());
    let worker = stage.worker().await;
    let video = "testsrc2=s=1280x720:r=25,noise=alls=60:allf=t";
    let tone = "sine=f=400:d=1,apad=pad_dur=6";
    // Uncompressible pictures at about 12 Mbit/s: more than 64 KiB per 100 ms.
    let arguments = [
        "-re", "-f", "lavfi", "-i", video, "-f", "lavfi", "-i", tone, "-t", "6", "-c:v", "flv1", "-b:v",
        "12M", "-minrate", "12M", "-maxrate", "14M", "-bufsize", "2M", "-c:a", "aac", "-ar", "48000",
    ];
    let _ffmpeg = ffmpeg(&arguments, &stage.url(1)).await;
    stage.until_events(|events| numbers(events) == [0]).await;
    assert!(worker.metric("roomscribe_worker_rtmp_bytes_total").await > 500_000, "there was no video");
    assert!(worker.memory("VmHWM:") < BOUNDED);
}

#[tokio::test]
async fn aac_that_ffmpeg_only_copies_is_heard_without_a_complaint() {
    let speech = Speech::start(json!({}));
    let stage = Stage::new(&speech.url());
    let worker = stage.worker().await;
    let file = stage.dir.path().join("tones.aac");
    std::fs::write(&file, encode(4.5)).unwrap();
    // An ADTS file has no AudioSpecificConfig: ffmpeg sends an empty AAC header first and the true one with the first frame.
    let _ffmpeg = ffmpeg(&["-re", "-i", file.to_str().unwrap(), "-c", "copy"], &stage.url(1)).await;
    stage.until_events(|events| numbers(events).contains(&1)).await;
    assert!(
        stage.events().iter().all(|event| event["reason"] != "UnsupportedAudio"),
        "{:#?}",
        stage.events()
    );
    assert!(!stage.stderr().contains("AAC header"), "{}", stage.stderr());
    assert_eq!(worker.status().await["lastError"], json!(null));
}

#[tokio::test]
async fn audio_that_is_not_aac_is_named_in_the_log_and_the_session_and_hurts_nobody() {
    let stage = Stage::new("http://127.0.0.1:1");
    let worker = stage.worker().await;
    let arguments = ["-re", "-f", "lavfi", "-i", "sine=f=400:d=20", "-c:a", "libmp3lame", "-ar", "44100"];
    let _ffmpeg = ffmpeg(&arguments, &stage.url(1)).await;
    stage.until_events(|events| events.iter().any(|event| event["reason"] == "UnsupportedAudio")).await;
    worker
        .until_status(|status| status["lastError"].as_str().is_some_and(|error| error.contains("AAC")))
        .await;
    worker.until(|| async { stage.stderr().contains("AAC") }).await;
    assert_eq!(worker.get("/live").await.unwrap().0, 200);
}
