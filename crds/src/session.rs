//! The resource itself: names, columns, and the rules that concern more than one field.

use crate::spec::{Capture, DesiredState, Ingest, Limits, LocalReference, Speakers, Speech, Worker};
use crate::status::TranscriptionSessionStatus;
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use serde::{Deserialize, Serialize};

/// API group.
pub const GROUP: &str = "roomscribe.io";
/// Held until no egress of the session can be running any more.
pub const FINALIZER: &str = "roomscribe.io/egress";

/// One LiveKit room's transcript: what is asked for.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "roomscribe.io",
    version = "v1alpha1",
    kind = "TranscriptionSession",
    plural = "transcriptionsessions",
    shortname = "ts",
    category = "roomscribe",
    namespaced,
    status = "TranscriptionSessionStatus",
    derive = "PartialEq",
    doc = "A live, named, replayable transcript of one LiveKit room. The operator starts one egress and one worker for it, and removes both when it ends.",
    selectable = ".spec.roomName",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas"),
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name: use at most 40 characters; the names of pod and Service are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name: use small letters, digits and '-' only, no '.'; the names of pod and Service are made from it"),
    printcolumn(name = "Room", type_ = "string", json_path = ".spec.roomName", description = "LiveKit room"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.capture.mode", description = "How audio is captured now"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.summary", description = "One word for people"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.ingest.host", description = "Where RTMP arrives"),
    printcolumn(name = "Egress", type_ = "string", json_path = ".status.egresses[-1:].id", description = "Newest egress"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why it is, or is not, ready"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Pod", type_ = "string", json_path = ".status.worker.podName", description = "Worker pod", priority = 1),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.worker.nodeName", description = "Node of the worker pod", priority = 1),
    printcolumn(name = "Restarts", type_ = "integer", json_path = ".status.worker.restarts", description = "Container restarts", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", description = "What to do", priority = 1)
)]
#[cfg_attr(feature = "cel", kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self.capture.mode == oldSelf.capture.mode", "capture.mode cannot be changed: make a new session"),
    validation = ("has(self.livekitRef) == has(oldSelf.livekitRef) && (!has(self.livekitRef) || self.livekitRef.name == oldSelf.livekitRef.name)", "livekitRef cannot be changed: make a new session"),
    validation = ("self.ingest.exposure == oldSelf.ingest.exposure && has(self.ingest.external) == has(oldSelf.ingest.external) && (!has(self.ingest.external) || self.ingest.external == oldSelf.ingest.external) && has(self.ingest.loadBalancerClass) == has(oldSelf.ingest.loadBalancerClass) && (!has(self.ingest.loadBalancerClass) || self.ingest.loadBalancerClass == oldSelf.ingest.loadBalancerClass) && self.ingest.annotations == oldSelf.ingest.annotations && self.ingest.sourceRanges == oldSelf.ingest.sourceRanges && self.ingest.addressTimeoutSeconds == oldSelf.ingest.addressTimeoutSeconds && has(self.ingest.tls) == has(oldSelf.ingest.tls) && (!has(self.ingest.tls) || self.ingest.tls == oldSelf.ingest.tls)", "ingest cannot be changed, but for keyGeneration: make a new session"),
    validation = ("!(oldSelf.desiredState == 'Stopped' && self.desiredState == 'Running')", "desiredState cannot go back to Running: a stopped session has ended, make a new one"),
)]
pub struct TranscriptionSessionSpec {
    /// Name of the LiveKit room. Cannot be changed later.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = ("self == oldSelf", "roomName cannot be changed: make a new session"))]
    pub room_name: String,
    /// Secret with the keys url, apiKey and apiSecret of a LiveKit project; absent: the operator's own. Needs
    /// credentials.perSession. Cannot be changed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub livekit_ref: Option<LocalReference>,
    /// Running or Stopped; a stopped session cannot be started again.
    #[serde(default)]
    pub desired_state: DesiredState,
    /// How audio reaches the worker.
    #[serde(default)]
    pub capture: Capture,
    /// Where the worker takes RTMP.
    #[serde(default)]
    pub ingest: Ingest,
    /// What the speech service is asked for.
    #[serde(default)]
    pub speech: Speech,
    /// Who spoke.
    #[serde(default)]
    pub speakers: Speakers,
    /// Deadlines.
    #[serde(default)]
    pub limits: Limits,
    /// Seconds that the resource stays after the session has finished; the transcript stays as long as the log keeps it.
    #[serde(default = "one_hour")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: i32,
    /// The worker pod.
    #[serde(default)]
    pub worker: Worker,
    /// Always 1; PodDisruptionBudgets read it through the scale subresource.
    #[serde(default = "one")]
    #[x_kube(validation = ("self == 1", "replicas is always 1: one session has one worker"))]
    pub replicas: i32,
}

impl TranscriptionSessionSpec {
    /// A session of `room_name` with the defaults of the contract.
    pub fn for_room(room_name: impl Into<String>) -> Self {
        Self {
            room_name: room_name.into(),
            livekit_ref: None,
            desired_state: DesiredState::default(),
            capture: Capture::default(),
            ingest: Ingest::default(),
            speech: Speech::default(),
            speakers: Speakers::default(),
            limits: Limits::default(),
            ttl_seconds_after_finished: one_hour(),
            worker: Worker::default(),
            replicas: one(),
        }
    }
}

fn one() -> i32 {
    1
}

fn one_hour() -> i32 {
    3600
}

/// The CustomResourceDefinition as YAML, as it is committed and applied.
///
/// # Errors
/// When the definition cannot be written as YAML, which a test rules out.
pub fn crd_yaml() -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(&TranscriptionSession::crd())
}
