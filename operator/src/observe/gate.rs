//! Which sessions may run: one per room, and no more than the speech account takes.
//!
//! Every session is ranked by what its own resource shows, so that all look at one order, whoever asks: sessions that have
//! begun, then those that could begin, then those that were refused for a reason of their own; the older first. A refused
//! one so never keeps a room from one that can work, and the same order decides when both could again.

use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::condition::{self, ConditionType};
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{CaptureMode, DesiredState, TranscriptionSession};
use std::collections::HashMap;

/// What the gate reads of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `metadata.uid`.
    pub id: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// LiveKit project: equal for sessions whose rooms are the same ones (the API key of the project, for example).
    pub project: String,
    /// LiveKit's room name.
    pub room: String,
    /// With capture mode Push there is no room to share.
    pub has_room: bool,
    /// `metadata.creationTimestamp`.
    pub created_at: Timestamp,
    /// How far it is.
    pub stage: Stage,
}

/// How far a session is; the order is that of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It has an attempt: an egress may be running.
    Begun,
    /// It was let in.
    Accepted,
    /// New, or waiting for the room or in the queue.
    Waiting,
    /// Refused for a reason of its own (a Secret, a key).
    Refused,
    /// Finished, or ended before it began: it holds nothing.
    Over,
}

impl Facts {
    /// Of a resource; `project` is the caller's word for its LiveKit project. `None` for an object that no API server has
    /// seen.
    pub fn of(session: &TranscriptionSession, project: impl Into<String>) -> Option<Self> {
        let metadata = &session.metadata;
        Some(Self {
            id: metadata.uid.clone()?,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone()?,
            project: project.into(),
            room: session.spec.room_name.clone(),
            has_room: session.spec.capture.mode != CaptureMode::Push,
            created_at: metadata.creation_timestamp.as_ref()?.0,
            stage: Stage::of(session),
        })
    }

    fn order(&self) -> (Stage, Timestamp, &str) {
        (self.stage, self.created_at, &self.id)
    }

    fn shares_a_room_with(&self, other: &Self) -> bool {
        self.has_room && other.has_room && self.project == other.project && self.room == other.room
    }
}

impl Stage {
    fn of(session: &TranscriptionSession) -> Self {
        let (metadata, status) = (&session.metadata, session.status.as_ref());
        let accepted = status.and_then(|status| condition::find(&status.conditions, ConditionType::Accepted));
        let ends =
            metadata.deletion_timestamp.is_some() || session.spec.desired_state == DesiredState::Stopped;
        let waits = |word: &str| {
            [Reason::RoomAlreadyTranscribed, Reason::ConcurrencyLimited]
                .iter()
                .any(|reason| reason.as_str() == word)
        };
        match (status, accepted) {
            (Some(status), _) if status.completed_at.is_some() => Self::Over,
            (Some(status), _) if status.attempt.is_some() => Self::Begun,
            (_, Some(accepted)) if accepted.status == "True" => Self::Accepted,
            _ if ends => Self::Over,
            (_, Some(accepted)) if accepted.status == "False" && !waits(&accepted.reason) => Self::Refused,
            _ => Self::Waiting,
        }
    }

    fn runs(self) -> bool {
        matches!(self, Self::Begun | Self::Accepted)
    }
}

/// For `plan::Gate`: the name of the session that has this one's room (with its namespace, when that is another), and this
/// one's place in the queue for a speech session, from 1. `max`: sessions that may run at once.
pub fn room_and_queue(sessions: &[Facts], me: &Facts, max: Option<u32>) -> (Option<String>, Option<u32>) {
    if me.stage == Stage::Over {
        return (None, None);
    }
    let active = || {
        let others = sessions.iter().filter(|other| other.id != me.id && other.stage != Stage::Over);
        others.chain([me])
    };
    let rivals = active().filter(|other| other.shares_a_room_with(me));
    let holder = rivals.min_by(|a, b| a.order().cmp(&b.order())).filter(|holder| holder.id != me.id);
    let room = holder.map(|holder| match holder.namespace == me.namespace {
        true => holder.name.clone(),
        false => format!("{}/{}", holder.namespace, holder.name),
    });
    (room, max.filter(|_| !me.stage.runs()).and_then(|max| place(active(), me, max)))
}

/// Place of `me` among those that wait; `None`: it may run.
fn place<'a>(active: impl Iterator<Item = &'a Facts> + Clone, me: &Facts, max: u32) -> Option<u32> {
    let mut holders: HashMap<(&str, &str), &Facts> = HashMap::new();
    for facts in active.clone().filter(|facts| facts.has_room) {
        let holder = holders.entry((&facts.project, &facts.room)).or_insert(facts);
        if facts.order() < holder.order() {
            *holder = facts;
        }
    }
    // Whoever waits for a room takes no place from those that could run.
    let has_its_room = |facts: &Facts| {
        !facts.has_room
            || holders.get(&(&*facts.project, &*facts.room)).is_some_and(|holder| holder.id == facts.id)
    };
    let running = active.clone().filter(|facts| facts.stage.runs()).count();
    let before = active
        .filter(|facts| !facts.stage.runs() && facts.order() < me.order() && has_its_room(facts))
        .count();
    let free = usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(running);
    (before >= free).then(|| u32::try_from(before - free + 1).unwrap_or(u32::MAX))
}
