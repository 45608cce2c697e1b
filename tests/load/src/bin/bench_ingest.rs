//! One publisher to three receivers at once: CPU, memory and wake-ups over a window; then each receiver alone, from the
//! publisher's connection to its first PCM. Prints one JSON object.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use roomscribe_load::process::{free_port, until_connected};
use roomscribe_load::publisher::{encode, publish};
use roomscribe_load::receivers::{
    ENDPOINTING_SECONDS, Ffmpeg, NodeMediaServer, Ours, Programs, UTTERANCE_SECONDS, script, speech,
};
use roomscribe_load::relay::Relay;
use roomscribe_load::stats::spread;
use roomscribe_load::usage::{Meter, memory};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Start-up and ffmpeg's 5 s of analysis are over by then.
const SETTLE: Duration = Duration::from_secs(10);
/// Threads that end are seen by then.
const SAMPLE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Audio to publish; it is encoded again and repeated.
    #[arg(long)]
    audio: PathBuf,
    /// Seconds of each window.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Windows, and latencies of each receiver.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// One process in one window.
#[derive(Debug, Default, Clone)]
struct Sample {
    cpu_seconds_per_hour: Vec<f64>,
    wake_ups_per_second: Vec<f64>,
    peak_mb: Vec<f64>,
    steady_mb: Vec<f64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let file = encode(&args.audio, folder.path(), args.seconds + SETTLE.as_secs() + 20)?;
    let script = script(folder.path(), args.seconds + 60)?;
    let mut samples = [Sample::default(), Sample::default(), Sample::default(), Sample::default()];
    for run in 1..=args.runs {
        eprintln!("ingest: window {run} of {}, {} s", args.runs, args.seconds + SETTLE.as_secs());
        window(&args, folder.path(), &file, &script, &mut samples)?;
    }
    let mut latencies = Latencies::default();
    for run in 1..=args.runs {
        eprintln!("ingest: first PCM, {run} of {}", args.runs);
        latencies.ours(&args.programs, &file, &script)?;
        latencies.node_media_server(&args.programs, &file)?;
        latencies.listen(&file)?;
    }
    let [ours, node, pull, listen] = &samples;
    let out = json!({"ingest": {
        "windowSeconds": args.seconds,
        "runs": args.runs,
        "roomscribe": describe(ours),
        "nodeMediaServer": describe(node),
        "ffmpegPull": describe(pull),
        "nodeMediaServerAndFfmpeg": describe(&together(node, pull)),
        "ffmpegListen": describe(listen),
        "firstPcmSeconds": latencies.first_pcm(),
        "firstFinalSeconds": spread(&latencies.first_final),
        "firstFinalAudioSeconds": UTTERANCE_SECONDS + ENDPOINTING_SECONDS,
    }});
    println!("{out}");
    Ok(())
}

fn window(args: &Args, folder: &Path, file: &Path, script: &Path, samples: &mut [Sample; 4]) -> Result<()> {
    let folder = tempfile::tempdir_in(folder)?;
    let (_speech, speech_port) = speech(&args.programs, script, 4)?;
    let mut ours = Ours::start(&args.programs, folder.path(), speech_port)?;
    let mut node = NodeMediaServer::start(&args.programs, folder.path())?;
    let port = free_port()?;
    let mut listen = Ffmpeg::listen(port)?;
    let urls = [Ours::url(ours.port)?, Ffmpeg::url(node.port), Ffmpeg::url(port)];
    let mut publisher = publish(file, &urls)?;
    let mut pull = node.pull()?;
    std::thread::sleep(SETTLE);
    let pids = [ours.worker.pid(), node.process.pid(), pull.process.pid(), listen.process.pid()];
    measure(&pids, Duration::from_secs(args.seconds), samples)?;
    // A window in which something had stopped working would be a cheap one.
    publisher.check()?;
    for process in [&mut ours.worker, &mut node.process, &mut pull.process, &mut listen.process] {
        process.check()?;
    }
    pull.first_pcm.try_recv().context("the pulling ffmpeg made no PCM")?;
    listen.first_pcm.try_recv().context("the listening ffmpeg made no PCM")?;
    let (finals, expected) = (ours.finals(), (args.seconds / 4) as usize);
    ensure!(finals >= expected, "roomscribe-worker made {finals} finals, not {expected}");
    // Before its publisher: it would complain about the end of its input.
    drop(listen);
    Ok(())
}

fn measure(pids: &[u32; 4], span: Duration, samples: &mut [Sample; 4]) -> Result<()> {
    let mut meters = pids.map(Meter::new);
    let mut first = Vec::new();
    let begun = Instant::now();
    for meter in &mut meters {
        first.push(meter.sample()?);
    }
    while begun.elapsed() < span {
        std::thread::sleep(SAMPLE);
        for meter in &mut meters {
            meter.sample()?;
        }
    }
    for (((meter, before), sample), pid) in meters.iter_mut().zip(first).zip(samples).zip(pids) {
        let after = meter.sample()?;
        let seconds = begun.elapsed().as_secs_f64();
        let memory = memory(*pid)?;
        sample.cpu_seconds_per_hour.push((after.cpu - before.cpu).as_secs_f64() / seconds * 3600.0);
        sample.wake_ups_per_second.push((after.switches - before.switches) as f64 / seconds);
        sample.peak_mb.push(memory.peak as f64 / 1e6);
        sample.steady_mb.push(memory.resident as f64 / 1e6);
    }
    Ok(())
}

fn together(one: &Sample, other: &Sample) -> Sample {
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect();
    Sample {
        cpu_seconds_per_hour: sum(&one.cpu_seconds_per_hour, &other.cpu_seconds_per_hour),
        wake_ups_per_second: sum(&one.wake_ups_per_second, &other.wake_ups_per_second),
        peak_mb: sum(&one.peak_mb, &other.peak_mb),
        steady_mb: sum(&one.steady_mb, &other.steady_mb),
    }
}

fn describe(sample: &Sample) -> Value {
    json!({
        "cpuSecondsPerHour": spread(&sample.cpu_seconds_per_hour),
        "wakeUpsPerSecond": spread(&sample.wake_ups_per_second),
        "peakMegabytes": spread(&sample.peak_mb),
        "steadyMegabytes": spread(&sample.steady_mb),
    })
}

#[derive(Debug, Default)]
struct Latencies {
    ours: Vec<f64>,
    node: Vec<f64>,
    listen: Vec<f64>,
    first_final: Vec<f64>,
}

impl Latencies {
    /// From the publisher's TCP connection to the first binary frame at the speech server, and to the first final in
    /// the log.
    fn ours(&mut self, programs: &Programs, file: &Path, script: &Path) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (_speech, speech_port) = speech(programs, script, 4)?;
        let audio = Relay::to(speech_port)?;
        let ours = Ours::start(programs, folder.path(), audio.port)?;
        let _publisher = publish(file, &[Ours::url(ours.port)?])?;
        let connected = until_connected(ours.port)?;
        let first = audio.first_binary.recv_timeout(PATIENCE).context("no audio at the speech server")?;
        self.ours.push((first - connected).as_secs_f64());
        while ours.finals() == 0 {
            ensure!(connected.elapsed() < PATIENCE, "no final");
            std::thread::sleep(Duration::from_millis(2));
        }
        self.first_final.push(connected.elapsed().as_secs_f64());
        Ok(())
    }

    /// To the first byte of PCM at the ffmpeg that pulls, which starts when the server accepts the publisher.
    fn node_media_server(&mut self, programs: &Programs, file: &Path) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let node = NodeMediaServer::start(programs, folder.path())?;
        let _publisher = publish(file, &[Ffmpeg::url(node.port)])?;
        let connected = until_connected(node.port)?;
        let pull = node.pull()?;
        let first = pull.first_pcm.recv_timeout(PATIENCE).context("no PCM from the pulling ffmpeg")?;
        self.node.push((first - connected).as_secs_f64());
        Ok(())
    }

    fn listen(&mut self, file: &Path) -> Result<()> {
        let port = free_port()?;
        let listen = Ffmpeg::listen(port)?;
        let _publisher = publish(file, &[Ffmpeg::url(port)])?;
        let connected = until_connected(port)?;
        let first = listen.first_pcm.recv_timeout(PATIENCE).context("no PCM from ffmpeg")?;
        self.listen.push((first - connected).as_secs_f64());
        // Before its publisher: it would complain about the end of its input.
        drop(listen);
        Ok(())
    }

    fn first_pcm(&self) -> Value {
        let named = [
            ("roomscribe", &self.ours),
            ("nodeMediaServerAndFfmpeg", &self.node),
            ("ffmpegListen", &self.listen),
        ];
        Value::Object(
            named.into_iter().map(|(name, values)| (name.to_owned(), spread(values))).collect::<Map<_, _>>(),
        )
    }
}
