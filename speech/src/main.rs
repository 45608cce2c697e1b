//! `roomscribe-speech`: the speech server of a cluster, with its model beside it.

use clap::Parser;
use roomscribe_speech::{Config, Limits, RecogniserKind, Script, model_files};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const SETTINGS: u8 = 64;
const UNAVAILABLE: u8 = 69;
/// As images are built (`images/pack.sh`), with the commit.
const VERSION: &str = match option_env!("ROOMSCRIBE_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// A speech server that speaks Gladia's v2 live protocol; English, on this machine.
#[derive(Debug, Parser)]
#[command(name = "roomscribe-speech", version = VERSION, about)]
struct Args {
    /// Where to listen; [::] is every address of this machine, IPv4 and IPv6.
    #[arg(long, env = "HTTP_LISTEN", default_value = "[::]:8080", value_name = "ADDRESS")]
    http_listen: SocketAddr,
    /// Keys that clients must send as `x-gladia-key`, separated by commas; needed beyond loopback.
    #[arg(long, env = "SPEECH_API_KEY", hide_env_values = true, value_delimiter = ',', value_name = "KEY")]
    api_key: Vec<String>,
    /// Rooms at a time; the roll-over of one may take two speech sessions for a moment.
    #[arg(long, env = "SPEECH_MAX_SESSIONS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    max_sessions: u16,
    /// The unpacked recogniser: what it must hold has pinned SHA-256 sums.
    #[arg(long, env = "SPEECH_MODEL_DIR", default_value = "/opt/moonshine", value_name = "FOLDER")]
    model_dir: PathBuf,
    /// Recognise from this timeline (JSON) instead of the model: for tests.
    #[arg(long, env = "SPEECH_SCRIPT", value_name = "FILE")]
    script: Option<PathBuf>,
    /// Hear tones instead of speech: for tests that must know what was lost.
    #[arg(long, env = "SPEECH_TONES", hide = true)]
    tones: bool,
    /// Fetch the recogniser with pip into the user's cache, print its folder, and end: for those who build images.
    #[arg(long)]
    fetch: bool,
    /// Log filter.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

type Failure = (u8, String);

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => return fail(SETTINGS, &one_line(&error.to_string())),
        Err(error) => {
            // A closed standard output is the reader's wish.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, error)) => fail(code, &error),
    }
}

fn fail(code: u8, error: &str) -> ExitCode {
    eprintln!("roomscribe-speech: {error}");
    ExitCode::from(code)
}

/// clap's first paragraph.
fn one_line(error: &str) -> String {
    let first = error.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Prints the folder that `--model-dir` may be a copy of.
fn fetch() -> Result<(), Failure> {
    let cache = model_files::default_cache();
    let files = model_files::ensure(&cache, &mut |_| {}).map_err(|error| (UNAVAILABLE, error.to_string()))?;
    let folder = files.library.ancestors().nth(2).unwrap_or(&cache);
    println!("{}", folder.display());
    Ok(())
}

fn run(args: Args) -> Result<(), Failure> {
    if args.fetch {
        return fetch();
    }
    let filter = tracing_subscriber::EnvFilter::try_new(&args.log)
        .map_err(|error| (SETTINGS, format!("RUST_LOG: {error}; give a filter such as info")))?;
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    let keys: Vec<String> = args.api_key.into_iter().filter(|key| !key.trim().is_empty()).collect();
    if keys.is_empty() && !args.http_listen.ip().is_loopback() {
        let mend = "set SPEECH_API_KEY, or listen on 127.0.0.1";
        return Err((
            SETTINGS,
            format!("HTTP_LISTEN: {} is reachable from outside: {mend}", args.http_listen),
        ));
    }
    let recogniser = match args.tones {
        true => RecogniserKind::Tones,
        false => recogniser(args.script.as_deref(), &args.model_dir)?,
    };
    let limits = Limits { sessions: usize::from(args.max_sessions) * 2, ..Limits::default() };
    let config = Config { keys, limits, ..Config::new(recogniser) };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| (UNAVAILABLE, error.to_string()))?;
    runtime.block_on(serve(args.http_listen, config))
}

fn recogniser(script: Option<&Path>, model: &Path) -> Result<RecogniserKind, Failure> {
    let Some(path) = script else {
        let files = model_files::installed(model)
            .map_err(|error| (UNAVAILABLE, format!("SPEECH_MODEL_DIR: {error}")))?;
        return Ok(RecogniserKind::Moonshine(files));
    };
    let wrong =
        |error: &dyn std::fmt::Display| (SETTINGS, format!("SPEECH_SCRIPT: {}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let script: Script = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    Ok(RecogniserKind::Scripted(script))
}

async fn serve(address: SocketAddr, config: Config) -> Result<(), Failure> {
    let listener = bind(address).await.map_err(|error| {
        let mend = "stop what uses it, or choose another address";
        (UNAVAILABLE, format!("HTTP_LISTEN: cannot listen on {address}: {error}; {mend}"))
    })?;
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "listening");
    roomscribe_speech::serve(listener, config, terminated())
        .await
        .map_err(|error| (UNAVAILABLE, error.to_string()))
}

/// A kernel without IPv6 has no `[::]`.
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    const EAFNOSUPPORT: i32 = 97;
    match TcpListener::bind(address).await {
        Err(error)
            if address.ip() == Ipv6Addr::UNSPECIFIED
                && (error.kind() == ErrorKind::AddrNotAvailable
                    || error.raw_os_error() == Some(EAFNOSUPPORT)) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        outcome => outcome,
    }
}

/// Ctrl-C or SIGTERM.
async fn terminated() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
