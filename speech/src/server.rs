//! What all requests share: settings, sessions, recogniser, metrics.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use uuid::Uuid;

use crate::ServeError;
use crate::acoustic::AcousticTrack;
use crate::actor::{self, Control, Inbox};
use crate::config::{Config, Limits, RecogniserKind};
use crate::faults::{Break, Faults};
use crate::metrics::Metrics;
use crate::moonshine::Moonshine;
use crate::pool::{Engine, Heard, Job, Pool};
use crate::request::LiveRequest;
use crate::script::Script;
use crate::scripted::ScriptedTrack;
use crate::session::Session;
use crate::store::{Entry, Store};
use crate::track::Track;

/// Frames between a socket and its session.
const FRAMES: usize = 32;
const CONTROLS: usize = 4;

/// A server's shared state.
pub(crate) struct Server {
    pub(crate) keys: Vec<String>,
    pub(crate) public_url: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) store: Store,
    pub(crate) control: bool,
    audio_dir: Option<PathBuf>,
    faults: Mutex<Faults>,
    recogniser: Recogniser,
    live: AtomicUsize,
    numbers: AtomicU64,
}

enum Recogniser {
    Moonshine(Pool),
    Scripted(Script),
}

impl Server {
    /// Loads the recogniser: blocking.
    pub(crate) fn new(config: Config) -> Result<Arc<Self>, ServeError> {
        let metrics = Arc::new(Metrics::default());
        let recogniser = match &config.recogniser {
            RecogniserKind::Scripted(script) => Recogniser::Scripted(script.clone()),
            RecogniserKind::Tones => {
                let pool = Pool::start(vec![crate::tones::engine()], Arc::clone(&metrics));
                Recogniser::Moonshine(pool.map_err(|e| ServeError::Recogniser(e.to_string()))?)
            }
            RecogniserKind::Moonshine(files) => {
                let load = |_| Moonshine::load(files).map(engine);
                let engines = (0..config.limits.threads.max(1)).map(load).collect::<Result<Vec<_>, _>>();
                let engines = engines.map_err(|e| ServeError::Recogniser(e.to_string()))?;
                let pool = Pool::start(engines, Arc::clone(&metrics));
                Recogniser::Moonshine(pool.map_err(|e| ServeError::Recogniser(e.to_string()))?)
            }
        };
        Ok(Self::with(config, recogniser, metrics))
    }

    fn with(config: Config, recogniser: Recogniser, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            keys: config.keys,
            public_url: config.public_url,
            store: Store::new(config.limits.finished),
            limits: config.limits,
            metrics,
            control: config.control,
            audio_dir: config.audio_dir,
            faults: Mutex::new(config.faults),
            recogniser,
            live: AtomicUsize::new(0),
            numbers: AtomicU64::new(1),
        })
    }

    /// A server whose recogniser is `engines`, for tests of slow ones.
    #[cfg(test)]
    pub(crate) fn with_engines(config: Config, engines: Vec<Engine>) -> std::io::Result<Arc<Self>> {
        let metrics = Arc::new(Metrics::default());
        let pool = Pool::start(engines, Arc::clone(&metrics))?;
        Ok(Self::with(config, Recogniser::Moonshine(pool), metrics))
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no other session or connection of this server has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// What the recogniser cannot do of a valid request.
    pub(crate) fn cannot(&self, request: &LiveRequest) -> Option<String> {
        let english = request.languages.is_empty() || request.languages.iter().any(|l| l == "en");
        let moonshine = matches!(self.recogniser, Recogniser::Moonshine(_));
        (moonshine && !english).then(|| {
            "Field \"language_config.languages\" must hold \"en\" or be empty: the built-in recogniser knows English only".into()
        })
    }

    /// Starts a session; `None` = the limit of concurrent ones is reached.
    pub(crate) fn start(self: &Arc<Self>, request: LiveRequest) -> Option<Arc<Entry>> {
        let room = |live| (live < self.limits.sessions).then_some(live + 1);
        if self.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_err() {
            self.metrics.sessions_refused.inc();
            return None;
        }
        self.metrics.sessions_started.inc();
        self.metrics.sessions_live.inc();
        let (frames, frames_in) = mpsc::channel(FRAMES);
        let (control, control_in) = mpsc::channel(CONTROLS);
        let (id, token) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let audio = self.audio_dir.as_ref().map(|dir| dir.join(format!("{id}.pcm")));
        let request = Arc::new(request);
        let session = self.session(&id, &request);
        let names = (id, token, self.number());
        let entry = Arc::new(Entry::new(names, request, (frames, control), audio));
        for forgotten in self.store.add(&entry) {
            remove_audio(&forgotten);
        }
        let inbox = Inbox { frames: frames_in, control: control_in };
        tokio::spawn(actor::run(Arc::clone(self), Arc::clone(&entry), session, inbox));
        Some(entry)
    }

    fn session(&self, id: &str, request: &Arc<LiveRequest>) -> Session {
        let track = |channel| {
            let (rate, endpointing) = (request.format.sample_rate, request.endpointing);
            match &self.recogniser {
                Recogniser::Scripted(script) => {
                    Track::Scripted(ScriptedTrack::new(script, channel, rate, endpointing))
                }
                Recogniser::Moonshine(_) => {
                    let (max, partials) = (request.max_utterance, request.flags.partials);
                    Track::Acoustic(Box::new(AcousticTrack::new(channel, rate, endpointing, max, partials)))
                }
            }
        };
        let tracks = (0..request.format.channels).map(track).collect();
        Session::new(id.into(), Arc::clone(request), self.faults().clone(), self.limits.clone(), tracks)
    }

    pub(crate) fn recognise(&self, session: u64, job: Job, reply: &mpsc::Sender<Heard>) {
        if let Recogniser::Moonshine(pool) = &self.recogniser {
            pool.submit(session, job, reply);
        }
    }

    /// A session's task has ended.
    pub(crate) fn session_over(&self) {
        self.live.fetch_sub(1, Ordering::AcqRel);
        self.metrics.sessions_live.dec();
    }

    /// Breaks every live connection; a fault.
    pub(crate) async fn break_all(&self, how: Break) {
        for entry in self.store.all() {
            // A session that has ended has no one to tell.
            let _ = entry.control.send(Control::Break(how)).await;
        }
    }

    /// Closes every live session with 1012.
    pub(crate) async fn shut_down(&self) {
        for entry in self.store.all() {
            let _ = entry.control.send(Control::Shutdown).await;
        }
    }
}

fn engine(mut moonshine: Moonshine) -> Engine {
    Box::new(move |audio, rate| moonshine.hear(audio, rate).map_err(|e| e.to_string()))
}

/// Deletes a session's audio.
pub(crate) fn remove_audio(entry: &Entry) {
    if let Some(path) = &entry.audio
        && let Err(e) = std::fs::remove_file(path)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::error!(session = %entry.id, "its audio file cannot be removed: {e}");
    }
}
