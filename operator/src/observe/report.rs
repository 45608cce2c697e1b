//! A worker's `/status` (contract §6).

use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::reason::Reason;
use roomscribe_plan::{Hearing, SpeechState, WorkerReport};
use serde::Deserialize;

/// What a worker answers. Unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusJson {
    v: u32,
    /// To be given as `since` of the next poll.
    pub version: u64,
    /// `listening|publishing|silent|draining|done`.
    pub state: String,
    /// Why no new publisher is accepted; empty while all is well.
    #[serde(default)]
    pub reason: String,
    /// The live publisher.
    #[serde(default)]
    pub publisher: Option<Publisher>,
    /// The speech service.
    #[serde(default)]
    pub speech: Speech,
    /// Media heard, milliseconds.
    #[serde(default)]
    pub media_ms: u64,
    /// Audio lost, milliseconds.
    #[serde(default)]
    pub audio_lost_ms: u64,
    /// Newest error, without secrets.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// Who publishes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Publisher {
    /// Attempt of its stream key.
    pub attempt: u32,
    /// Since when.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// When its newest byte came.
    #[serde(default)]
    pub last_byte_at: Option<Timestamp>,
    /// `UnsupportedAudio` while what it sends cannot be decoded; empty while all is well.
    #[serde(default)]
    pub reason: String,
}

/// How the speech service does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Speech {
    /// `idle|connecting|live|retrying|refused`.
    pub state: String,
    /// CamelCase; empty while all is well.
    pub reason: String,
}

/// A report that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Not the JSON that a worker sends.
    #[error("the worker's /status is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// Another version of the form.
    #[error("the worker's /status has v {0}, not 1: use a worker of the operator's version")]
    Version(u32),
}

impl StatusJson {
    /// Reads an answer.
    ///
    /// # Errors
    /// When it is not a report of version 1.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatusError> {
        let status: Self = serde_json::from_slice(bytes)?;
        if status.v == 1 { Ok(status) } else { Err(StatusError::Version(status.v)) }
    }
}

/// The report of this pod, answered `at`.
pub fn report(pod: &str, status: &StatusJson, at: Timestamp) -> WorkerReport {
    let publisher = status.publisher.as_ref();
    let (hearing, since) = match publisher {
        None => (Hearing::Nobody, None),
        Some(publisher) if status.state == "silent" => {
            (Hearing::Silent(publisher.attempt), publisher.last_byte_at)
        }
        Some(publisher) => (Hearing::Publishing(publisher.attempt), publisher.since),
    };
    WorkerReport {
        pod: pod.to_owned(),
        hearing,
        since: since.unwrap_or(at),
        speech: speech(&status.speech),
        trouble: trouble(status),
        media_ms: status.media_ms,
        audio_lost_ms: status.audio_lost_ms,
        last_error: status.last_error.clone(),
    }
}

/// Why a worker that listens cannot do its work.
fn trouble(status: &StatusJson) -> Option<Reason> {
    let words = [Some(&status.reason), status.publisher.as_ref().map(|publisher| &publisher.reason)];
    let troubles =
        [Reason::StorageFull, Reason::StorageFailed, Reason::NatsUnreachable, Reason::UnsupportedAudio];
    words.into_iter().flatten().find_map(|word| reason(word).filter(|reason| troubles.contains(reason)))
}

fn speech(speech: &Speech) -> SpeechState {
    let reason = |otherwise: Reason| reason(&speech.reason).unwrap_or(otherwise);
    match speech.state.as_str() {
        "live" => SpeechState::Live,
        "connecting" => SpeechState::Connecting,
        "retrying" => SpeechState::Retrying(reason(Reason::UpstreamUnavailable)),
        "refused" => SpeechState::Refused(reason(Reason::CredentialsRejected)),
        _ => SpeechState::Idle,
    }
}

/// A worker's word, when it is one of the list.
fn reason(word: &str) -> Option<Reason> {
    Reason::named(word)
}
