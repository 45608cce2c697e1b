//! A request as a resource, and which name it gets. Pure.

use super::cache::Session;
use super::document::{age, is_active};
use crate::sessions::{CreateSession, Once};
use kube::ResourceExt;
use roomscribe_crds::{TranscriptionSession, names};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Label: digest of who asked with which `Idempotency-Key`.
pub(super) const KEY_LABEL: &str = "roomscribe.io/idempotency-key";
/// Annotation: digest of that request.
pub(super) const BODY_ANNOTATION: &str = "roomscribe.io/idempotent-request";
/// Hex digits of a label's value; a label holds 63 characters.
const KEY_DIGITS: usize = 40;

/// The resource that is asked for.
pub(super) fn resource(request: &CreateSession, name: &str, namespace: &str, once: Option<&Once>) -> Value {
    // Requests have the resource's own field names (contract §3).
    let mut spec = serde_json::to_value(request).unwrap_or_default();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("name");
    }
    let mut metadata = json!({"name": name, "namespace": namespace});
    if let Some(once) = once {
        metadata["labels"] = json!({KEY_LABEL: key_value(once)});
        metadata["annotations"] = json!({BODY_ANNOTATION: once.body});
    }
    json!({"apiVersion": "roomscribe.io/v1alpha1", "kind": "TranscriptionSession", "metadata": metadata, "spec": spec})
}

/// The value of [`KEY_LABEL`].
pub(super) fn key_value(once: &Once) -> &str {
    once.key.get(..KEY_DIGITS).unwrap_or(&once.key)
}

/// Was this resource made by the same request?
pub(super) fn is_same(session: &TranscriptionSession, once: &Once) -> bool {
    session.annotations().get(BODY_ANNOTATION) == Some(&once.body)
}

/// The running session that the request asks for, of those with its room: the oldest, as the operator sees it.
pub(super) fn running<'a>(
    request: &CreateSession,
    namespace: &str,
    of_room: &'a [Session],
) -> Option<&'a Session> {
    let same = |session: &&Session| is_active(session) && is_same_project(request, namespace, session);
    of_room.iter().filter(same).min_by_key(|session| age(session))
}

/// One active session per LiveKit project and room: a project is the installation's own, or a Secret of a namespace.
fn is_same_project(request: &CreateSession, namespace: &str, session: &TranscriptionSession) -> bool {
    let asked = request.livekit_ref.as_ref().map(|asked| asked["name"].as_str().unwrap_or_default());
    let held = session.spec.livekit_ref.as_ref().map(|held| held.name.as_str());
    asked == held && (asked.is_none() || session.namespace().as_deref() == Some(namespace))
}

/// Names that finished sessions still hold in the namespace.
pub(super) fn taken(namespace: &str, of_room: &[Session]) -> HashSet<String> {
    let here = of_room.iter().filter(|session| session.namespace().as_deref() == Some(namespace));
    here.map(|session| session.name_any()).collect()
}

/// The name to try: as asked, or the first generated one that is free.
pub(super) fn name(request: &CreateSession, taken: &HashSet<String>) -> String {
    match &request.name {
        Some(name) => name.clone(),
        None => names::free(&names::generated(&request.room_name), |name| taken.contains(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomscribe_crds::TranscriptionSessionSpec;
    use std::sync::Arc;

    fn held(name: &str, uid: &str, livekit: Option<&str>) -> Session {
        let mut session = TranscriptionSession::new(name, TranscriptionSessionSpec::for_room("standup"));
        session.metadata.namespace = Some("meetings".into());
        session.metadata.uid = Some(uid.into());
        session.spec.livekit_ref = livekit.map(|name| roomscribe_crds::LocalReference { name: name.into() });
        Arc::new(session)
    }

    fn request(extra: Value) -> CreateSession {
        let mut body = json!({"roomName": "standup"});
        if let (Some(body), Value::Object(extra)) = (body.as_object_mut(), extra) {
            body.extend(extra);
        }
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn every_field_of_a_request_is_in_the_resource_and_its_name_in_the_metadata() {
        let asked = json!({"name": "a", "worker": {"disruption": "Never"}, "ingest": {"exposure": "ClusterIP"}, "livekitRef": {"name": "l"}, "speakers": {"source": "None"}, "speech": {"region": "eu-west"}, "ttlSecondsAfterFinished": 5});
        let once = Once { key: "k".repeat(64), body: "b".into() };
        let made = resource(&request(asked), "a", "meetings", Some(&once));
        assert_eq!(made["metadata"]["labels"][KEY_LABEL], "k".repeat(40));
        let spec: TranscriptionSessionSpec = serde_json::from_value(made["spec"].clone()).unwrap();
        assert_eq!(spec.room_name, "standup");
        assert_eq!(spec.worker.disruption, roomscribe_crds::Disruption::Never);
        assert_eq!(spec.speech.region.as_deref(), Some("eu-west"));
        assert_eq!((spec.ttl_seconds_after_finished, spec.livekit_ref.unwrap().name), (5, "l".into()));
        assert_eq!(made["spec"]["name"], Value::Null);
    }

    #[test]
    fn the_oldest_active_session_of_the_project_is_the_running_one() {
        let (own, other) = (held("standup", "1", None), held("standup-2", "2", Some("livekit-b")));
        let mut stopping = (*held("standup-3", "0", None)).clone();
        stopping.spec.desired_state = roomscribe_crds::DesiredState::Stopped;
        let all = [other, Arc::new(stopping), own, held("standup-4", "4", None)];
        let found =
            |extra: Value| running(&request(extra), "meetings", &all).map(|session| session.name_any());
        assert_eq!(found(json!({})).as_deref(), Some("standup"));
        assert_eq!(found(json!({"livekitRef": {"name": "livekit-b"}})).as_deref(), Some("standup-2"));
        assert_eq!(found(json!({"livekitRef": {"name": "livekit-c"}})), None);
    }

    #[test]
    fn a_generated_name_passes_over_those_of_finished_sessions() {
        let generated = names::generated("standup");
        let held = [held(&generated, "1", None)];
        assert_eq!(name(&request(json!({})), &taken("meetings", &held)), format!("{generated}-2"));
        assert_eq!(name(&request(json!({})), &taken("elsewhere", &held)), generated);
        assert_eq!(name(&request(json!({"name": "mine"})), &taken("meetings", &held)), "mine");
    }
}
