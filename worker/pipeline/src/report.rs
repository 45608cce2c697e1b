//! What the operator reads of a session (contract §6).

use serde::Serialize;

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
    /// Speech sessions opened so far, by earlier workers of the session too: they are what costs.
    pub speech_sessions: u32,
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
            speech_sessions: 0,
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
    /// `UnsupportedAudio` while what it sends cannot be decoded; empty while all is well.
    pub reason: &'static str,
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
