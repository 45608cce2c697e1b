//! Many sessions at once, beside nothing else: for each number of sessions a new API server, a simulated LiveKit, played
//! kubelets and the operator, all of them gone afterwards. Prints one JSON object; progress goes to stderr.

use anyhow::{Context, bail, ensure};
use clap::Parser;
use roomscribe_cluster::scale::{self, Wanted};
use roomscribe_cluster::{API_KEY, API_SECRET, ApiServer, Operator, OperatorSettings, committed_rules};
use roomscribe_sims::livekit::{Config, Faults, Keys, Person, Simulator};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// A played kubelet's open files for one session.
const FILES_PER_SESSION: usize = 4;
/// Open files of a process for everything else.
const OTHER_FILES: usize = 300;
/// Of a played kubelet's start.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(Debug, Parser)]
struct Args {
    /// Sessions at once; given more than once, one run after the other.
    #[arg(long, required = true)]
    sessions: Vec<usize>,
    /// Seconds for all to become ready, and for all to go.
    #[arg(long, default_value_t = 600)]
    patience: u64,
    /// Seconds of the look at rest.
    #[arg(long, default_value_t = 60)]
    rest: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        // The client's errors are of an API server that is not ready yet.
        .unwrap_or_else(|_| "info,kube_client=off".into());
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
    let args = Args::parse();
    let mut ends = signal(SignalKind::terminate())?;
    // Whatever ends it, `measure` is dropped, and with it all that it started.
    let runs = tokio::select! {
        runs = measure(&args) => runs?,
        _ = ends.recv() => bail!("it was told to end"),
        _ = tokio::signal::ctrl_c() => bail!("it was interrupted"),
    };
    println!("{}", json!({"operator": runs}));
    Ok(())
}

async fn measure(args: &Args) -> anyhow::Result<Value> {
    let mut runs = Map::new();
    for &count in &args.sessions {
        let wanted = Wanted {
            count,
            patience: Duration::from_secs(args.patience),
            look: Duration::from_secs(args.rest),
            deleted: count,
        };
        let run = one(wanted).await.with_context(|| format!("{count} sessions"))?;
        runs.insert(count.to_string(), rounded(run));
    }
    Ok(Value::Object(runs))
}

async fn one(wanted: Wanted) -> anyhow::Result<Value> {
    let count = wanted.count;
    let kubelets = kubelets_for(count, open_files()?)?;
    let api = ApiServer::start().await?;
    api.apply_crd().await?;
    Operator::install(&api).await?;
    let livekit = livekit(count).await?;
    let (everywhere, own) = committed_rules()?;
    let (namespace, user) = Operator::namespace(&api, everywhere, own).await?;
    let mut played = Vec::new();
    for part in 0..kubelets {
        played.push(kubelet(&api.kubeconfig("admin")?, part, kubelets).await?);
    }
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("id"), "0a1b2c3d")?;
    std::fs::write(folder.path().join("key"), [7; 32])?;
    let settings = OperatorSettings::new(&api, &user, &namespace, &livekit.url())?;
    let settings =
        settings.with(&[("WATCH_NAMESPACES", &namespace), ("LIVEKIT_RATE", "500"), ("LIVEKIT_BURST", "500")]);
    let operator = Operator::start(&settings, folder.path()).await?;
    tracing::info!(kubelets, "creating {count} sessions");
    let run = scale::run(&api, &operator, &user, &namespace, wanted).await;
    let run = run.with_context(|| format!("the operator said last: {}", tail(&operator.said())))?;
    let egresses = livekit.egresses();
    let left = egresses.iter().filter(|egress| egress.lives()).count();
    ensure!(left == 0, "{left} egresses go on though all sessions are gone");
    let calls = livekit.calls().into_iter().map(|(call, number)| (call, json!(number as f64 / count as f64)));
    let mut run = serde_json::to_value(run)?;
    run["egressesStarted"] = json!(egresses.len());
    run["livekitCallsPerSession"] = Value::Object(calls.collect());
    run["playedKubelets"] = json!(kubelets);
    Ok(run)
}

/// One frame in two seconds, in real time: the rooms are many and the machine is small.
async fn livekit(rooms: usize) -> anyhow::Result<Simulator> {
    let keys = Keys { api_key: API_KEY.into(), api_secret: API_SECRET.into() };
    let faults = Faults { frame_gap_s: 2.0, ..Faults::default() };
    let config = Config { seed: 61, faults, ..Config::repeating(keys) };
    let livekit = Simulator::start(config).await?;
    for number in 0..rooms {
        livekit.join(&format!("scale-{number}"), &Person::speaking("ada"));
    }
    Ok(livekit)
}

/// Plays its part of the sessions from when this returns; killed with the value, and by the kernel with this process.
async fn kubelet(kubeconfig: &Path, part: usize, parts: usize) -> anyhow::Result<Child> {
    let program = std::env::current_exe()?.with_file_name("fake_kubelet");
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .args(["--shard", &format!("{part}/{parts}"), "--kubeconfig"])
        .arg(kubeconfig)
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("setpriv")?;
    let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
    // It says where it is controlled once it plays.
    let said =
        tokio::time::timeout(PATIENCE, lines.next_line()).await.context("the played kubelet is silent")?;
    said?.context("the played kubelet has ended")?;
    Ok(child)
}

/// How many share the sessions, so that each can open its files.
fn kubelets_for(count: usize, open_files: usize) -> anyhow::Result<usize> {
    ensure!(
        open_files >= count + OTHER_FILES,
        "{count} sessions need {} open files and the limit is {open_files}: raise it with ulimit -n",
        count + OTHER_FILES
    );
    Ok((count * FILES_PER_SESSION).div_ceil(open_files - OTHER_FILES).max(1))
}

fn open_files() -> anyhow::Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).context("open files")?;
    let soft = line.split_whitespace().next().context("open files")?;
    Ok(soft.parse().unwrap_or(usize::MAX))
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// Three digits after the point, everywhere.
fn rounded(value: Value) -> Value {
    match value {
        Value::Object(object) => object.into_iter().map(|(key, value)| (key, rounded(value))).collect(),
        Value::Array(values) => values.into_iter().map(rounded).collect(),
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or(Value::Null, |number| json!((number * 1000.0).round() / 1000.0))
        }
        other => other,
    }
}
