//! Names, labels and the owner of a session's objects (contract §1).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use roomscribe_crds::TranscriptionSession;
use std::collections::BTreeMap;

/// The session that an object belongs to.
pub const SESSION_LABEL: &str = "roomscribe.io/session-uid";
/// The attempt that a pod was made for, or that a Service selects.
pub const ATTEMPT_LABEL: &str = "roomscribe.io/attempt";
/// `ingest.keyGeneration` that a pod was made for.
pub const KEY_GENERATION: &str = "roomscribe.io/key-generation";
/// Digests of the parts of the spec that a pod reads only when it is made.
pub const MADE_OF: &str = "roomscribe.io/made-of";
/// `Move` or `Never`: PodDisruptionBudgets select by it.
pub const DISRUPTION_LABEL: &str = "roomscribe.io/disruption";
/// Set to `true` by somebody who wants the resource gone whatever LiveKit says.
pub const FORCE_FINALIZE: &str = "roomscribe.io/force-finalize";
/// What server-side apply knows us as.
pub const MANAGER: &str = "roomscribe-operator";

/// The session id. Empty only for an object that no API server has seen.
pub fn id(session: &TranscriptionSession) -> &str {
    session.metadata.uid.as_deref().unwrap_or_default()
}

/// Name of Service and Secret: `ts-<name>`.
pub fn shared(session: &TranscriptionSession) -> String {
    format!("ts-{}", session.metadata.name.as_deref().unwrap_or_default())
}

/// Name of the worker pod of an attempt: `ts-<name>-<attempt>`.
pub fn pod(session: &TranscriptionSession, attempt: u32) -> String {
    format!("{}-{attempt}", shared(session))
}

/// Label selector of everything that belongs to a session.
pub fn selector(id: &str) -> String {
    format!("{SESSION_LABEL}={id}")
}

/// Labels of all of a session's objects.
pub fn labels(session: &TranscriptionSession) -> BTreeMap<String, String> {
    [
        (SESSION_LABEL, id(session)),
        ("app.kubernetes.io/name", "roomscribe"),
        ("app.kubernetes.io/component", "worker"),
        ("app.kubernetes.io/part-of", "roomscribe"),
        ("app.kubernetes.io/managed-by", MANAGER),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// Labels of a worker pod; the Service selects by them.
pub fn pod_labels(session: &TranscriptionSession, attempt: u32) -> BTreeMap<String, String> {
    let mut labels = labels(session);
    labels.insert(ATTEMPT_LABEL.to_owned(), attempt.to_string());
    labels
}

/// Metadata of a child: namespace and owner are the session's.
pub(super) fn metadata(
    session: &TranscriptionSession,
    name: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: session.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        owner_references: Some(vec![owner(session)]),
        ..ObjectMeta::default()
    }
}

fn owner(session: &TranscriptionSession) -> OwnerReference {
    OwnerReference {
        api_version: TranscriptionSession::api_version(&()).into_owned(),
        kind: TranscriptionSession::kind(&()).into_owned(),
        name: session.metadata.name.clone().unwrap_or_default(),
        uid: id(session).to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
