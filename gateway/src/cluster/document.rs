//! A resource as the session document of contract §3. Pure.

use super::cache::Session;
use crate::sessions::{CaptureMode, IngestAddress, SessionDocument};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use roomscribe_crds::condition::{self, Condition, ConditionType};
use roomscribe_crds::stream_key::{Ingest, InstallKey, rtmp_url};
use roomscribe_crds::{CaptureMode as Asked, DesiredState, Summary, TranscriptionSession};
use serde_json::Value;
use std::cmp::Reverse;

/// Id and key of the installation (contract §2).
#[derive(Debug, Clone)]
pub struct Install {
    /// 8 hex digits.
    pub id: String,
    /// Session secrets are derived from it.
    pub key: InstallKey,
}

/// Did it end?
pub(super) fn is_finished(session: &TranscriptionSession) -> bool {
    session.status.as_ref().is_some_and(|status| status.completed_at.is_some())
}

/// It runs, and nobody has asked for its end.
pub(super) fn is_active(session: &TranscriptionSession) -> bool {
    !is_finished(session) && !is_to_end(session)
}

fn is_to_end(session: &TranscriptionSession) -> bool {
    session.metadata.deletion_timestamp.is_some() || session.spec.desired_state == DesiredState::Stopped
}

/// The document of a resource.
pub(super) fn of(session: &TranscriptionSession, install: &Install) -> SessionDocument {
    let status = session.status.clone().unwrap_or_default();
    let (state, reason, message) = words(session);
    let mode = status.capture.as_ref().map_or(session.spec.capture.mode, |capture| capture.mode);
    SessionDocument {
        id: session.uid().unwrap_or_default(),
        name: session.name_any(),
        namespace: session.namespace().unwrap_or_default(),
        room_name: session.spec.room_name.clone(),
        state,
        reason,
        message,
        capture_mode: capture_mode(mode),
        created_at: text(session.metadata.creation_timestamp.as_ref()).unwrap_or_default(),
        started_at: text(status.started_at.as_ref()),
        completed_at: text(status.completed_at.as_ref()),
        usage: serde_json::to_value(status.usage.unwrap_or_default()).unwrap_or(Value::Null),
        ingest: ingest(session, install),
    }
}

/// The document of a resource that is gone, as it was last: one that was deleted has ended as asked.
pub(super) fn of_gone(session: &TranscriptionSession, install: &Install, now: &Time) -> SessionDocument {
    let mut document = of(session, install);
    document.ingest = None;
    if !is_finished(session) {
        document.state = format!("{:?}", Summary::Succeeded);
        (document.reason, document.message) = ("Stopped".into(), String::new());
        document.completed_at = text(Some(now));
    }
    document
}

/// Newest first.
pub(super) fn sort(sessions: &mut [Session]) {
    sessions.sort_by_key(|session| Reverse(age(session)));
}

/// Older is less; uids part those of one second.
pub(super) fn age(session: &TranscriptionSession) -> (Option<k8s_openapi::jiff::Timestamp>, String) {
    let created = session.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (created, session.uid().unwrap_or_default())
}

/// Why a session ended: the reason of its `end`.
pub(super) fn end_reason(session: &TranscriptionSession) -> String {
    let succeeded = condition_of(session, ConditionType::Succeeded);
    let ended = succeeded.filter(|succeeded| is_finished(session) && !succeeded.reason.is_empty());
    ended.map_or_else(|| "Stopped".into(), |ended| ended.reason.clone())
}

fn words(session: &TranscriptionSession) -> (String, String, String) {
    let told = |summary: Summary, kind: ConditionType| {
        let told = condition_of(session, kind);
        let (reason, message) =
            told.map_or_else(Default::default, |told| (told.reason.clone(), told.message.clone()));
        (format!("{summary:?}"), reason, message)
    };
    let summary = session.status.as_ref().and_then(|status| status.summary);
    match summary {
        Some(summary) if is_finished(session) => told(summary, ConditionType::Succeeded),
        Some(Summary::Stopping) => told(Summary::Stopping, ConditionType::Ready),
        _ if is_to_end(session) => (
            format!("{:?}", Summary::Stopping),
            "StopRequested".into(),
            "Somebody asked for the end; the operator has not begun with it yet.".into(),
        ),
        Some(summary) => told(summary, ConditionType::Ready),
        None => (
            format!("{:?}", Summary::Pending),
            "Pending".into(),
            "The operator has not seen the session yet. If this stays: does it run, and does it watch this namespace?".into(),
        ),
    }
}

fn condition_of(session: &TranscriptionSession, kind: ConditionType) -> Option<&Condition> {
    condition::find(&session.status.as_ref()?.conditions, kind)
}

/// Only for Push, once the address is known; not while the operator has yet to answer a raised `keyGeneration`: the old key
/// is about to stop working.
fn ingest(session: &TranscriptionSession, install: &Install) -> Option<IngestAddress> {
    let status = session.status.as_ref()?;
    let address = status.ingest.as_ref()?;
    let answered = status.observed_generation == session.metadata.generation;
    let attempt = status.newest_attempt();
    if session.spec.capture.mode != Asked::Push || !answered || attempt == 0 || is_finished(session) {
        return None;
    }
    let port = u16::try_from(address.port).ok()?;
    let ingest = Ingest { tls: session.spec.ingest.tls.is_some(), host: &address.host, port };
    let url = rtmp_url(ingest, &install.id, &install.key, &session.uid()?, attempt);
    let (server, stream_key) = url.rsplit_once('/')?;
    Some(IngestAddress { server: server.to_owned(), stream_key: stream_key.to_owned(), url })
}

fn capture_mode(mode: Asked) -> CaptureMode {
    match mode {
        Asked::Auto => CaptureMode::Auto,
        Asked::RoomComposite => CaptureMode::RoomComposite,
        Asked::TrackEgress => CaptureMode::TrackEgress,
        Asked::Push => CaptureMode::Push,
    }
}

fn text(time: Option<&Time>) -> Option<String> {
    time.map(|time| time.0.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn session(spec: Value, status: Value) -> TranscriptionSession {
        serde_json::from_value(json!({
            "apiVersion": "roomscribe.io/v1alpha1",
            "kind": "TranscriptionSession",
            "metadata": {"name": "standup", "namespace": "meetings", "uid": "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000", "generation": 2, "creationTimestamp": "2026-11-26T10:00:00Z"},
            "spec": spec,
            "status": status,
        }))
        .unwrap()
    }

    fn document(spec: Value, status: Value) -> SessionDocument {
        of(&session(spec, status), &Install { id: "9f2c01ab".into(), key: InstallKey::new("install key") })
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "what to do", "lastTransitionTime": "2026-11-26T10:00:00Z"})
    }

    #[test]
    fn state_and_words_are_those_of_the_conditions() {
        let ready =
            [condition("Ready", "False", "WaitingForRoom"), condition("Succeeded", "Unknown", "Running")];
        let ended = [
            condition("Ready", "False", "Stopped"),
            condition("Succeeded", "False", "StartDeadlineExceeded"),
        ];
        let table = [
            (json!({"roomName": "a"}), Value::Null, "Pending", "Pending"),
            (
                json!({"roomName": "a"}),
                json!({"summary": "WaitingForRoom", "conditions": ready}),
                "WaitingForRoom",
                "WaitingForRoom",
            ),
            (
                json!({"roomName": "a", "desiredState": "Stopped"}),
                json!({"summary": "Live", "conditions": ready}),
                "Stopping",
                "StopRequested",
            ),
            (
                json!({"roomName": "a", "desiredState": "Stopped"}),
                json!({"summary": "Stopping", "conditions": ready}),
                "Stopping",
                "WaitingForRoom",
            ),
            (
                json!({"roomName": "a"}),
                json!({"summary": "Failed", "completedAt": "2026-11-26T10:10:00Z", "conditions": ended}),
                "Failed",
                "StartDeadlineExceeded",
            ),
        ];
        for (spec, status, state, reason) in table {
            let document = document(spec, status.clone());
            assert_eq!((document.state.as_str(), document.reason.as_str()), (state, reason), "{status}");
        }
    }

    #[test]
    fn a_push_session_has_its_address_once_the_operator_has_answered_its_newest_spec() {
        let status = |observed: u32| json!({"observedGeneration": observed, "attempt": 1, "ingest": {"host": "2001:db8::7", "port": 1935}});
        let push = json!({"roomName": "a", "capture": {"mode": "Push"}});
        let address = document(push.clone(), status(2)).ingest.unwrap();
        assert_eq!(
            address.server,
            "rtmp://[2001:db8::7]:1935/live/9f2c01ab/0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000.1"
        );
        assert_eq!(address.stream_key, "kDXEPVQsPKZCGUCg1krvnw");
        assert_eq!(address.url, format!("{}/{}", address.server, address.stream_key));
        assert_eq!(document(push, status(1)).ingest, None);
        assert_eq!(
            document(json!({"roomName": "a"}), status(2)).ingest,
            None,
            "LiveKit is told by the operator"
        );
    }

    #[test]
    fn a_resource_deleted_while_it_ran_has_ended_as_asked() {
        let install = Install { id: "9f2c01ab".into(), key: InstallKey::new("install key") };
        let gone = of_gone(
            &session(json!({"roomName": "a"}), json!({"summary": "Live"})),
            &install,
            &Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
        );
        assert_eq!((gone.state.as_str(), gone.reason.as_str()), ("Succeeded", "Stopped"));
        assert_eq!(gone.completed_at.as_deref(), Some("1970-01-01T00:00:00Z"));
    }
}
