//! `roomscribe speech`: the speech server alone; and the same server inside `serve` and `demo`.

use crate::cli;
use crate::exit::{self, Failure};
use crate::terminal::print;
use crate::values::{self, address};
use roomscribe_speech::model_files::{self, Progress};
use roomscribe_speech::{Config, Limits, RecogniserKind, Script};
use roomscribe_worker::signals::StopSignals;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// `roomscribe speech`.
pub(crate) async fn run(args: cli::Speech) -> Result<(), Failure> {
    let listen = address("--listen", &args.listen)?;
    let keys = values::list(args.api_key.as_deref());
    let max_sessions = values::count("--max-sessions", args.max_sessions)?;
    if !listen.ip().is_loopback() && keys.is_empty() {
        return Err(Failure::setting(
            "--listen",
            format_args!("{listen} is reachable from outside: set SPEECH_API_KEY, or listen on 127.0.0.1"),
        ));
    }
    let listener = bind("--listen", listen).await?;
    let recogniser = match &args.script {
        Some(path) => RecogniserKind::Scripted(script(path)?),
        None => moonshine().await?,
    };
    let mut signals = StopSignals::listen();
    let shown = listener.local_addr().unwrap_or(listen);
    print(format_args!(
        "speech server at http://{shown} (Gladia v2 live protocol); use it with GLADIA_API_URL=http://{shown}"
    ))?;
    let config = Config { keys, limits: limits(max_sessions), ..Config::new(recogniser) };
    roomscribe_speech::serve(listener, config, async move {
        signals.next().await;
    })
    .await
    .map_err(Failure::unavailable)
}

/// A speech server of this process, on a port of its own.
pub(crate) struct Embedded {
    /// Base URL for `GLADIA_API_URL`.
    pub url: String,
    /// Its key: nobody else on this machine gets in.
    pub key: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Embedded {
    /// Fetches the model when it is not there, loads it, and listens on loopback.
    pub(crate) async fn start(max_sessions: usize) -> Result<Self, Failure> {
        let recogniser = moonshine().await?;
        let listener = bind("speech", SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr().map_err(Failure::unavailable)?;
        let key = crate::install::random_hex(16)?;
        let config =
            Config { keys: vec![key.clone()], limits: limits(max_sessions), ..Config::new(recogniser) };
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            if let Err(error) = roomscribe_speech::serve(listener, config, shutdown).await {
                tracing::error!(%error, "the embedded speech server ended");
            }
        });
        Ok(Self { url: format!("http://{address}"), key, stop, task })
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn moonshine() -> Result<RecogniserKind, Failure> {
    let fetched = tokio::task::spawn_blocking(move || {
        let mut shown = Shown::default();
        let files = model_files::ensure(&model_files::default_cache(), &mut |progress| shown.show(progress));
        shown.done();
        files
    });
    let files = fetched.await.map_err(Failure::unavailable)?.map_err(Failure::unavailable)?;
    Ok(RecogniserKind::Moonshine(files))
}

fn script(path: &Path) -> Result<Script, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::new(exit::SETTINGS, format_args!("--script {}: {error}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}

/// Binds, or says which setting to change.
pub(crate) async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::unavailable(format_args!(
            "{setting}: cannot listen on {address}: {error}; stop what uses it, or choose another address"
        ))
    })
}

/// A roll-over overlaps two speech sessions of one room.
fn limits(max_sessions: usize) -> Limits {
    Limits { sessions: max_sessions.saturating_mul(2), ..Limits::default() }
}

/// Progress on standard error: one line that is rewritten on a terminal, one line per step elsewhere.
#[derive(Default)]
struct Shown {
    last: String,
}

impl Shown {
    fn show(&mut self, progress: Progress) {
        let line = match progress {
            Progress::Downloading { done, total: 0 } => {
                format!("fetching the recogniser (once): {} MB", done / 1_000_000)
            }
            Progress::Downloading { done, total } => {
                format!("fetching the recogniser (once): {} of {} MB", done / 1_000_000, total / 1_000_000)
            }
            Progress::Unpacking => "unpacking the recogniser".to_owned(),
            Progress::Verifying { file } => format!("checking {file}"),
            Progress::Ready => return,
        };
        if line == self.last {
            return;
        }
        let mut err = std::io::stderr().lock();
        let _ = if err.is_terminal() { write!(err, "\r\x1b[2K{line}") } else { writeln!(err, "{line}") };
        let _ = err.flush();
        self.last = line;
    }

    fn done(&mut self) {
        if !self.last.is_empty() && std::io::stderr().is_terminal() {
            eprintln!();
        }
    }
}
