//! What a speech server is told at its start.

use std::path::PathBuf;
use std::time::Duration;

use crate::faults::Faults;
use crate::model_files::MoonshineFiles;
use crate::script::Script;

/// Settings of one server. [`Config::new`] gives those of a machine's own speech service.
#[derive(Debug, Clone)]
pub struct Config {
    /// Accepted values of `x-gladia-key`; empty = any caller, with or without a key.
    pub keys: Vec<String>,
    /// `ws://…` or `wss://…` base of the session addresses handed out; `None` = from the request's `Host`.
    pub public_url: Option<String>,
    /// Bounds.
    pub limits: Limits,
    /// Who listens.
    pub recogniser: RecogniserKind,
    /// Deliberate misbehaviour, for tests.
    pub faults: Faults,
    /// Serves `GET|PUT /control/faults`. For tests only: it has no authentication.
    pub control: bool,
    /// Where received audio is kept until its session is deleted or pushed out; `None` = not kept, `/file` says 404.
    pub audio_dir: Option<PathBuf>,
}

impl Config {
    /// No keys, default limits, no faults, no control endpoint, no audio kept.
    pub fn new(recogniser: RecogniserKind) -> Self {
        Self {
            keys: Vec::new(),
            public_url: None,
            limits: Limits::default(),
            recogniser,
            faults: Faults::default(),
            control: false,
            audio_dir: None,
        }
    }
}

/// Which recogniser turns audio into words.
#[derive(Debug, Clone)]
pub enum RecogniserKind {
    /// On-device English model. Recognition runs on [`Limits::threads`] dedicated threads.
    Moonshine(MoonshineFiles),
    /// A timeline, timed by received audio. For tests, in any language.
    Scripted(Script),
    /// Words that are tones of the audio itself: 400 + 50 n Hz is `tone<n>`. For tests of what carries the audio.
    Tones,
}

/// Bounds of one server. What happens at each is documented in the crate's README and tested.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions that have not ended; one more is refused with 429.
    pub sessions: usize,
    /// Longest session; then it is ended and closed (Gladia: 3 h).
    pub session: Duration,
    /// A connected client that sends nothing for so long is cut (observed at Gladia: about 30 s).
    pub idle: Duration,
    /// A session without a connection is ended after this.
    pub detached: Duration,
    /// Received audio that is not yet recognised; at this bound the socket is no longer read.
    pub backlog: Duration,
    /// Dedicated recognition threads. One by default: the library itself uses all cores, and a second thread only
    /// makes each utterance later (measured on two cores).
    pub threads: usize,
    /// Ended sessions whose result is kept; the oldest goes first.
    pub finished: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 30,
            session: Duration::from_secs(3 * 3600),
            idle: Duration::from_secs(30),
            detached: Duration::from_secs(60),
            backlog: Duration::from_secs(120),
            threads: 1,
            finished: 200,
        }
    }
}
