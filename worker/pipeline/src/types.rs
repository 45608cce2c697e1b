//! What goes into a pipeline and what comes out.

use crate::restored::SpeechState;
use bytes::Bytes;
use roomscribe_transcript::{Event, Offset, Partial, WriterNote};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

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
        /// What the service said of it.
        result: SpeechResult<&'a Value>,
    },
    /// Answer to `Append`.
    Appended {
        /// Which append.
        ticket: u64,
        /// The log's head, or why not.
        result: Result<Offset, AppendRefused>,
    },
    /// Hand over to the next process on this machine at once: the spool has all that it needs, no speech session is heard out.
    Leave,
    /// Drain.
    Stop {
        /// Reason of the `end` event; none = suspend: the next process goes on.
        reason: Option<String>,
    },
    /// `wake_at` has come.
    Timer,
}

/// A speech service's answer to the question for a session's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeechResult<T> {
    /// The job, finished or not.
    Job(T),
    /// No such session (404): it has never been told anything, or remembers nothing.
    Unknown,
    /// No answer, or none that says something.
    Unanswered,
}

impl<T> SpeechResult<T> {
    /// The same, borrowed.
    pub fn as_ref(&self) -> SpeechResult<&T> {
        match self {
            Self::Job(job) => SpeechResult::Job(job),
            Self::Unknown => SpeechResult::Unknown,
            Self::Unanswered => SpeechResult::Unanswered,
        }
    }
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
        pcm: Bytes,
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
        pcm: Bytes,
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
