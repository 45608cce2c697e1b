//! A simulated LiveKit: Twirp API, rooms, egresses that publish real RTMP, signed webhooks, and the faults of a real one.
//!
//! The core decides ([`core`]: no socket, no clock), the rest is HTTP and tasks. `speed` makes its clock run faster: every
//! wait of LiveKit (22 s for a 503, 20 s for an empty room) and the audio itself. Only tokens keep real time.
//!
//! Simulated from Twirp: Egress `StartRoomCompositeEgress`, `StopEgress`, `ListEgress`, `UpdateStream`; RoomService
//! `CreateRoom`, `ListRooms`, `DeleteRoom`, `ListParticipants`, `GetParticipant`; protobuf and JSON. `StartTrackEgress` answers
//! 501, `StartEgress` 404 as on servers before 1.13 (501 with the fault `unified_start`).
//!
//! Control, JSON without a key, for tests:
//!
//! | request | what |
//! |---|---|
//! | `GET /sim/faults`, `PUT /sim/faults` | the switches ([`Faults`]; what a body leaves out is off) |
//! | `POST /sim/faults/observed` | the frequencies that were seen on egress 1.14 |
//! | `POST /sim/keys` `{api_key, api_secret}` | key rotation: the old ones get 401 |
//! | `GET /sim/egresses` | what is so ([`core::Truth`]), whatever ListEgress says |
//! | `GET /sim/calls` | answered calls: `{"StopEgress 200": 1}` |
//! | `POST /sim/egresses/{id}/{drop,wedge,vanish,crash}` | connections break; silent for ever; the worker's machine dies; the handler crashes |
//! | `POST /sim/rooms/{room}/participants` [`Person`] | somebody joins, the room is made |
//! | `PATCH /sim/rooms/{room}/participants/{identity}` `{microphone: open, muted or none}` | mute, unmute, publish, unpublish |
//! | `DELETE /sim/rooms/{room}/participants/{identity}` | somebody leaves |
//!
//! What it does not show: AAC of faac (silence here is 9 bytes a frame, there 15), RTMPS, several egress workers, Track Egress,
//! signalling. A participant who only ever was muted starts no RTMP (on a real one the pipeline may play silence).

mod auth;
mod clock;
mod control;
pub mod core;
mod faults;
mod feed;
mod shell;
mod twirp;
mod webhooks;

pub use auth::Keys;
pub use core::{AtEnd, Microphone, Person, Truth};
pub use faults::{Faults, LostAnswer};

use crate::adts::{self, AdtsError, FRAME_SAMPLES};
use crate::egress::AudioSource;
use crate::meeting::MEETING_AAC;
use clock::Clock;
use core::{Core, Settings};
use shell::Shell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Reports of feeders that wait to be taken.
const REPORTS: usize = 4096;

/// How to start it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the API listens; port 0 is any free one.
    pub listen: SocketAddr,
    /// Key and secret of the project.
    pub keys: Keys,
    /// Where webhooks go (`http://`).
    pub webhook_url: Option<String>,
    /// What every room hears.
    pub audio: AudioSource,
    /// What happens at its end.
    pub at_end: AtEnd,
    /// Times real time.
    pub speed: f64,
    /// Seed of ids and chances.
    pub seed: u64,
    /// Switches.
    pub faults: Faults,
}

impl Config {
    /// On any free port of loopback: the demo's meeting for ever, in real time, without webhooks and faults.
    pub fn repeating(keys: Keys) -> Self {
        Self {
            listen: ([127, 0, 0, 1], 0).into(),
            keys,
            webhook_url: None,
            audio: AudioSource::Adts(MEETING_AAC.to_vec()),
            at_end: AtEnd::Repeat,
            speed: 1.0,
            seed: 1,
            faults: Faults::default(),
        }
    }
}

/// Why it cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The recording cannot be read.
    #[error("the recording is {0}")]
    Audio(#[from] AdtsError),
    /// The speed is not a positive number.
    #[error("the speed must be from 0.1 to 1000")]
    Speed,
    /// The address cannot be listened on.
    #[error("cannot listen: {0}")]
    Listen(#[from] std::io::Error),
}

/// A running LiveKit. It ends with this value.
pub struct Simulator {
    address: SocketAddr,
    shell: Arc<Shell>,
    _tasks: JoinSet<()>,
}

impl Simulator {
    /// Starts it on the current tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        if !(0.1..=1000.0).contains(&config.speed) {
            return Err(StartError::Speed);
        }
        let AudioSource::Adts(bytes) = &config.audio;
        let recording = Arc::new(adts::parse(bytes)?);
        let length = recording.frames.len() as u64 * FRAME_SAMPLES * 1000 / u64::from(recording.rate);
        let settings = Settings {
            seed: config.seed,
            audio_length: Duration::from_millis(length),
            at_end: config.at_end,
        };
        let mut core = Core::new(settings);
        core.faults = config.faults;
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let (reports, happened) = mpsc::channel(REPORTS);
        let studio =
            feed::Studio { recording, at_end: config.at_end, clock: Clock::start(config.speed), reports };
        let (webhooks, queue) = mpsc::channel(webhooks::QUEUE);
        let webhooks = config.webhook_url.is_some().then_some(webhooks);
        let shell = Arc::new(Shell::new(core, config.keys, studio, webhooks));
        let mut tasks = JoinSet::new();
        if let Some(url) = config.webhook_url {
            tasks.spawn(webhooks::run(Arc::clone(&shell), url, queue));
        }
        let (timed, heard) = (Arc::clone(&shell), Arc::clone(&shell));
        tasks.spawn(async move { timed.keep_time().await });
        tasks.spawn(async move { heard.listen(happened).await });
        let app = axum::Router::new()
            .route("/twirp/{service}/{method}", axum::routing::post(twirp::call))
            .merge(control::routes())
            .with_state(Arc::clone(&shell));
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!("the API ended: {error}");
            }
        });
        Ok(Self { address, shell, _tasks: tasks })
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://…`, for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Somebody joins; the room is made when it is not there.
    pub fn join(&self, room: &str, person: &Person) {
        self.shell.act(|core, now| core.join(room, person, now));
    }

    /// Somebody publishes, mutes, unmutes or unpublishes. `false`: nobody of that name is there.
    pub fn set_microphone(&self, room: &str, identity: &str, microphone: Microphone) -> bool {
        self.shell.act(|core, now| core.set_microphone(room, identity, microphone, now))
    }

    /// Somebody leaves. `false`: nobody of that name is there.
    pub fn leave(&self, room: &str, identity: &str) -> bool {
        self.shell.act(|core, now| core.leave(room, identity, now))
    }

    /// People in a room, egresses not counted; 0 also when there is no such room.
    pub fn people(&self, room: &str) -> usize {
        self.shell.act(|core, _| core.people(room))
    }

    /// A backend closes a room (RoomService/DeleteRoom). `false`: there is no such room.
    pub fn close_room(&self, room: &str) -> bool {
        let request = livekit_protocol::DeleteRoomRequest { room: room.to_owned() };
        let reply = self.shell.act(|core, now| core.delete_room(&request, now));
        matches!(reply.kind, core::ReplyKind::Message(_))
    }

    /// Changes the switches.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        self.shell.act(|core, _| change(&mut core.faults));
    }

    /// Anything else of the core: `drop_connections`, `wedge`, `vanish`, `crash`.
    pub fn with_core<A>(&self, act: impl FnOnce(&mut Core, Duration) -> A) -> A {
        self.shell.act(act)
    }

    /// Key rotation.
    pub fn set_keys(&self, keys: Keys) {
        self.shell.set_keys(keys);
    }

    /// What is so.
    pub fn egresses(&self) -> Vec<Truth> {
        self.shell.truths()
    }

    /// Answered calls by method and status.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.shell.calls()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shell.abort();
    }
}
