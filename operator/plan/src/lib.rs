//! What to do about one session. `plan(&Observed, now) -> Plan` is pure: the operator carries plans out as pods and
//! Services, `roomscribe serve` as tasks of one process.
//!
//! What protects against two egresses for one session, and against one that outlives it:
//! 1. **Intent before start.** Attempt n+1 is written into the status (with the resourceVersion that was read) before
//!    anybody calls LiveKit, so a start can be looked for after a crash.
//! 2. **Unknown is not failed.** A start without an answer, or an intent whose process died, blocks the next attempt until
//!    a listing made 90 s after the intent shows nothing.
//! 3. **Adopt by URL.** Every egress carries installation, session and attempt in its RTMP URL.
//! 4. **Fence.** The worker takes the highest attempt only, so even a double start cannot feed twice.
//! 5. **Finalizer with a deadline.** It stays until no egress can be running, or until LiveKit has not confirmed for five
//!    minutes; with pod and Service gone the egress then ends by itself.

pub mod address;
mod backoff;
pub mod check;
pub mod collect;
mod decide;
mod memory;
mod observed;
mod plan;

pub use decide::{plan, plan_under};
pub use memory::{How, Intent, Memory, Refusal, StartCall, StartOutcome, StopCall};
pub use observed::{
    Cluster, ContainerExit, Egress, EgressState, Gate, Hearing, Known, Listing, LiveKit, LiveKitError,
    Observed, Pod, PodState, Room, RoomView, Secrets, Service, Session, SpeechState, WorkerReport,
};
pub use plan::{Action, Ask, EventKind, Plan, Planned};

/// A start without an answer may still become an egress for this long: the SFU itself tries for up to 75 s.
pub const START_UNKNOWN_SECONDS: i64 = 90;

/// What an installation may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long LiveKit may take to confirm that a session's egresses have ended.
    pub cleanup_deadline_seconds: i64,
    /// How long a start without an answer is looked for: [`START_UNKNOWN_SECONDS`], unless LiveKit is simulated and its clock
    /// runs faster.
    pub start_unknown_seconds: i64,
    /// Something else (the kubelet) restarts a worker that ends, and waits longer each time: a second end within ten minutes
    /// gets a new pod. Without such a back-off a new one would cost the connection and gain nothing.
    pub replaces_crashing_pods: bool,
    /// From a Service's word to every node's rules (kube-proxy: within a second, unless it is busy). An egress that is started
    /// before it connects to nobody, or for five seconds to a pod that is gone.
    pub start_settle_seconds: i64,
    /// As long, and longer for a load balancer: an egress that is moved before it loses both workers.
    pub move_settle_seconds: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            cleanup_deadline_seconds: 300,
            start_unknown_seconds: START_UNKNOWN_SECONDS,
            replaces_crashing_pods: true,
            start_settle_seconds: 1,
            move_settle_seconds: 3,
        }
    }
}
