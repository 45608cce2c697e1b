//! What one operator process remembers between plans. Losing it (a crash, a new leader) may cost time, never correctness:
//! every rule that protects from two egresses holds without it.

use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::reason::Reason;
use std::collections::BTreeMap;

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// This process' first plan of the session: until it has asked around, what it has not seen is not gone.
    pub began_at: Option<Timestamp>,
    /// An intent that this process wrote and has not carried out.
    pub intent: Option<Intent>,
    /// The newest start call of this process.
    pub start: Option<StartCall>,
    /// Stop calls by egress id.
    pub stops: BTreeMap<String, StopCall>,
    /// Attempts that failed in a row, without audio between them.
    pub failures: u32,
    /// No attempt before this.
    pub retry_at: Option<Timestamp>,
    /// Failures up to this attempt are counted.
    pub counted: u32,
    /// Highest attempt that the worker has heard.
    pub heard: u32,
    /// The newest attempt's egress could not connect although the worker listened.
    pub unreachable: bool,
    /// Starts that LiveKit refused in a row, for a reason that does not pass by itself.
    pub refusals: u32,
    /// When the first and the newest of them were refused.
    pub refused: Option<(Timestamp, Timestamp)>,
    /// When the session began to end.
    pub stopping_since: Option<Timestamp>,
    /// When LiveKit did not answer last.
    pub trouble_at: Option<Timestamp>,
    /// When LiveKit was asked last although it had just failed.
    pub asked_at: Option<Timestamp>,
    /// Egresses of the status, and the newest listing in which each lived.
    pub seen: BTreeMap<String, Timestamp>,
    /// The first of the looks in a row that did not show the room.
    pub room_missing_since: Option<Timestamp>,
    /// How often the room was not there.
    pub room_looks: u32,
    /// When it was looked for last: several plans may rest on one look.
    pub room_looked_at: Option<Timestamp>,
    /// Since when the room has had nobody in it.
    pub room_empty_since: Option<Timestamp>,
    /// Since when a microphone has been open although the worker hears nothing.
    pub unheard_since: Option<Timestamp>,
    /// Ends of the newest pod's container, newest last, at most three.
    pub exits: Vec<Timestamp>,
    /// Uid of that pod.
    pub exits_of: String,
    /// How often its container had ended when it was seen last.
    pub ends: u32,
    /// Attempt of the pod that listens and that the Service selects, how often its container has ended, and since when so.
    pub selected: Option<((u32, u32), Timestamp)>,
    /// Why the last pod was replaced, until the next attempt is intended.
    pub replaced: Option<Reason>,
    /// The speech service has refused, and has not accepted since.
    pub refusal: Option<Refusal>,
    /// The cleanup was given up and said so.
    pub abandoned: bool,
}

/// The speech service refused key or options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The worker's reason.
    pub reason: Reason,
    /// Version of the Secrets and generation of the spec that were refused: others are tried at once.
    pub of: (u64, Option<i64>),
    /// Uid (or name) of the pod that was refused last.
    pub by: String,
    /// How often in a row.
    pub times: u32,
    /// When the next pod tries; `None`: one is trying.
    pub retry_at: Option<Timestamp>,
}

/// How an intended attempt begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// A new egress.
    Start,
    /// A healthy egress is pointed at another worker by one UpdateStream.
    Move {
        /// The egress.
        egress: String,
        /// Attempt of the URL that is removed.
        from: u32,
    },
}

/// An intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Attempt.
    pub attempt: u32,
    /// How.
    pub how: How,
}

/// A start (or move) call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartCall {
    /// Attempt of its URL.
    pub attempt: u32,
    /// When it was made.
    pub at: Timestamp,
    /// With a move: the egress that it concerns.
    pub moves: Option<String>,
    /// When LiveKit answered.
    pub answered_at: Option<Timestamp>,
    /// The answer; `None`: it is under way.
    pub outcome: Option<StartOutcome>,
}

/// What LiveKit answered to a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartOutcome {
    /// An egress exists.
    Started {
        /// Its id.
        id: String,
    },
    /// 404: no such room. Nothing was started.
    RoomMissing,
    /// 401 or 403. Nothing was started.
    CredentialsRefused,
    /// 400, 412 or 501: this egress cannot be. Nothing was started.
    Refused(String),
    /// 503 "no response": no egress worker has room. A late one may still come.
    NoCapacity,
    /// No connection could be made, so nothing was asked. Nothing was started.
    NotSent,
    /// Time-out, 5xx, broken connection: it may have started.
    Unknown,
}

impl StartOutcome {
    /// Surely nothing was started.
    pub fn is_definite_no(&self) -> bool {
        matches!(self, Self::RoomMissing | Self::CredentialsRefused | Self::Refused(_) | Self::NotSent)
    }
}

/// A stop call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopCall {
    /// When it was made last.
    pub at: Timestamp,
    /// How often.
    pub count: u32,
}
