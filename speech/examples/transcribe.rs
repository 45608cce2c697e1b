//! Measures the built-in recogniser through the whole server: word error rate, real-time factor, latency.
//!
//! `cargo run -p roomscribe-speech --example transcribe -- FILE.wav [REFERENCE.txt|-] [SPEED] [ENDPOINTING]`
//! (PCM16 mono; SPEED 0 = as fast as it goes). The first run fetches the recogniser.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a measuring tool: it stops at the first surprise")]

#[path = "../tests/common/wer.rs"]
mod wer;

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use roomscribe_speech::{Config, RecogniserKind, model_files};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let wav = std::fs::read(args.first().expect("a WAV file")).unwrap();
    let reference = args.get(1).filter(|r| *r != "-").map(|r| std::fs::read_to_string(r).unwrap());
    let speed: f64 = args.get(2).map_or(0.0, |s| s.parse().unwrap());
    let endpointing: f64 = args.get(3).map_or(0.3, |s| s.parse().unwrap());
    let rate = u32::from_le_bytes(wav[24..28].try_into().unwrap());
    let at = wav.windows(4).position(|w| w == b"data").unwrap() + 8;
    let audio = &wav[at..];

    let files = model_files::ensure(&model_files::default_cache(), &mut |p| eprintln!("{p:?}")).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let config = Config::new(RecogniserKind::Moonshine(files));
    tokio::spawn(
        async move { roomscribe_speech::serve(listener, config, std::future::pending()).await.unwrap() },
    );

    let body = json!({"sample_rate": rate, "endpointing": endpointing, "maximum_duration_without_endpointing": 15,
        "messages_config": {"receive_partial_transcripts": speed > 0.0}});
    let reply = reqwest::Client::new().post(format!("{base}/v2/live")).json(&body).send().await.unwrap();
    let reply: Value = reply.json().await.unwrap();
    let (socket, _) = tokio_tungstenite::connect_async(reply["url"].as_str().unwrap()).await.unwrap();
    let (mut tx, mut rx) = socket.split();
    let began = Instant::now();
    let sender = async {
        for (n, chunk) in audio.chunks(rate as usize / 5).enumerate() {
            if speed > 0.0 {
                let due = Duration::from_secs_f64((n + 1) as f64 * 0.1 / speed);
                tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
            }
            tx.send(Message::binary(chunk.to_vec())).await.unwrap();
        }
        tx.send(Message::text(r#"{"type":"stop_recording"}"#)).await.unwrap();
    };
    let receiver = async {
        let (mut text, mut late, mut partials, mut finals) = (String::new(), Vec::new(), 0, 0);
        while let Some(Ok(message)) = rx.next().await {
            let Message::Text(message) = message else { continue };
            let m: Value = serde_json::from_str(&message).unwrap();
            if m["type"] == "warning" {
                eprintln!("{m}");
            }
            if m["type"] != "transcript" {
                continue;
            }
            if m["data"]["is_final"] == false {
                partials += 1;
                continue;
            }
            finals += 1;
            let u = &m["data"]["utterance"];
            eprintln!(
                "{:7.2} {:7.2} {}",
                u["start"].as_f64().unwrap(),
                u["end"].as_f64().unwrap(),
                u["text"].as_str().unwrap()
            );
            text.push_str(u["text"].as_str().unwrap());
            if speed > 0.0 {
                late.push(began.elapsed().as_secs_f64() - u["end"].as_f64().unwrap() / speed);
            }
        }
        (text, late, partials, finals)
    };
    let ((), (text, mut late, partials, finals)) = tokio::join!(sender, receiver);
    let seconds = audio.len() as f64 / (2.0 * f64::from(rate));
    late.sort_by(f64::total_cmp);
    let median = late.get(late.len() / 2).copied().unwrap_or_default();
    let metrics = reqwest::get(format!("{base}/metrics")).await.unwrap().text().await.unwrap();
    let metric = |name: &str| {
        metrics
            .lines()
            .find_map(|l| l.strip_prefix(&format!("roomscribe_speech_{name} "))?.parse::<f64>().ok())
            .unwrap_or_default()
    };
    let rtf = metric("recognising_seconds_total") / seconds;
    println!(
        "{} audio {seconds:.1} s, wall {:.1} s, recogniser time / audio {rtf:.3}, finals {finals}, partials {partials}, dropped {}, final after end of speech: median {median:.2} s, worst {:.2} s, WER {}",
        args[0],
        began.elapsed().as_secs_f64(),
        metric("partials_dropped_total"),
        late.last().copied().unwrap_or_default(),
        reference.map_or("-".into(), |r| format!("{:.3}", wer::wer(&r, &text)))
    );
}
