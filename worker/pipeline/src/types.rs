//! What goes into a pipeline and what comes out.

use crate::gladia::stream::Entry;
use roomscribe_transcript::{Event, Generation, Offset, Partial, SessionId, WriterNote};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// A session as its worker knows it; part of the session file (contract §6), camelCase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Key of the log.
    pub session: SessionId,
    /// Attempt that this worker writes with.
    #[serde(rename = "gen")]
    pub generation: Generation,
    /// For the speech service's own metadata.
    pub room_name: String,
    /// What the speech service is asked for.
    #[serde(default)]
    pub speech: SpeechSettings,
    /// The session ends after this.
    #[serde(default = "twelve_hours", with = "seconds")]
    pub max_duration: Duration,
}

impl Settings {
    /// Defaults of contract §1.
    pub fn new(session: SessionId, generation: Generation, room_name: String) -> Self {
        Self {
            session,
            generation,
            room_name,
            speech: SpeechSettings::default(),
            max_duration: twelve_hours(),
        }
    }
}

/// Options of the speech service (contract §1 `spec.speech`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpeechSettings {
    /// ISO 639-1; empty = detect.
    pub languages: Vec<String>,
    /// Detect the language of every utterance.
    pub code_switching: bool,
    /// Words to know.
    pub vocabulary: Vec<VocabularyEntry>,
    /// Target languages.
    pub translate_to: Vec<String>,
    /// Silence that ends an utterance.
    pub endpointing_milliseconds: u32,
    /// Ask for partials.
    pub partials: bool,
    /// A new speech session replaces one that is this old; the service's cap is 3 h.
    #[serde(with = "seconds", rename = "rolloverAfterSeconds")]
    pub rollover_after: Duration,
    /// A speech session without audio is ended after this, because it bills.
    #[serde(with = "seconds", rename = "idleCloseAfterSeconds")]
    pub idle_close_after: Duration,
}

impl Default for SpeechSettings {
    fn default() -> Self {
        Self {
            languages: Vec::new(),
            code_switching: false,
            vocabulary: Vec::new(),
            translate_to: Vec::new(),
            endpointing_milliseconds: 300,
            partials: true,
            rollover_after: Duration::from_secs(10_200),
            idle_close_after: Duration::from_secs(60),
        }
    }
}

/// A word and how it sounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VocabularyEntry {
    /// As written.
    pub value: String,
    /// As said.
    #[serde(default)]
    pub pronunciations: Vec<String>,
}

/// WebSocket URL of a speech session: its token is the only credential, so `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpeechUrl(String);

impl SpeechUrl {
    /// For the socket only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SpeechUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Debug for SpeechUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpeechUrl(…)")
    }
}

/// Whatever happens.
#[derive(Debug)]
pub enum Input<'a> {
    /// A publisher was accepted; an earlier one is over.
    PublishStarted {
        /// Attempt of its key.
        attempt: u32,
    },
    /// One RTMP audio message.
    Audio {
        /// RTMP time.
        timestamp_ms: u32,
        /// FLV audio tag body.
        body: &'a [u8],
    },
    /// The publisher is gone.
    PublishEnded {
        /// It said goodbye.
        clean: bool,
    },
    /// Answer to `CreateSpeech`.
    SpeechCreated {
        /// Which request.
        request: u32,
        /// Speech session id.
        id: String,
        /// Where to connect.
        url: SpeechUrl,
    },
    /// Answer to `CreateSpeech`: an HTTP error.
    SpeechRefused {
        /// Which request.
        request: u32,
        /// HTTP status.
        status: u16,
        /// `Retry-After`.
        retry_after: Option<Duration>,
        /// The service's words.
        detail: String,
    },
    /// Answer to `CreateSpeech`: none came.
    SpeechUnreachable {
        /// Which request.
        request: u32,
        /// Why.
        detail: String,
    },
    /// The socket is open.
    SpeechOpened {
        /// Which connection.
        connection: u32,
    },
    /// A text message came.
    SpeechText {
        /// Which connection.
        connection: u32,
        /// JSON.
        text: &'a str,
    },
    /// The socket is over.
    SpeechClosed {
        /// Which connection.
        connection: u32,
        /// Close code, when one came.
        code: Option<u16>,
        /// Status of a refused upgrade.
        http_status: Option<u16>,
    },
    /// Answer to `FetchResult`.
    SpeechResult {
        /// Speech session id.
        id: &'a str,
        /// The job, when there.
        result: Option<&'a Value>,
    },
    /// Answer to `Append`.
    Appended {
        /// Which append.
        ticket: u64,
        /// The log's head, or why not.
        result: Result<Offset, AppendRefused>,
    },
    /// Drain.
    Stop {
        /// Reason of the `end` event; none = suspend: the next process goes on.
        reason: Option<String>,
    },
    /// `wake_at` has come.
    Timer,
}

/// Why an event will never be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendRefused {
    /// A later attempt writes this session.
    Fenced,
    /// The session has ended, or its transcript was erased.
    Over,
    /// Any other reason.
    Failed,
}

/// Whatever is to be done.
#[derive(Debug)]
pub enum Output {
    /// `POST /v2/live`.
    CreateSpeech {
        /// For the answer.
        request: u32,
        /// JSON body.
        body: Value,
    },
    /// Connect.
    OpenSpeech {
        /// For the events.
        connection: u32,
        /// Where.
        url: SpeechUrl,
    },
    /// A binary frame.
    SendAudio {
        /// Where.
        connection: u32,
        /// s16le.
        pcm: Vec<u8>,
    },
    /// A text frame.
    SendText {
        /// Where.
        connection: u32,
        /// JSON.
        text: String,
    },
    /// Drop the socket; with a code, a Close frame first.
    CloseSpeech {
        /// Which.
        connection: u32,
        /// Close code.
        code: Option<u16>,
    },
    /// `GET /v2/live/{id}`.
    FetchResult {
        /// Speech session id.
        id: String,
    },
    /// Append to the log, in this order.
    Append {
        /// For the answer.
        ticket: u64,
        /// What.
        event: Event,
        /// For a successor.
        note: WriterNote,
    },
    /// Show.
    Partial(Partial),
    /// Keep on disk until covered.
    SpoolPcm {
        /// Media position in samples.
        at: u64,
        /// s16le.
        pcm: Vec<u8>,
    },
    /// Forget spooled PCM before this media position.
    SpoolCovered {
        /// In samples.
        upto: u64,
    },
    /// Keep the newest state on disk.
    SpoolState(SpeechState),
    /// Nothing follows.
    Done(Exit),
}

/// What a restarted worker needs of its speech session (spooled).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpeechState {
    /// Ordinal of the newest speech session; 0 = none yet.
    pub ordinal: u32,
    /// Its id.
    pub id: String,
    /// Its URL, a secret: the spool is readable by its owner only.
    pub url: Option<SpeechUrl>,
    /// Acknowledged bytes of its stream.
    pub acked: u64,
    /// Where stream bytes stand on the media clock.
    pub map: Vec<Entry>,
    /// Media samples that finals (or silence) cover.
    pub covered: u64,
    /// Wall time of media 0, milliseconds since 1970.
    pub media_zero_wall_ms: Option<u64>,
    /// Media position after the last audio received.
    pub heard: u64,
    /// Wall time of the last audio received, milliseconds since 1970.
    pub heard_wall_ms: u64,
}

/// What a crash left.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// From the spool.
    pub state: Option<SpeechState>,
    /// From the spool: (media sample, s16le), ascending.
    pub pcm: Vec<(u64, Vec<u8>)>,
    /// From the log.
    pub note: Option<WriterNote>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exit {
    /// Ended; exit code 0.
    #[default]
    Done,
    /// Suspended: the next process goes on; exit code 0.
    Suspended,
    /// A later attempt writes this session; exit code 0.
    Fenced,
    /// The log refused for good; exit code 75.
    LogFailed,
}

/// What the operator reads (contract §6).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Version of the form: 1.
    pub v: u32,
    /// Rises when publisher, silence, speech state or last error change.
    pub version: u64,
    /// `listening|publishing|silent|draining|done`.
    pub state: State,
    /// Why no new publisher is accepted, CamelCase; empty while all is well.
    pub reason: &'static str,
    /// The live publisher's attempt.
    pub publisher: Option<PublisherReport>,
    /// The speech service.
    pub speech: SpeechReport,
    /// Media time heard.
    pub media_ms: u64,
    /// Audio lost.
    pub audio_lost_ms: u64,
    /// Newest error, without secrets.
    pub last_error: Option<String>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            v: 1,
            version: 0,
            state: State::Listening,
            reason: "",
            publisher: None,
            speech: SpeechReport::default(),
            media_ms: 0,
            audio_lost_ms: 0,
            last_error: None,
        }
    }
}

/// Who publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublisherReport {
    /// Attempt of its stream key.
    pub attempt: u32,
    /// RFC 3339.
    pub since: String,
    /// RFC 3339.
    pub last_byte_at: String,
}

/// How the speech service does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SpeechReport {
    /// `idle|connecting|live|retrying|refused`.
    pub state: &'static str,
    /// CamelCase; empty while all is well.
    pub reason: &'static str,
}

/// A worker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// No publisher.
    Listening,
    /// Audio comes.
    Publishing,
    /// A publisher, but no byte for 5 s.
    Silent,
    /// Finishing.
    Draining,
    /// Over.
    Done,
}

impl State {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Publishing => "publishing",
            Self::Silent => "silent",
            Self::Draining => "draining",
            Self::Done => "done",
        }
    }
}

fn twelve_hours() -> Duration {
    Duration::from_secs(43_200)
}

/// Whole seconds in JSON.
mod seconds {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.as_secs())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}
