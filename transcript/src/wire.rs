//! Frames of a stream that are not in the log (contract §4): greeting, liveness, errors, renewal of access.
//!
//! Field order is that of the contract's examples. A [`Frame`] is what a viewer's program may receive.

use crate::model::{Offset, Partial, Record, SessionId};
use serde::{Deserialize, Serialize, Serializer};

/// Always the first message of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "hello", rename_all = "camelCase")]
pub struct Hello {
    /// The session.
    pub session: SessionId,
    /// The log's incarnation: an offset of another one means nothing.
    pub epoch: String,
    /// First offset still there.
    pub oldest: Offset,
    /// Last offset given.
    pub head: Offset,
    /// The stream goes on after this offset.
    pub from: Offset,
    /// False: what lies between the viewer's offset and `from` must be fetched again as a whole.
    pub recovered: bool,
    /// One word for people.
    pub state: String,
    /// RFC 3339 wall time of media 0; absent before the first audio.
    pub media_zero_at: Option<String>,
    /// Seconds between pings.
    pub ping_seconds: u32,
    /// Name and version.
    pub server: String,
}

/// Sent when nothing else was, so that a viewer notices a lost tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "heartbeat", rename_all = "camelCase")]
pub struct Heartbeat {
    /// Last offset given.
    pub head: Offset,
}

/// The viewer is slow: partials were left out (finals never are).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "lag", rename_all = "camelCase")]
pub struct Lag {
    /// How many since the last `lag`.
    pub skipped_partials: u64,
}

/// Something that the viewer asked for cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "error", rename_all = "camelCase")]
pub struct ErrorFrame {
    /// CamelCase, for programs.
    pub code: String,
    /// Says who must act. Holds no secret.
    pub message: String,
    /// The same may succeed later.
    pub retry: bool,
}

/// Access ends soon: send `auth` with a new token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "authExpiring", rename_all = "camelCase")]
pub struct AuthExpiring {
    /// Until the end.
    pub seconds: u32,
}

/// The new token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "authOk", rename_all = "camelCase")]
pub struct AuthOk {
    /// Until it ends.
    pub expires_in_seconds: u64,
}

/// An unfinished utterance as viewers see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartialFrame<'a>(pub &'a Partial);

impl Serialize for PartialFrame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Out<'a> {
            r#type: &'static str,
            #[serde(flatten)]
            partial: &'a Partial,
        }
        Out { r#type: "partial", partial: self.0 }.serialize(serializer)
    }
}

/// Anything that a stream brings.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// See [`Hello`].
    Hello(Hello),
    /// A durable event.
    Record(Box<Record>),
    /// An unfinished utterance.
    Partial(Partial),
    /// See [`Heartbeat`].
    Heartbeat(Heartbeat),
    /// See [`Lag`].
    Lag(Lag),
    /// See [`ErrorFrame`].
    Error(ErrorFrame),
    /// See [`AuthExpiring`].
    AuthExpiring(AuthExpiring),
    /// See [`AuthOk`].
    AuthOk(AuthOk),
    /// A type of a later version: readers ignore it.
    Unknown(String),
}

impl Frame {
    /// Reads one frame.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Kind {
            r#type: String,
        }
        let kind = serde_json::from_str::<Kind>(json)?.r#type;
        Ok(match kind.as_str() {
            "hello" => Self::Hello(serde_json::from_str(json)?),
            "partial" => Self::Partial(serde_json::from_str(json)?),
            "heartbeat" => Self::Heartbeat(serde_json::from_str(json)?),
            "lag" => Self::Lag(serde_json::from_str(json)?),
            "error" => Self::Error(serde_json::from_str(json)?),
            "authExpiring" => Self::AuthExpiring(serde_json::from_str(json)?),
            "authOk" => Self::AuthOk(serde_json::from_str(json)?),
            "final" | "translation" | "relabel" | "status" | "gap" | "handover" | "end" => {
                Self::Record(serde_json::from_str(json)?)
            }
            _ => Self::Unknown(kind),
        })
    }
}
