//! What an operator was installed with, as far as the children show it.

use crate::stream_key::InstallKey;
use k8s_openapi::api::core::v1::{LocalObjectReference, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::fmt;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the object or request that it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One installation of the operator.
#[derive(Debug, Clone)]
pub struct Installation {
    /// 8 hex, in every RTMP URL.
    pub install: String,
    /// Session secrets come from it.
    pub key: InstallKey,
    /// The worker pod.
    pub worker: WorkerDefaults,
    /// The speech service.
    pub speech: SpeechDefaults,
    /// The Service.
    pub ingest: IngestDefaults,
    /// Where the transcript goes.
    pub log: LogSettings,
}

/// The worker pod, where the session does not say otherwise.
#[derive(Debug, Clone)]
pub struct WorkerDefaults {
    /// Image; its entry point is `roomscribe-worker`.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`; `None`: the cluster's default.
    pub image_pull_policy: Option<String>,
    /// Secrets of the session's namespace.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Requests and limits.
    pub resources: ResourceRequirements,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_seconds: u32,
    /// `RUST_LOG` of the worker.
    pub log_filter: String,
    /// Limit of the pod's own folder (log and spool).
    pub data_size_limit: Quantity,
}

impl WorkerDefaults {
    /// The defaults of `image`.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            resources: measured(),
            grace_seconds: 90,
            log_filter: "info".into(),
            data_size_limit: Quantity("256Mi".into()),
        }
    }
}

/// From docs/benchmarks.md, "Ingest": a live session takes 14 CPU-seconds an hour (0.4 % of a core) and 11 MB at its peak.
/// Requests: 20m is five times that, for bursts at the start of a publish and after an outage; 32Mi holds the 3.8 MB of PCM
/// that an outage of the speech service keeps (120 s), twice for the spool's page cache. Limit: four times the request,
/// because an OOM kill costs a meeting and an idle limit costs nothing. No CPU limit: throttling delays audio.
fn measured() -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect())
    };
    ResourceRequirements {
        requests: quantities(&[("cpu", "20m"), ("memory", "32Mi")]),
        limits: quantities(&[("memory", "128Mi")]),
        ..ResourceRequirements::default()
    }
}

/// The speech service, where the session does not say otherwise.
#[derive(Debug, Clone, Default)]
pub struct SpeechDefaults {
    /// Base URL; `None`: the worker's own default.
    pub api_url: Option<String>,
    /// Gladia's region.
    pub region: Option<String>,
    /// API key; `None` for a service that needs none.
    pub api_key: Option<Secret>,
}

/// The Service, where the session does not say otherwise.
#[derive(Debug, Clone)]
pub struct IngestDefaults {
    /// Annotations of every Service, under those of the session.
    pub annotations: BTreeMap<String, String>,
    /// A session may set annotations whose name begins with one of these.
    pub annotation_prefixes: Vec<String>,
    /// With exposure NodePort: a host that reaches the nodes; `None`: the IP address of the pod's node.
    pub node_port_host: Option<String>,
    /// Services of type LoadBalancer take node ports, two each. Many load balancers reach pods without them.
    pub load_balancer_node_ports: bool,
}

impl Default for IngestDefaults {
    fn default() -> Self {
        Self {
            annotations: BTreeMap::new(),
            annotation_prefixes: CLOUD_PREFIXES.iter().map(|prefix| (*prefix).to_owned()).collect(),
            node_port_host: None,
            load_balancer_node_ports: true,
        }
    }
}

/// Annotations that load balancer controllers and external-dns read of a Service.
const CLOUD_PREFIXES: &[&str] = &[
    "cloud.google.com/",
    "external-dns.alpha.kubernetes.io/",
    "io.cilium/",
    "lbipam.cilium.io/",
    "load-balancer.hetzner.cloud/",
    "loadbalancer.openstack.org/",
    "metallb.io/",
    "metallb.universe.tf/",
    "networking.gke.io/",
    "oci.oraclecloud.com/",
    "service.beta.kubernetes.io/",
    "service.kubernetes.io/",
];

/// Where the transcript goes.
#[derive(Debug, Clone, Default)]
pub struct LogSettings {
    /// `None`: a folder of the pod.
    pub nats: Option<NatsSettings>,
}

/// NATS with JetStream.
#[derive(Debug, Clone)]
pub struct NatsSettings {
    /// Servers, separated by commas; no password in it.
    pub url: String,
    /// Content of a credentials file.
    pub creds: Option<Secret>,
    /// Servers that keep a copy.
    pub replicas: u8,
    /// Days that a transcript is kept after its last event.
    pub retention_days: u16,
}

impl LogSettings {
    /// Content of the NATS credentials file.
    pub(super) fn creds(&self) -> Option<&Secret> {
        self.nats.as_ref()?.creds.as_ref()
    }

    /// The transcript outlives its pod.
    pub fn is_durable(&self) -> bool {
        self.nats.is_some()
    }
}
