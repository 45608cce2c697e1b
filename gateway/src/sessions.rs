//! What the gateway asks of whoever runs sessions: Kubernetes in a cluster, tasks in one process.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;

/// A boxed future, so that the directory can be a trait object.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionsError>> + Send + 'a>>;

/// Body of `POST /v1/sessions` (contract §3): `name`, `roomName` and the resource's spec fields; unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateSession {
    /// A DNS label of at most 40 characters; generated from `room_name` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// LiveKit's own word; required.
    pub room_name: String,
    /// Capture mode and fall-back.
    #[serde(default)]
    pub capture: Capture,
    /// Languages, vocabulary, translation, endpointing.
    #[serde(default)]
    pub speech: SpeechSpec,
    /// Deadlines.
    #[serde(default)]
    pub limits: Limits,
    /// How long the session document outlives its end; the transcript stays for `RETENTION_DAYS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<u32>,
    /// Fields that only a cluster knows: whoever runs sessions judges them, or refuses them by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub livekit_ref: Option<Value>,
    /// As `livekit_ref`: where the worker takes RTMP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingest: Option<Value>,
    /// As `livekit_ref`: who spoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speakers: Option<Value>,
    /// As `livekit_ref`: the worker pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Value>,
    /// As `livekit_ref`: `Running`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_state: Option<Value>,
    /// As `livekit_ref`: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Value>,
}

impl CreateSession {
    /// A session of this room with the defaults of the contract.
    pub fn for_room(room_name: impl Into<String>) -> Self {
        Self {
            name: None,
            room_name: room_name.into(),
            capture: Capture::default(),
            speech: SpeechSpec::default(),
            limits: Limits::default(),
            ttl_seconds_after_finished: None,
            livekit_ref: None,
            ingest: None,
            speakers: None,
            worker: None,
            desired_state: None,
            replicas: None,
        }
    }

    /// JSON pointers of the fields that only a cluster knows, as far as they are given.
    pub fn for_clusters_only(&self) -> Vec<&'static str> {
        let speech = &self.speech;
        let fields = [
            ("/livekitRef", self.livekit_ref.is_some()),
            ("/ingest", self.ingest.is_some()),
            ("/speakers", self.speakers.is_some()),
            ("/worker", self.worker.is_some()),
            ("/desiredState", self.desired_state.is_some()),
            ("/replicas", self.replicas.is_some()),
            ("/speech/apiUrl", speech.api_url.is_some()),
            ("/speech/region", speech.region.is_some()),
            ("/speech/secretRef", speech.secret_ref.is_some()),
        ];
        fields.into_iter().filter(|(_, given)| *given).map(|(pointer, _)| pointer).collect()
    }
}

/// An `Idempotency-Key` as processes share it: digests in hex, nothing of what the caller wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Of who asks and the key they chose.
    pub key: String,
    /// Of the request.
    pub body: String,
}

/// One wrong field of a request body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// RFC 6901 JSON pointer.
    pub pointer: String,
    /// What is wrong and how to mend it.
    pub detail: String,
}

/// How audio reaches us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Capture {
    /// Immutable.
    pub mode: CaptureMode,
    /// Seconds until `Auto` tries Track Egress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_after_seconds: Option<u32>,
}

/// Contract §1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum CaptureMode {
    /// Room Composite, then Track Egress.
    #[default]
    Auto,
    /// One mixed stream.
    RoomComposite,
    /// One stream per microphone.
    TrackEgress,
    /// No LiveKit: any publisher gets the RTMP URL.
    Push,
}

/// What the speech service is asked for (contract §1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SpeechSpec {
    /// ISO 639-1; empty = detect.
    pub languages: Vec<String>,
    /// Detect the language of every utterance.
    pub code_switching: bool,
    /// Words the recogniser should know.
    pub vocabulary: Vec<VocabularyEntry>,
    /// Target languages.
    pub translate_to: Vec<String>,
    /// Silence that ends an utterance, 10..=10000.
    pub endpointing_milliseconds: u32,
    /// Show unfinished utterances.
    pub partials: bool,
    /// Only in a cluster: base URL of the speech service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_url: Option<Value>,
    /// Only in a cluster: the speech service's region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Value>,
    /// Only in a cluster: the Secret with the speech service's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<Value>,
}

impl Default for SpeechSpec {
    fn default() -> Self {
        Self {
            languages: Vec::new(),
            code_switching: false,
            vocabulary: Vec::new(),
            translate_to: Vec::new(),
            endpointing_milliseconds: 300,
            partials: true,
            api_url: None,
            region: None,
            secret_ref: None,
        }
    }
}

/// A word and how it is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VocabularyEntry {
    /// As it should be written.
    pub value: String,
    /// As it may sound.
    #[serde(default)]
    pub pronunciations: Vec<String>,
}

/// Deadlines of a session (contract §1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// How long a start may take.
    pub start_deadline_seconds: u32,
    /// The session stops after this.
    pub max_duration_seconds: u32,
    /// The session stops when the room was empty for this long.
    pub room_empty_timeout_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { start_deadline_seconds: 600, max_duration_seconds: 43_200, room_empty_timeout_seconds: 300 }
    }
}

/// The session document of contract §3, without what the gateway adds itself (`epoch`, `head`, `links`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionDocument {
    /// UUID, the log's key.
    pub id: String,
    /// DNS label.
    pub name: String,
    /// Kubernetes namespace, or `local`.
    pub namespace: String,
    /// LiveKit's own word.
    pub room_name: String,
    /// One word for people: Pending WaitingForRoom Starting WaitingForAudio Live Recovering Stopping Succeeded Failed.
    pub state: String,
    /// CamelCase cause of `state`.
    pub reason: String,
    /// Says who must act.
    pub message: String,
    /// As asked, or as it became.
    pub capture_mode: CaptureMode,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339, first audio.
    pub started_at: Option<String>,
    /// RFC 3339.
    pub completed_at: Option<String>,
    /// Seconds and milliseconds used (contract §1 `status.usage`).
    pub usage: Value,
    /// Only for Push; the gateway shows it only with scope `control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest: Option<IngestAddress>,
}

/// Where a publisher sends its RTMP.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngestAddress {
    /// The whole URL: server and key.
    pub url: String,
    /// For publishers that ask for two parts (OBS).
    pub server: String,
    /// A secret.
    pub stream_key: String,
}

impl std::fmt::Debug for IngestAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IngestAddress").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What `create` did.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// The session.
    pub session: SessionDocument,
    /// False: it was running already (200 instead of 201).
    pub fresh: bool,
}

/// Why a request about sessions was refused.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// A field of the request is wrong: 422.
    #[error("{detail}")]
    Invalid {
        /// JSON pointer.
        pointer: String,
        /// What is wrong and how to mend it.
        detail: String,
    },
    /// Fields of the request are wrong: 422.
    #[error("{}", .0.iter().map(|wrong| wrong.detail.as_str()).collect::<Vec<_>>().join("; "))]
    Fields(Vec<FieldError>),
    /// 409: the `Idempotency-Key` was used for another request.
    #[error("this Idempotency-Key was used with another body")]
    KeyReused,
    /// 404.
    #[error("no such session")]
    NotFound,
    /// 409: a name that means several sessions, or a name in use.
    #[error("{0}")]
    Conflict(String),
    /// 501: this installation cannot do that (e.g. Auto capture without LiveKit settings).
    #[error("{0}")]
    Unsupported(String),
    /// 429: more sessions than the installation allows.
    #[error("{0}")]
    TooMany(String),
    /// 503: try again.
    #[error("{0}")]
    Unavailable(String),
}

/// Whoever runs sessions. `key` is an id or a name that is unique.
pub trait Sessions: Send + Sync + 'static {
    /// Starts a session, or returns the running one of that room.
    fn create(&self, request: CreateSession) -> Answer<'_, Created>;
    /// The same for a request with an `Idempotency-Key`. This process remembers keys itself: a directory that other
    /// processes share remembers them for all.
    fn create_once(&self, request: CreateSession, once: Once) -> Answer<'_, Created> {
        let _ = once;
        self.create(request)
    }
    /// One session.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument>;
    /// All sessions, newest first.
    fn list(&self) -> Answer<'_, Vec<SessionDocument>>;
    /// Can requests be answered? `Ok` with lines about what cannot be done now although everything else can.
    fn ready(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async { self.list().await.map(|_| Vec::new()) })
    }
    /// Asks a session to stop; returns at once with the document as it is now.
    fn stop<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument>;
    /// Erases transcript, spool and the speech provider's copy; a tombstone stays.
    fn erase<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;
    /// A new stream key (Push): the old one stops working.
    fn rotate_ingest_key<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument>;
}
