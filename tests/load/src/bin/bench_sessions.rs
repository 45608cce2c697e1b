//! Many sessions in one `roomscribe serve`, each with its own publisher: CPU and memory per session. Prints one JSON
//! object.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use roomscribe_load::http;
use roomscribe_load::process::{Running, command, free_port, until_listening};
use roomscribe_load::publisher::{encode, publish};
use roomscribe_load::receivers::{Programs, script, speech};
use roomscribe_load::stats::round;
use roomscribe_load::usage::{Meter, memory};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

const SETTLE: Duration = Duration::from_secs(8);
const SAMPLE: Duration = Duration::from_millis(500);

/// What to measure.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Audio to publish.
    #[arg(long)]
    audio: PathBuf,
    /// Sessions at a time.
    #[arg(long, default_value_t = 20)]
    sessions: usize,
    /// Seconds of the window.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let file = encode(&args.audio, folder.path(), args.seconds + SETTLE.as_secs() + 20)?;
    let script = script(folder.path(), args.seconds + 60)?;
    let (_speech, speech_port) = speech(&args.programs, &script, args.sessions)?;
    let (mut serve, http_port) = serve(&args, folder.path(), speech_port)?;
    let empty = memory(serve.pid())?;
    eprintln!("sessions: {} in one process, {} s", args.sessions, args.seconds + SETTLE.as_secs());
    let mut ids = Vec::new();
    let mut publishers = Vec::new();
    for nth in 0..args.sessions {
        let body = json!({"roomName": format!("room-{nth}"), "capture": {"mode": "Push"}});
        let session = http::post(http_port, "/v1/sessions", &body)?;
        let url = session["ingest"]["url"].as_str().context("no ingest.url")?.to_owned();
        ids.push(session["id"].as_str().context("no id")?.to_owned());
        publishers.push(publish(&file, &[url])?);
    }
    std::thread::sleep(SETTLE);
    let mut meter = Meter::new(serve.pid());
    let (begun, before) = (Instant::now(), meter.sample()?);
    while begun.elapsed() < Duration::from_secs(args.seconds) {
        std::thread::sleep(SAMPLE);
        meter.sample()?;
    }
    let (after, seconds) = (meter.sample()?, begun.elapsed().as_secs_f64());
    let full = memory(serve.pid())?;
    serve.check()?;
    for publisher in &mut publishers {
        publisher.check()?;
    }
    for id in &ids {
        let head = http::get(http_port, &format!("/v1/sessions/{id}"))?["head"].as_u64().unwrap_or(0);
        ensure!(head >= args.seconds / 4, "session {id} has {head} events: it was not transcribed");
    }
    let sessions = args.sessions as f64;
    let out = json!({"sessions": {
        "sessions": args.sessions,
        "windowSeconds": args.seconds,
        "cpuSecondsPerSessionHour": round((after.cpu - before.cpu).as_secs_f64() / seconds * 3600.0 / sessions),
        "wakeUpsPerSessionSecond": round((after.switches - before.switches) as f64 / seconds / sessions),
        "emptyMegabytes": round(empty.resident as f64 / 1e6),
        "residentMegabytes": round(full.resident as f64 / 1e6),
        "peakMegabytes": round(full.peak as f64 / 1e6),
        "megabytesPerSession": round((full.resident.saturating_sub(empty.resident)) as f64 / 1e6 / sessions),
    }});
    println!("{out}");
    Ok(())
}

fn serve(args: &Args, folder: &Path, speech_port: u16) -> Result<(Running, u16)> {
    let (http_port, rtmp_port) = (free_port()?, free_port()?);
    let mut command = command(args.programs.programs.join("roomscribe"), None);
    command.args(["serve", "--http-listen", &format!("127.0.0.1:{http_port}")]);
    command.args(["--rtmp-listen", &format!("127.0.0.1:{rtmp_port}")]);
    command.args(["--gladia-api-url", &format!("http://127.0.0.1:{speech_port}")]);
    command.args(["--max-sessions", &args.sessions.to_string(), "--data-dir"]).arg(folder.join("data"));
    command.env_remove("ROOMSCRIBE_API_KEY").current_dir(folder);
    let mut serve = Running::start("roomscribe serve", command.stdout(Stdio::null()))?;
    until_listening(http_port, &mut serve)?;
    until_listening(rtmp_port, &mut serve)?;
    Ok((serve, http_port))
}
