//! What a decision consists of.

use crate::memory::{How, Memory};
use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::TranscriptionSessionStatus;
use roomscribe_crds::reason::Reason;

/// A decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// To be carried out in this order; a failed one ends the round, the next observation begins another.
    pub actions: Vec<Planned>,
    /// The whole status as it should read. Written (with the resourceVersion that was read) only when it differs.
    pub status: TranscriptionSessionStatus,
    /// What to remember.
    pub memory: Memory,
    /// When to plan again though nothing happens.
    pub wake_at: Option<Timestamp>,
}

/// An action and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What.
    pub action: Action,
    /// For logs and events.
    pub why: Reason,
}

/// A question; its answer comes with a later observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// ListEgress of the room.
    Egresses,
    /// The room, its participants and their microphones.
    Room,
}

/// A Kubernetes event's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Things go their way.
    Normal,
    /// Somebody should look.
    Warning,
}

/// One thing to do. Each is idempotent, or protected by the intent that was written before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Put our finalizer on; nothing is started before it is there.
    AddFinalizer,
    /// Write the status with attempt `attempt` and `intentAt`, with the resourceVersion that was read; on a conflict
    /// nothing happens.
    WriteIntent {
        /// The new attempt.
        attempt: u32,
        /// How it will begin.
        how: How,
    },
    /// Call LiveKit; only for an intent that this process has written.
    StartEgress {
        /// Attempt of the stream key.
        attempt: u32,
    },
    /// One UpdateStream: add the URL of `to`, remove the one of `from`.
    MoveEgress {
        /// The egress.
        id: String,
        /// Attempt of the URL that is removed.
        from: u32,
        /// Attempt of the URL that is added.
        to: u32,
    },
    /// StopEgress; not waited for.
    StopEgress {
        /// The egress.
        id: String,
    },
    /// Apply session file, pod and Service.
    EnsureWorker {
        /// Attempt in the pod's name; the Service selects it.
        attempt: u32,
        /// The Service selects the pod of this attempt.
        selects: u32,
    },
    /// Delete one pod: it drains.
    DeletePod {
        /// Name.
        name: String,
    },
    /// Drain the worker and let it append `end` with this reason.
    StopWorker {
        /// Reason of the `end` event.
        reason: Reason,
    },
    /// Delete the Service: a load balancer costs money.
    DeleteService,
    /// Ask LiveKit.
    Ask(Ask),
    /// Tell people.
    Event {
        /// Normal or Warning.
        kind: EventKind,
        /// What to do, without secrets.
        note: String,
    },
    /// Let the resource go.
    RemoveFinalizer,
    /// The resource has outlived `ttlSecondsAfterFinished`.
    DeleteSession,
}
