//! What every round of this process shares.

use crate::cells::Cells;
use crate::children::Installation;
use crate::credentials::Vault;
use crate::index::Index;
use crate::metrics::Metrics;
use crate::observe::gate::Facts;
use crate::wake::Router;
use kube::Client;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::ObjectRef;
use k8s_openapi::api::core::v1::Service;
use roomscribe_crds::TranscriptionSession;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// A pod as far as we care.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenPod {
    /// For the plan.
    pub pod: roomscribe_plan::Pod,
    /// `IP:PORT` of its status page, once it has an address.
    pub status_address: Option<String>,
    /// Address of its node.
    pub host_ip: Option<String>,
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
    pub installation: Installation,
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
    /// Speech sessions at a time; 0: no limit.
    pub max_concurrent: u32,
    /// With exposure NodePort.
    pub node_port_host: Option<String>,
    /// Plan again.
    pub wakes: Arc<Router>,
    /// Kubernetes events.
    pub recorder: Recorder,
    /// Counters.
    pub metrics: Metrics,
}

impl Context {
    /// A session as room and queue see it. `project`: empty while its Secrets have not been read.
    pub fn facts(&self, session: &TranscriptionSession, project: &str) -> Facts {
        let observed = crate::observe::session(session);
        let reference = session.spec.livekit_ref.as_ref().map(|reference| reference.name.as_str());
        let unread = || match reference {
            None => "own".to_owned(),
            Some(name) => format!("{}/{name}", session.metadata.namespace.as_deref().unwrap_or_default()),
        };
        let project = if project.is_empty() { unread() } else { project.to_owned() };
        let accepted = roomscribe_crds::condition::is_true(&observed.status.conditions, roomscribe_crds::condition::ConditionType::Accepted);
        Facts {
            id: observed.id,
            name: session.metadata.name.clone().unwrap_or_default(),
            project,
            room: session.spec.room_name.clone(),
            created_at: observed.created_at,
            begun: accepted || observed.status.attempt.is_some(),
            over: observed.status.completed_at.is_some(),
        }
    }
}
