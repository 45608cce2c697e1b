//! How fast is the file log? Appends per second with fsync, and replay of 10,000 finals; beside a plain write + fsync
//! loop in the same run, because a disk's own speed is most of the answer. Prints one JSON object.

use anyhow::{Context, Result};
use clap::Parser;
use roomscribe_transcript::{
    Append, Event, Final, FollowItem, Generation, Log, MediaMs, Offset, SegmentId, SessionId,
};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What to measure.
#[derive(Debug, Parser)]
struct Args {
    /// Folder on the disk to measure; a temporary one when absent.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Seconds per rate.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Sessions that append at the same time.
    #[arg(long, default_value_t = 64)]
    sessions: u32,
    /// Finals to replay.
    #[arg(long, default_value_t = 10_000)]
    finals: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let folder = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let span = Duration::from_secs(args.seconds);
    let log = Log::file(folder.path().join("log"))?;
    // The plain loop runs before and after, so that a change of the disk's mood shows.
    let before = plain_loop(folder.path().join("plain"), span)?;
    let one = appends(&log, 1, span).await?;
    let many = appends(&log, args.sessions, span).await?;
    let plain_many = plain_threads(folder.path(), args.sessions, span)?;
    let pipelined = pipelined(&log, span).await?;
    let after = plain_loop(folder.path().join("plain"), span)?;
    let plain = f64::midpoint(before, after);
    fill(&log, &session(9_999), args.finals).await?;
    drop(log);
    let replay = replay(folder.path().join("log"), args.finals).await?;
    let out = json!({"log": {
        "plainFsyncPerSecond": round(plain),
        "plainFsyncSpread": round2((before - after).abs() / plain),
        "appendsPerSecondOneWriter": round(one),
        "oneWriterVsPlainFsync": round2(one / plain),
        "sessions": args.sessions,
        "appendsPerSecondManySessions": round(many),
        "plainFsyncPerSecondManyThreads": round(plain_many),
        "manySessionsVsPlainManyThreads": round2(many / plain_many),
        "appendsPerSecondPipelined": round(pipelined),
        "pipelinedVsPlainFsync": round2(pipelined / plain),
        "replayFinals": args.finals,
        "replayOpenMs": round2(replay.open.as_secs_f64() * 1e3),
        "replayReadMs": round2(replay.read.as_secs_f64() * 1e3),
        "replayMs": round2((replay.open + replay.read).as_secs_f64() * 1e3),
    }});
    println!("{out}");
    Ok(())
}

/// One thread that writes a final's bytes and calls fdatasync: what the disk can do without any of our code.
fn plain_loop(path: PathBuf, span: Duration) -> Result<f64> {
    let mut file = File::create(&path)?;
    let bytes = serde_json::to_vec(&event(1))?;
    let started = Instant::now();
    let mut count = 0_u32;
    while started.elapsed() < span {
        file.write_all(&bytes)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}

/// The same loop on as many threads as there are sessions, each with its own file: what the disk gives to many.
fn plain_threads(folder: &Path, threads: u32, span: Duration) -> Result<f64> {
    let paths = (0..threads).map(|nth| folder.join(format!("plain-{nth}")));
    let running: Vec<_> = paths.map(|path| std::thread::spawn(move || plain_loop(path, span))).collect();
    let rates = running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Ok(0.0)));
    rates.sum()
}

/// `writers` sessions, each of which appends its next final when the last one is durable.
async fn appends(log: &Log, writers: u32, span: Duration) -> Result<f64> {
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (log, id) = (log.clone(), session(writers * 1_000 + writer));
        log.open(&id).await?;
        tasks.spawn(async move { append_for(&log, &id, span).await });
    }
    let mut total = 0.0;
    while let Some(rate) = tasks.join_next().await {
        total += rate??;
    }
    Ok(total)
}

async fn append_for(log: &Log, id: &SessionId, span: Duration) -> Result<f64> {
    let started = Instant::now();
    let mut head = 0_u32;
    while started.elapsed() < span {
        log.append(id, final_after(u64::from(head))).await?;
        head += 1;
    }
    Ok(f64::from(head) / started.elapsed().as_secs_f64())
}

/// One session whose writer keeps 32 appends on their way: they share their fsyncs.
async fn pipelined(log: &Log, span: Duration) -> Result<f64> {
    let id = session(8_888);
    log.open(&id).await?;
    let started = Instant::now();
    let mut head = 0_u64;
    while started.elapsed() < span {
        let appends = (head..head + 32).map(|head| log.append(&id, final_after(head)));
        futures_util::future::try_join_all(appends).await?;
        head += 32;
    }
    Ok(head as f64 / started.elapsed().as_secs_f64())
}

async fn fill(log: &Log, id: &SessionId, finals: u64) -> Result<()> {
    log.open(id).await?;
    for start in (0..finals).step_by(32) {
        let appends = (start..finals.min(start + 32)).map(|head| log.append(id, final_after(head)));
        futures_util::future::try_join_all(appends).await?;
    }
    Ok(())
}

struct Replay {
    open: Duration,
    read: Duration,
}

/// A new process's first look at a session, then every final to a follower.
async fn replay(folder: PathBuf, finals: u64) -> Result<Replay> {
    let log = Log::file(folder)?;
    let started = Instant::now();
    log.head(&session(9_999)).await?;
    let open = started.elapsed();
    let mut follow = log.follow(&session(9_999), Offset(0)).await?;
    let mut last = Offset(0);
    while last < Offset(finals) {
        match follow.next().await.context("the log ended early")?? {
            FollowItem::Record(record) => last = record.offset,
            FollowItem::Partial(_) => {}
        }
    }
    Ok(Replay { open, read: started.elapsed() - open })
}

fn session(n: u32) -> SessionId {
    let id = SessionId::parse(&format!("019aaaaa-0000-7000-8000-{n:012}"));
    id.unwrap_or_else(|| unreachable!("the pattern is a UUID"))
}

fn final_after(head: u64) -> Append {
    let expected_head = Offset(head);
    Append { generation: Generation(1), expected_head, event: event(head + 1), note: None }
}

/// A final of about 300 bytes, as in the measurements that chose the format.
fn event(n: u64) -> Event {
    Event::Final(Final {
        seg: SegmentId(format!("1-00_{n:08}")),
        start_ms: MediaMs(n * 3_000),
        end_ms: MediaMs(n * 3_000 + 2_400),
        speaker: None,
        language: Some("en".into()),
        text: "and then we agreed that the microphones in the large room would be moved before Tuesday"
            .into(),
        words: Vec::new(),
        confidence: Some(0.93),
        at: "2026-11-23T10:00:04.120Z".into(),
    })
}

fn round(value: f64) -> f64 {
    value.round()
}

fn round2(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
