//! Deliberate misbehaviour, so that a client can be tested against everything the real service may do.

use serde::{Deserialize, Serialize};

/// All faults; the default is none. JSON is camelCase; unknown fields are refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Faults {
    /// Answers to `POST /v2/live`.
    pub post: Option<PostFault>,
    /// Status of a request that fails validation: 400 (default) or 422.
    pub validation_status: Option<u16>,
    /// Breaks of the connection, each once per session.
    pub cuts: Vec<Cut>,
    /// How chunks are acknowledged.
    pub acks: AckFaults,
    /// What becomes of audio that is not acknowledged when the connection breaks.
    pub unacked: Unacked,
    /// From so many seconds of received audio on, the socket is not read for `stallMs`.
    pub stall: Option<Stall>,
    /// Overrides the server's idle limit, in seconds.
    pub idle_seconds: Option<f64>,
    /// Close code of an idle or over-long connection; default 1011.
    pub idle_code: Option<u16>,
    /// Overrides the longest session, in seconds of wall time.
    pub session_cap_seconds: Option<f64>,
    /// Messages of a type that no client knows, between the others.
    pub unknown_messages: bool,
    /// Fields that no client knows, in every message.
    pub unknown_fields: bool,
    /// A `type:"error"` message at a moment of received audio.
    pub error: Option<ErrorFault>,
    /// Leaves `confidence` out of utterances and words.
    pub omit_confidence: bool,
    /// Leaves `words` out of utterances.
    pub omit_words: bool,
    /// How long `GET /v2/live/{id}` says `processing` after the end, in milliseconds.
    pub done_delay_ms: u64,
    /// Sends `start_session` on the socket too.
    pub send_start_session: bool,
}

/// Refuses `POST /v2/live`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostFault {
    /// HTTP status of the refusal.
    pub status: u16,
    /// How many requests; absent = all.
    #[serde(default)]
    pub times: Option<u32>,
    /// `Retry-After`, seconds.
    #[serde(default)]
    pub retry_after: Option<u32>,
}

/// Breaks a session's connection once so much audio has been received.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cut {
    /// Seconds of received audio, from the session's start.
    pub at_seconds: f64,
    /// How it breaks.
    pub how: Break,
}

/// A way for a connection to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Break {
    /// TCP reset, no close frame (with [`crate::serve`]; under a foreign server like `Drop`).
    Reset,
    /// TCP end without a close frame: the client sees 1006.
    Drop,
    /// A close frame with this code. 1000 and 44xx end the session.
    Close(u16),
}

/// Faults of acknowledgments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AckFaults {
    /// Sent this much later.
    pub delay_ms: u64,
    /// One for so many chunks; 0 and 1 = one each.
    pub coalesce: u32,
    /// Never sent (and, with [`Unacked::Drop`], never recognised).
    pub withhold: bool,
    /// Every so-manieth chunk is refused with `acknowledged:false`; 0 = none.
    pub refuse_every: u32,
}

/// What becomes of unacknowledged audio when a connection breaks (unknown of the real service).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unacked {
    /// Forgotten: the client's resend is the only copy. Gladia's own clients count on this.
    #[default]
    Drop,
    /// Kept: the client's resend is heard twice.
    Keep,
}

/// The socket is not read for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stall {
    /// Seconds of received audio.
    pub at_seconds: f64,
    /// How long, milliseconds.
    pub for_ms: u64,
}

/// A `type:"error"` message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorFault {
    /// Seconds of received audio.
    pub at_seconds: f64,
    /// `data.code`, e.g. `rate_limit_exceeded`.
    pub code: String,
    /// `data.message`.
    pub message: String,
}
