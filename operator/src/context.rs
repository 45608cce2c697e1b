//! What every round of this process shares.

use crate::cells::Cells;
use crate::children::Installation;
use crate::credentials::Vault;
use crate::index::Index;
use crate::metrics::Metrics;
use crate::observe::gate::Facts;
use crate::wake::Router;
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::ObjectRef;
use roomscribe_crds::TranscriptionSession;
use roomscribe_plan::Policy;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// A pod as far as we care.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenPod {
    /// For the plan.
    pub pod: roomscribe_plan::Pod,
    /// `IP:PORT` of its status page, once it has an address.
    pub status_address: Option<String>,
    /// Address of its node.
    pub host_ip: Option<String>,
    /// What of the spec it was made of.
    pub made_of: Option<String>,
    /// Image of its container.
    pub image: Option<String>,
}

/// A session as others see it.
#[derive(Debug, Clone)]
pub struct SeenSession {
    /// For room and queue.
    pub facts: Facts,
    /// To wake it.
    pub object: ObjectRef<TranscriptionSession>,
    /// `status.summary`.
    pub state: String,
    /// `status.capture.mode`.
    pub mode: String,
    /// Its status has `completedAt`.
    pub finished: bool,
    /// It waits for a room or for its place in the queue.
    pub waits: bool,
}

/// See the module's documentation.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The workers.
    pub http: reqwest::Client,
    /// What children are made from.
    pub installation: Mutex<Arc<Installation>>,
    /// LiveKit projects and keys.
    pub vault: Vault,
    /// Per session.
    pub cells: Cells,
    /// Pods by session.
    pub pods: Index<SeenPod>,
    /// Services by session.
    pub services: Index<Arc<Service>>,
    /// Sessions by uid.
    pub sessions: Index<SeenSession>,
    /// Sessions that this process has let begin, before the watch shows it.
    pub begun: Mutex<HashSet<String>>,
    /// The installation has new keys.
    pub renewed: Notify,
    /// Speech sessions at a time.
    pub max_concurrent: Option<u32>,
    /// What the installation has chosen.
    pub policy: Policy,
    /// Plan again.
    pub wakes: Arc<Router>,
    /// Kubernetes events.
    pub recorder: Recorder,
    /// Counters.
    pub metrics: Metrics,
}

impl Context {
    /// What children are made from, with the newest keys.
    pub fn installation(&self) -> Arc<Installation> {
        crate::cells::lock(&self.installation).clone()
    }

    /// A session as room and queue see it. `project`: its LiveKit project, once its Secrets have been read.
    pub fn facts(&self, session: &TranscriptionSession, project: Option<&str>) -> Option<Facts> {
        let namespace = session.metadata.namespace.as_deref().unwrap_or_default();
        let unread = || match &session.spec.livekit_ref {
            None => self.vault.own_project(),
            Some(reference) => format!("{namespace}/{}", reference.name),
        };
        Facts::of(session, project.map_or_else(unread, str::to_owned))
    }
}
