//! What is known of one session and its surroundings. "Unknown" is a value: it is never read as "no".

use crate::memory::Memory;
use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{TranscriptionSessionSpec, TranscriptionSessionStatus};

/// A fact, or the lack of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Known<T> {
    /// Nobody has looked, or nobody answered.
    #[default]
    Unknown,
    /// Looked, and saw this.
    Known(T),
}

impl<T> Known<T> {
    /// The fact, when there is one.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Unknown => None,
            Self::Known(fact) => Some(fact),
        }
    }
}

/// Everything that a decision rests on.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The resource, as the cache has it.
    pub session: Session,
    /// What other objects allow.
    pub gate: Gate,
    /// Pods and Service of the session.
    pub cluster: Cluster,
    /// LiveKit's side.
    pub livekit: LiveKit,
    /// The worker's own word; `None` while nobody has asked it, or it does not answer.
    pub worker: Option<WorkerReport>,
    /// What this process remembers; safe to lose.
    pub memory: Memory,
}

/// The resource.
#[derive(Debug, Clone)]
pub struct Session {
    /// `metadata.uid`, the session id.
    pub id: String,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// `metadata.creationTimestamp`.
    pub created_at: Timestamp,
    /// `metadata.deletionTimestamp`, or since when its namespace is known to be on its way out: that takes pods first, and the
    /// resource, with the rights to write it, only when they are gone.
    pub deleted_at: Option<Timestamp>,
    /// Our finalizer is there.
    pub has_finalizer: bool,
    /// Somebody has asked to let the resource go whatever LiveKit says.
    pub force_finalize: bool,
    /// What is asked for.
    pub spec: TranscriptionSessionSpec,
    /// What was written last.
    pub status: TranscriptionSessionStatus,
}

/// Secrets of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secrets {
    /// All there. The version changes with their content.
    Ready {
        /// Changes when a key changes.
        version: u64,
    },
    /// This Secret is not there.
    Missing(String),
    /// `secret/key` is not there, or empty.
    KeyMissing(String),
    /// The session refers to Secrets that the operator may not read.
    Disabled,
}

/// What other objects allow.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Secrets.
    pub secrets: Known<Secrets>,
    /// Another session that has the room already: its name.
    pub room_held_by: Option<String>,
    /// Place in the queue for a speech session, from 1; `None`: it may run.
    pub queue_place: Option<u32>,
    /// LiveKit is not in a private network.
    pub livekit_is_public: bool,
}

/// Pods and Service.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// The session's pods.
    pub pods: Known<Vec<Pod>>,
    /// Its Service.
    pub service: Known<Option<Service>>,
    /// What the API server last refused to make (`QuotaExceeded`), and its own words; `None` once it has not.
    pub refused: Option<(Reason, String)>,
}

/// A pod's state, as far as a session is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodState {
    /// On its way; the reason is one of ours (`PodPending`, `Unschedulable`, `ImagePullFailed`, …).
    Pending(Reason, String),
    /// Its container listens on port 1935.
    Listening,
    /// Its container runs but does not listen (yet), or waits for its restart.
    NotListening,
    /// Its container ended with 0.
    Done,
    /// It will not run again (evicted, failed).
    Failed(Reason),
    /// Its node does not answer.
    NodeLost,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerExit {
    /// Exit code.
    pub code: i32,
    /// The kubelet's word.
    pub reason: String,
    /// What it said last of why, in one line, without secrets; empty when it said nothing.
    pub words: String,
    /// When.
    pub at: Timestamp,
}

/// A worker pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// `ts-<name>-<attempt>`.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Attempt that it was made for.
    pub attempt: u32,
    /// `ingest.keyGeneration` that it was made for.
    pub key_generation: u32,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// Its node.
    pub node: String,
    /// How it does.
    pub state: PodState,
    /// Deletion, eviction or a drain is on its way.
    pub leaving: bool,
    /// Its container is killed by then, if it has not ended.
    pub ends_at: Option<Timestamp>,
    /// When its container started last.
    pub container_started_at: Option<Timestamp>,
    /// Restarts of its container.
    pub restarts: u32,
    /// How its container ended last.
    pub last_exit: Option<ContainerExit>,
}

impl Pod {
    /// How often its container has ended: the kubelet counts an end when it starts the next one.
    pub fn ends(&self) -> u32 {
        let waits = self.container_started_at.is_none() && self.last_exit.is_some();
        self.restarts.saturating_add(u32::from(waits))
    }
}

/// The session's Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Where LiveKit's egress finds it.
    pub address: Option<(String, u16)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Attempt of the pod that it selects.
    pub selects: u32,
    /// It is being deleted.
    pub leaving: bool,
}

/// LiveKit's side.
#[derive(Debug, Clone, Default)]
pub struct LiveKit {
    /// The room.
    pub room: Known<RoomView>,
    /// The session's egresses.
    pub egresses: Known<Listing>,
    /// The newest call's error, while it holds.
    pub error: Option<LiveKitError>,
}

/// Why LiveKit cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveKitError {
    /// 401 or 403: the key is wrong.
    CredentialsRefused,
    /// No answer.
    Unreachable,
    /// An answer that says nothing of what was asked.
    Failing {
        /// HTTP status.
        status: u16,
        /// Twirp's code word; empty when it was not Twirp that answered.
        code: String,
        /// LiveKit's words, without secrets.
        message: String,
    },
}

impl LiveKitError {
    /// The condition reason that says it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::CredentialsRefused => Reason::CredentialsRefused,
            Self::Unreachable => Reason::LiveKitUnreachable,
            Self::Failing { .. } => Reason::LiveKitFailing,
        }
    }

    /// The same trouble, though its words may differ (they may count, or name a request).
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Failing { status, code, .. }, Self::Failing { status: other, code: word, .. }) => {
                (status, code) == (other, word)
            }
            _ => self == other,
        }
    }

    /// For people: LiveKit's own words where it gave any, without their mend.
    pub fn words(&self) -> String {
        match self {
            Self::CredentialsRefused => "LiveKit refuses the key".into(),
            Self::Unreachable => "LiveKit does not answer".into(),
            Self::Failing { status, code, message } => {
                let code = if code.is_empty() { String::new() } else { format!(" {code}") };
                format!("LiveKit answered {status}{code}: {message}").trim_end_matches([':', ' ', '.']).into()
            }
        }
    }

    /// A condition's message: what is wrong and who must act.
    pub fn sentence(&self) -> String {
        match self {
            Self::Failing { .. } => format!("{}. {}", self.words(), self.reason().action()),
            _ => self.reason().sentence(),
        }
    }
}

/// What a look at the room showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomView {
    /// When the question was asked.
    pub at: Timestamp,
    /// The room; `None`: there is none.
    pub room: Option<Room>,
}

/// A room that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Participants that are people: no egress, no hidden observer.
    pub participants: u32,
    /// Unmuted microphone tracks.
    pub open_microphones: u32,
}

/// What a listing showed: every egress of the last 24 h whose URL names this installation and session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// When the question was asked.
    pub at: Timestamp,
    /// The egresses.
    pub egresses: Vec<Egress>,
}

impl Listing {
    /// Those that may still send.
    pub fn live(&self) -> impl Iterator<Item = &Egress> {
        self.egresses.iter().filter(|egress| egress.state.is_live())
    }
}

/// LiveKit's status word: a hint, never a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressState {
    /// Waiting for media, or for its worker.
    Starting,
    /// Playing.
    Active,
    /// Ending.
    Ending,
    /// Ended by itself or on request.
    Complete,
    /// Failed.
    Failed,
    /// Never ran.
    Aborted,
    /// LiveKit's own limit.
    LimitReached,
}

impl EgressState {
    /// May still send, or start to.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Starting | Self::Active | Self::Ending)
    }

    /// As LiveKit writes it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "EGRESS_STARTING",
            Self::Active => "EGRESS_ACTIVE",
            Self::Ending => "EGRESS_ENDING",
            Self::Complete => "EGRESS_COMPLETE",
            Self::Failed => "EGRESS_FAILED",
            Self::Aborted => "EGRESS_ABORTED",
            Self::LimitReached => "EGRESS_LIMIT_REACHED",
        }
    }
}

/// One egress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// `EG_…`.
    pub id: String,
    /// Highest attempt among its URLs.
    pub attempt: u32,
    /// Scheme, host and port of that URL: the address of then, which may not be the one of now.
    pub origin: String,
    /// LiveKit's word.
    pub state: EgressState,
    /// LiveKit's error text, without secrets.
    pub error: String,
    /// It renders the room in Chrome.
    pub uses_chrome: bool,
    /// When LiveKit took the request.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Does the worker hear anybody?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// No publisher.
    Nobody,
    /// A publisher of this attempt, bytes coming.
    Publishing(u32),
    /// A publisher of this attempt, no byte for 5 s.
    Silent(u32),
}

/// The worker's speech session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpeechState {
    /// None is open, because there is no audio.
    Idle,
    /// Being opened.
    Connecting,
    /// Open.
    Live,
    /// Retrying; the worker's reason.
    Retrying(Reason),
    /// Refused for good; the worker's reason.
    Refused(Reason),
}

/// What the worker says (contract §6 `/status`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerReport {
    /// Name of the pod that said it.
    pub pod: String,
    /// Whom it hears.
    pub hearing: Hearing,
    /// Since when it has been so.
    pub since: Timestamp,
    /// Its speech session.
    pub speech: SpeechState,
    /// Why it cannot do its work although it runs (`StorageFull`, `StorageFailed`, `NatsUnreachable`,
    /// `UnsupportedAudio`).
    pub trouble: Option<Reason>,
    /// Media heard, milliseconds.
    pub media_ms: u64,
    /// Audio lost, milliseconds.
    pub audio_lost_ms: u64,
    /// Its newest error, without secrets.
    pub last_error: Option<String>,
}
