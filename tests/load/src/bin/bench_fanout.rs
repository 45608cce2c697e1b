//! One publisher to many WebSocket viewers: our gateway beside node's `ws`, the same generator against both. The server
//! has core 0, the generator core 1. Prints one JSON object.

use anyhow::{Context, Result};
use clap::Parser;
use roomscribe_load::process::{Running, command};
use roomscribe_load::receivers::Programs;
use roomscribe_load::stats::{percentile, spread};
use roomscribe_load::usage::{Meter, memory};
use roomscribe_load::viewers::{Audience, connect, until_below};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Between connecting and reading the memory.
const SETTLE: Duration = Duration::from_millis(1500);
/// The first messages of a run are not measured.
const WARM_UP: usize = 3;
/// Payload bytes of each message, as it arrives.
const PAYLOAD: usize = 300;

/// What to measure.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Viewers.
    #[arg(long, default_value_t = 1000)]
    viewers: u32,
    /// Messages of each closed loop.
    #[arg(long, default_value_t = 300)]
    messages: usize,
    /// Seconds of the open loop, at 20 messages a second.
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Runs of each server.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// One phase of one run.
#[derive(Debug, Default, Clone)]
struct Phase {
    per_core_second: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

/// All runs of one server.
#[derive(Debug, Default)]
struct Server {
    window_2: Phase,
    window_16: Phase,
    open_20: Phase,
    idle_bytes: Vec<f64>,
    connect_microseconds: Vec<f64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut ours, mut ws) = (Server::default(), Server::default());
    let pin = std::thread::available_parallelism().is_ok()
        && std::fs::read_to_string("/proc/stat")?.contains("cpu1");
    let core = pin.then_some(0);
    for run in 1..=args.runs {
        eprintln!("fan-out: run {run} of {}, roomscribe then ws", args.runs);
        let mut server = command(args.programs.programs.join("fanout_server"), core);
        tokio::task::LocalSet::new()
            .block_on(&runtime, one_run(&args, &mut server, &mut ours))
            .context("roomscribe")?;
        let mut server = command("node", core);
        server.current_dir(&args.programs.peers).arg("ws.cjs");
        tokio::task::LocalSet::new()
            .block_on(&runtime, one_run(&args, &mut server, &mut ws))
            .context("ws")?;
    }
    let out = json!({"fanout": {
        "viewers": args.viewers,
        "payloadBytes": PAYLOAD,
        "runs": args.runs,
        "pinned": pin,
        "roomscribe": ours.describe(),
        "ws": ws.describe(),
    }});
    println!("{out}");
    Ok(())
}

async fn one_run(args: &Args, server: &mut Command, results: &mut Server) -> Result<()> {
    let mut server = Running::start("the server", server.stdout(Stdio::piped()))?;
    let hello = server.lines()?.recv_timeout(Duration::from_secs(20)).context("it does not listen")?;
    let hello: Value = serde_json::from_str(&hello)?;
    let port = |name: &str| hello[name].as_u64().and_then(|port| u16::try_from(port).ok()).context("no port");
    let path = hello["path"].as_str().unwrap_or("/");
    let mut meter = Meter::new(server.pid());
    let (before, used) = (memory(server.pid())?, meter.sample()?);
    let audience = Audience::new(args.viewers);
    for _ in 0..args.viewers {
        connect(port("http")?, path, &audience).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let (after, connected) = (memory(server.pid())?, meter.sample()?);
    let each = |total: f64| total / f64::from(args.viewers);
    results.idle_bytes.push(each(after.resident.saturating_sub(before.resident) as f64));
    results.connect_microseconds.push(each((connected.cpu - used.cpu).as_secs_f64() * 1e6));
    let publisher = TcpStream::connect(("127.0.0.1", port("publish")?)).await?;
    publisher.set_nodelay(true)?;
    let mut run = Run { args, publisher, audience, meter, padding: 0 };
    run.warm_up().await?;
    run.closed(2, &mut results.window_2).await?;
    run.closed(16, &mut results.window_16).await?;
    run.open(&mut results.open_20).await?;
    server.check()
}

struct Run<'a> {
    args: &'a Args,
    publisher: TcpStream,
    audience: Rc<RefCell<Audience>>,
    meter: Meter,
    padding: usize,
}

impl Run<'_> {
    async fn publish(&mut self) -> Result<()> {
        let mut line = self.audience.borrow_mut().next_marker();
        line.extend(std::iter::repeat_n('x', self.padding));
        line.push('\n');
        Ok(self.publisher.write_all(line.as_bytes()).await?)
    }

    /// Finds the padding with which a message has its size on the wire, whatever the server puts around it.
    async fn warm_up(&mut self) -> Result<()> {
        for _ in 0..WARM_UP {
            self.publish().await?;
            until_below(&self.audience, 1).await?;
            self.padding += PAYLOAD.saturating_sub(self.audience.borrow().payload());
        }
        Ok(())
    }

    /// The next message leaves when all but `window - 1` have arrived everywhere.
    async fn closed(&mut self, window: usize, phase: &mut Phase) -> Result<()> {
        let before = self.begin()?;
        for _ in 0..self.args.messages {
            until_below(&self.audience, window).await?;
            self.publish().await?;
        }
        until_below(&self.audience, 1).await?;
        self.end(before, phase)
    }

    /// 20 messages a second, whatever has arrived.
    async fn open(&mut self, phase: &mut Phase) -> Result<()> {
        let before = self.begin()?;
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(self.args.seconds) {
            ticks.tick().await;
            self.publish().await?;
        }
        until_below(&self.audience, 1).await?;
        self.end(before, phase)
    }

    fn begin(&mut self) -> Result<Duration> {
        self.audience.borrow_mut().take_latencies();
        Ok(self.meter.sample()?.cpu)
    }

    fn end(&mut self, before: Duration, phase: &mut Phase) -> Result<()> {
        let cpu = self.meter.sample()?.cpu - before;
        let latencies = self.audience.borrow_mut().take_latencies();
        phase.per_core_second.push(latencies.len() as f64 / cpu.as_secs_f64());
        phase.p50_ms.push(percentile(&latencies, 50.0) * 1e3);
        phase.p99_ms.push(percentile(&latencies, 99.0) * 1e3);
        Ok(())
    }
}

impl Server {
    fn describe(&self) -> Value {
        json!({
            "closedLoop2": self.window_2.describe(),
            "closedLoop16": self.window_16.describe(),
            "openLoop20PerSecond": self.open_20.describe(),
            "idleViewerBytes": spread(&self.idle_bytes),
            "connectMicroseconds": spread(&self.connect_microseconds),
        })
    }
}

impl Phase {
    fn describe(&self) -> Value {
        json!({
            "deliveriesPerCoreSecond": spread(&self.per_core_second),
            "p50Ms": spread(&self.p50_ms),
            "p99Ms": spread(&self.p99_ms),
        })
    }
}
