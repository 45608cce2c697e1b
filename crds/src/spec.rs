//! `spec`: what is asked for. The doc comments are what `kubectl explain` shows, so they speak to the person who writes
//! the YAML; each default is also the schema's default, so that `kubectl get -o yaml` shows what holds.

use crate::schemas;
use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One key of a Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self.key.matches('^[-._a-zA-Z0-9]+$')", "key: a Secret's key has letters, digits, '-', '_' and '.' only"),
)]
pub struct SecretKeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key inside the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Whether the session should be running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DesiredState {
    /// Transcribe until the room ends or a limit is reached.
    #[default]
    Running,
    /// Stop for good. A stopped session never runs again: make a new one.
    Stopped,
}

/// How audio reaches the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum CaptureMode {
    /// One Room Composite Egress; Track Egress by itself when that cannot work.
    #[default]
    Auto,
    /// One mixed RTMP stream from LiveKit, and nothing else.
    RoomComposite,
    /// One WebSocket stream per unmuted microphone, mixed in the worker.
    TrackEgress,
    /// No LiveKit: the session's RTMP URL is given to any publisher.
    Push,
}

/// How audio reaches the worker, and when to fall back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Capture {
    /// Auto, RoomComposite, TrackEgress or Push. Cannot be changed later.
    pub mode: CaptureMode,
    /// With Auto: seconds without audio, while somebody's microphone is open, before Track Egress is tried.
    #[schemars(range(min = 10, max = 3600))]
    pub fallback_after_seconds: i32,
}

impl Default for Capture {
    fn default() -> Self {
        Self { mode: CaptureMode::Auto, fallback_after_seconds: 60 }
    }
}

/// How port 1935 is reached from LiveKit's egress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Exposure {
    /// A Service of type LoadBalancer per session.
    #[default]
    LoadBalancer,
    /// LiveKit runs in this cluster.
    ClusterIP,
    /// A port of every node.
    NodePort,
    /// A host and port that somebody else forwards here.
    External,
}

/// A public address that is forwarded to the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalAddress {
    /// Host name or IP address that LiveKit's egress can reach.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = ("self.matches('^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$')", "external.host: give a host name or an IP address alone, without scheme, brackets or port"))]
    pub host: String,
    /// Public port; it may differ from 1935.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// RTMP over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngestTls {
    /// Secret of type kubernetes.io/tls of the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
}

/// Where the worker takes RTMP. Cannot be changed later, but for `keyGeneration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("(self.exposure == 'External') == has(self.external)", "external is needed with exposure External, and only then: give external.host and external.port, or choose another exposure"),
    validation = ("!has(self.loadBalancerClass) || self.exposure == 'LoadBalancer'", "loadBalancerClass belongs to exposure LoadBalancer: remove it, or choose LoadBalancer"),
    validation = ("size(self.sourceRanges) == 0 || self.exposure == 'LoadBalancer'", "sourceRanges belong to exposure LoadBalancer: remove them, or choose LoadBalancer"),
    validation = ("self.sourceRanges.all(range, isCIDR(range))", "sourceRanges: give CIDR ranges such as 203.0.113.0/24 or 2001:db8::/32; a single address is 203.0.113.7/32"),
    validation = ("!has(self.loadBalancerClass) || self.loadBalancerClass.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')", "loadBalancerClass: give the class as its load balancer's documentation writes it, for example service.k8s.aws/nlb"),
)]
pub struct Ingest {
    /// LoadBalancer, ClusterIP, NodePort or External.
    #[serde(default)]
    pub exposure: Exposure,
    /// With exposure External: the public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalAddress>,
    /// With exposure LoadBalancer: which implementation serves the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Annotations of the Service, for the cloud's load balancer; those that the installation does not allow are left out,
    /// and an event names them.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// With exposure LoadBalancer: CIDR ranges that may connect.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 64)))]
    pub source_ranges: Vec<String>,
    /// Seconds to wait for the load balancer's address.
    #[serde(default = "three_minutes")]
    #[schemars(range(min = 10, max = 3600))]
    pub address_timeout_seconds: i32,
    /// Present: RTMPS on the same port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<IngestTls>,
    /// With capture Push: raise it for a new stream key; the old key stops working.
    #[serde(default = "first_key")]
    #[x_kube(validation = ("self >= oldSelf", "keyGeneration can only be raised"))]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub key_generation: i32,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            exposure: Exposure::LoadBalancer,
            external: None,
            load_balancer_class: None,
            annotations: BTreeMap::new(),
            source_ranges: Vec::new(),
            address_timeout_seconds: three_minutes(),
            tls: None,
            key_generation: first_key(),
        }
    }
}

fn three_minutes() -> i32 {
    180
}

fn first_key() -> i32 {
    1
}

/// A word that the recogniser should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VocabularyEntry {
    /// As it is written.
    #[schemars(length(min = 1, max = 200))]
    pub value: String,
    /// As it may sound.
    #[serde(default)]
    #[schemars(length(max = 10), inner(length(min = 1, max = 200)))]
    pub pronunciations: Vec<String>,
}

/// What the speech service is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!has(self.apiUrl) || self.apiUrl.matches('^https?://[^[:space:]/?#@]+/?$')", "speech.apiUrl: give scheme and host, and a port if need be, without path or user: https://api.gladia.io"),
    validation = ("!has(self.region) || self.region.matches('^[a-z]+(-[a-z0-9]+)+$')", "speech.region: give a region of the speech service, such as us-west or eu-west, or leave it out"),
    validation = ("self.languages.all(language, language.matches('^([a-z]{2}|haw)$'))", "speech.languages: give ISO 639-1 codes, two small letters each, such as en or ru; an empty list lets the service detect the language"),
    validation = ("self.translateTo.all(language, language.matches('^([a-z]{2}|haw)$'))", "speech.translateTo: give ISO 639-1 codes, two small letters each, such as en or ru"),
)]
pub struct Speech {
    /// Base URL of a service that speaks Gladia's v2 live protocol; absent: what the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub api_url: Option<String>,
    /// Gladia's region, us-west or eu-west; absent: the service chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub region: Option<String>,
    /// API key of the speech service; absent: the operator's own. Needs credentials.perSession.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyReference>,
    /// ISO 639-1 codes; empty: the service detects the language.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 64)))]
    pub languages: Vec<String>,
    /// Detect the language of every utterance.
    #[serde(default)]
    pub code_switching: bool,
    /// Words that the recogniser should know.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub vocabulary: Vec<VocabularyEntry>,
    /// Languages that finals are translated to.
    #[serde(default)]
    #[schemars(length(max = 10), inner(length(max = 64)))]
    pub translate_to: Vec<String>,
    /// Milliseconds of silence that end an utterance.
    #[serde(default = "endpointing")]
    #[schemars(range(min = 10, max = 10_000))]
    pub endpointing_milliseconds: i32,
    /// Show utterances before they are final.
    #[serde(default = "yes")]
    pub partials: bool,
}

impl Default for Speech {
    fn default() -> Self {
        Self {
            api_url: None,
            region: None,
            secret_ref: None,
            languages: Vec::new(),
            code_switching: false,
            vocabulary: Vec::new(),
            translate_to: Vec::new(),
            endpointing_milliseconds: endpointing(),
            partials: yes(),
        }
    }
}

fn endpointing() -> i32 {
    300
}

fn yes() -> bool {
    true
}

/// Where speakers' names come from while the meeting runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum SpeakerSource {
    /// Lines have no speaker.
    None,
    /// LiveKit's active speakers, seen by a hidden participant.
    #[default]
    ActiveSpeakers,
}

/// What is done about speakers after the meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PostCall {
    /// Nothing.
    #[default]
    None,
    /// The recording goes through the speech service's diarization once more.
    Diarize,
}

/// Who spoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Speakers {
    /// None or ActiveSpeakers.
    pub source: SpeakerSource,
    /// None or Diarize.
    pub post_call: PostCall,
    /// Seconds that the pass after the meeting may take.
    #[schemars(range(min = 60, max = 86_400))]
    pub post_call_deadline_seconds: i32,
}

impl Default for Speakers {
    fn default() -> Self {
        Self {
            source: SpeakerSource::ActiveSpeakers,
            post_call: PostCall::None,
            post_call_deadline_seconds: 900,
        }
    }
}

/// Deadlines; each ends the session with a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Seconds until the session must be up, waiting for the room included.
    #[schemars(range(min = 10, max = 86_400))]
    pub start_deadline_seconds: i32,
    /// Seconds that a session may last.
    #[schemars(range(min = 60, max = 604_800))]
    pub max_duration_seconds: i32,
    /// Seconds that a room may stay empty.
    #[schemars(range(min = 0, max = 86_400))]
    pub room_empty_timeout_seconds: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { start_deadline_seconds: 600, max_duration_seconds: 43_200, room_empty_timeout_seconds: 300 }
    }
}

/// What a drain or an upgrade of the node may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Disruption {
    /// The session is moved to another pod without a gap.
    #[default]
    Move,
    /// The pod stays until the session ends.
    Never,
}

/// The worker pod.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// Requests and limits (`cpu: 100m`, `memory: 64Mi`; whole numbers with or without quotes); absent values: the operator's defaults.
    #[serde(default)]
    #[schemars(schema_with = "schemas::resources")]
    #[x_kube(
        validation = ("(!has(self.requests) || self.requests.all(name, isQuantity(string(self.requests[name])) && !quantity(string(self.requests[name])).isLessThan(quantity('0')))) && (!has(self.limits) || self.limits.all(name, isQuantity(string(self.limits[name])) && !quantity(string(self.limits[name])).isLessThan(quantity('0'))))", "worker.resources: write quantities as Kubernetes does, such as 100m of cpu and 64Mi of memory"),
        validation = ("!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || !isQuantity(string(self.requests[name])) || !isQuantity(string(self.limits[name])) || quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)", "worker.resources: a limit must be at least its request: raise the limit, or lower the request"),
        validation = schemas::memory(),
    )]
    pub resources: ResourceRequirements,
    /// Labels that the node must have.
    #[serde(default)]
    #[schemars(schema_with = "schemas::labels")]
    #[x_kube(
        validation = schemas::names("worker.nodeSelector: a label's"),
        validation = schemas::values("worker.nodeSelector: a label's"),
    )]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pod tolerates.
    #[serde(default)]
    #[schemars(schema_with = "schemas::tolerations")]
    #[x_kube(
        validation = ("self.all(t, !has(t.operator) || t.operator in ['', 'Exists', 'Equal'])", "worker.tolerations: operator is Exists or Equal"),
        validation = ("self.all(t, !has(t.effect) || t.effect in ['', 'NoSchedule', 'PreferNoSchedule', 'NoExecute'])", "worker.tolerations: effect is NoSchedule, PreferNoSchedule or NoExecute; leave it out for all of them"),
        validation = ("self.all(t, !(has(t.operator) && t.operator == 'Exists' && has(t.value) && t.value != ''))", "worker.tolerations: with operator Exists there is no value: remove it, or use Equal"),
        validation = ("self.all(t, (has(t.key) && t.key != '') || (has(t.operator) && t.operator == 'Exists'))", "worker.tolerations: give key; without key the operator must be Exists, which tolerates every taint"),
        validation = ("self.all(t, !has(t.tolerationSeconds) || (has(t.effect) && t.effect == 'NoExecute'))", "worker.tolerations: tolerationSeconds belongs to effect NoExecute"),
        validation = ("self.all(t, !has(t.key) || t.key == '' || t.key.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))", "worker.tolerations: key is a taint's key, such as example.com/media"),
    )]
    pub tolerations: Vec<Toleration>,
    /// Priority class; empty: the cluster's default.
    #[serde(default)]
    #[schemars(length(max = 253))]
    #[x_kube(validation = ("self == '' || self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')", "worker.priorityClassName: give the name of a PriorityClass: small letters, digits, '-' and '.'"))]
    pub priority_class_name: String,
    /// More labels of the pod; those that Roomscribe sets itself are not taken.
    #[serde(default)]
    #[schemars(schema_with = "schemas::labels")]
    #[x_kube(
        validation = schemas::names("worker.podLabels: a label's"),
        validation = schemas::values("worker.podLabels: a label's"),
        validation = schemas::own_labels(),
    )]
    pub pod_labels: BTreeMap<String, String>,
    /// More annotations of the pod; those that Roomscribe sets itself are not taken. Those of the session are not copied.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(
        validation = schemas::names("worker.podAnnotations: an annotation's"),
        validation = schemas::own_annotations(),
    )]
    pub pod_annotations: BTreeMap<String, String>,
    /// Move or Never.
    #[serde(default)]
    pub disruption: Disruption,
}
