//! `status`: what is. Written by the operator only.

use crate::condition::Condition;
use crate::spec::CaptureMode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One word for people; nothing is ever decided upon it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Summary {
    /// Accepted, or waiting in the queue.
    #[default]
    Pending,
    /// The room does not exist yet.
    WaitingForRoom,
    /// Worker, address and egress are being made.
    Starting,
    /// Everything is up and nobody's microphone is open.
    WaitingForAudio,
    /// Words are coming.
    Live,
    /// Something broke and is being replaced.
    Recovering,
    /// Ending.
    Stopping,
    /// Ended as asked.
    Succeeded,
    /// Gave up.
    Failed,
}

impl TranscriptionSessionStatus {
    /// The newest attempt; 0 before the first.
    pub fn newest_attempt(&self) -> u32 {
        self.attempt.and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(0)
    }
}

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptionSessionStatus {
    /// Generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people; do not decide upon it, read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Accepted, WorkerReady, IngestReady, EgressActive, Transcribing, Degraded, Ready, Succeeded.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 32))]
    pub conditions: Vec<Condition>,
    /// How audio is captured now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureStatus>,
    /// Where RTMP arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingest: Option<IngestStatus>,
    /// The newest stream-key attempt; it only goes up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// When the newest attempt was decided, written before anything was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent_at: Option<MicroTime>,
    /// Egresses of this session, oldest first.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    #[schemars(length(max = 60))]
    pub egresses: Vec<EgressRecord>,
    /// The worker pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerStatus>,
    /// What the session has used; written when it ends and with changes of conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// When the first audio arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the session finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
}

/// How audio is captured now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaptureStatus {
    /// RoomComposite, TrackEgress or Push.
    pub mode: CaptureMode,
    /// Since when.
    pub since: Time,
    /// Why this mode.
    #[schemars(length(max = 256))]
    pub reason: String,
}

/// Where RTMP arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngestStatus {
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: i32,
}

/// What an egress captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EgressKind {
    /// The mixed room, over RTMP.
    RoomComposite,
    /// One microphone, over WebSocket.
    Track,
}

/// One egress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressRecord {
    /// LiveKit's id, EG_….
    pub id: String,
    /// RoomComposite or Track.
    pub kind: EgressKind,
    /// Attempt of its stream key.
    pub attempt: i32,
    /// With kind Track: the track.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub track_sid: String,
    /// With kind Track: whose microphone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub identity: String,
    /// When LiveKit took the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// LiveKit's status word: a hint, never a proof.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_status: String,
    /// LiveKit's error text, without secrets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_error: String,
}

/// How the worker's container ended last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastExit {
    /// Exit code.
    pub code: i32,
    /// The kubelet's word, for example OOMKilled.
    #[serde(default)]
    pub reason: String,
}

/// The worker pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerStatus {
    /// Name of the pod.
    pub pod_name: String,
    /// Its uid.
    pub pod_uid: String,
    /// Its node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    /// Restarts of its container.
    pub restarts: i32,
    /// How its container ended last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
}

/// What a session has used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Seconds of egress, all egresses together.
    pub egress_seconds: i64,
    /// Seconds of audio that the speech service was sent.
    pub speech_seconds: i64,
    /// Speech sessions opened.
    pub speech_sessions: i64,
    /// Milliseconds of audio that were lost, each told by a gap event.
    pub audio_lost_ms: i64,
}
