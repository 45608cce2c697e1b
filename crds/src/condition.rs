//! Condition types of a session, after the Kubernetes API conventions: observations, not states of a machine.

use crate::reason::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::fmt;

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The types that Roomscribe writes. Conditions of other types belong to somebody else and survive our writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The spec can work: names, Secrets and quotas are in order.
    Accepted,
    /// The worker listens on port 1935 and its speech session is accepted.
    WorkerReady,
    /// The address is known.
    IngestReady,
    /// The worker hears the egress.
    EgressActive,
    /// The speech session is open.
    Transcribing,
    /// It works, but not as asked.
    Degraded,
    /// Everything that we own is up; a muted or silent room is ready.
    Ready,
    /// True: ended as asked. False: gave up. Unknown while active.
    Succeeded,
}

impl ConditionType {
    /// All, in the order in which people read them.
    pub const ALL: [Self; 8] = [
        Self::Accepted,
        Self::WorkerReady,
        Self::IngestReady,
        Self::EgressActive,
        Self::Transcribing,
        Self::Degraded,
        Self::Ready,
        Self::Succeeded,
    ];

    /// As in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::WorkerReady => "WorkerReady",
            Self::IngestReady => "IngestReady",
            Self::EgressActive => "EgressActive",
            Self::Transcribing => "Transcribing",
            Self::Degraded => "Degraded",
            Self::Ready => "Ready",
            Self::Succeeded => "Succeeded",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Three values, never a boolean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Nobody knows.
    Unknown,
}

impl Verdict {
    /// As in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    /// The verdict of this name.
    pub fn named(word: &str) -> Option<Self> {
        [Self::True, Self::False, Self::Unknown].into_iter().find(|verdict| verdict.as_str() == word)
    }
}

/// Verdict and reason of one type, as the list holds them; `None` when the type is not there.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// Is the condition there and `True`?
pub fn is_true(conditions: &[Condition], kind: ConditionType) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// Sets one condition. `lastTransitionTime` moves only when the status does; a list that says the same already stays as it
/// is, so that nothing is written for nothing. Returns whether something changed.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: ConditionType,
    verdict: Verdict,
    reason: Reason,
    message: &str,
    generation: Option<i64>,
    now: &Time,
) -> bool {
    let (status, reason) = (verdict.as_str(), reason.as_str());
    let Some(old) = conditions.iter_mut().find(|condition| condition.type_ == kind.as_str()) else {
        conditions.push(Condition {
            type_: kind.as_str().into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            observed_generation: generation,
            last_transition_time: now.clone(),
        });
        return true;
    };
    let same = old.status == status && old.reason == reason && old.message == message;
    if same && old.observed_generation == generation {
        return false;
    }
    if old.status != status {
        old.last_transition_time = now.clone();
    }
    (old.status, old.reason, old.message) = (status.into(), reason.into(), message.into());
    old.observed_generation = generation;
    true
}
