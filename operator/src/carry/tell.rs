//! Events and metrics.

use super::Round;
use crate::api;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};
use roomscribe_crds::condition::{self, ConditionType};
use roomscribe_crds::reason::Reason;
use roomscribe_plan::{EventKind, Plan};

/// The API's limit of an event's note, in bytes.
const MAX_NOTE: usize = 1000;

/// A log line and a Kubernetes event; one that cannot be written is no reason to stop.
pub(super) async fn event(round: &Round<'_>, kind: EventKind, why: Reason, note: &str) {
    let (namespace, name) = (round.namespace(), round.session.name_any());
    match kind {
        EventKind::Normal => tracing::info!(namespace, name, reason = why.as_str(), "{note}"),
        EventKind::Warning => tracing::warn!(namespace, name, reason = why.as_str(), "{note}"),
    }
    let type_ = match kind {
        EventKind::Normal => EventType::Normal,
        EventKind::Warning => EventType::Warning,
    };
    let mut end = note.len().min(MAX_NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    let event = Event {
        type_,
        reason: why.as_str().into(),
        note: Some(note[..end].to_owned()),
        action: "Reconcile".into(),
        secondary: None,
    };
    let reference: ObjectReference = round.session.object_ref(&());
    let call = async { round.context.recorder.publish(&event, &reference).await };
    if let Err(error) = api::bounded("write an event", call).await {
        tracing::warn!(session = round.observed.session.id, reason = why.as_str(), %error, "an event could not be written");
    }
}

/// Seconds from creation to each condition's first True.
pub(super) fn steps(round: &Round<'_>, plan: &Plan) {
    let before = &round.observed.session.status;
    let seconds = Timestamp::now().duration_since(round.observed.session.created_at).as_secs_f64();
    let first = before.started_at.is_none() && before.attempt.unwrap_or(0) <= 1;
    for kind in [
        ConditionType::WorkerReady,
        ConditionType::IngestReady,
        ConditionType::EgressActive,
        ConditionType::Ready,
    ] {
        let now_true = condition::is_true(&plan.status.conditions, kind)
            && !condition::is_true(&before.conditions, kind);
        if now_true && first {
            let step = crate::metrics::StepLabel { step: kind.as_str() };
            round.context.metrics.start_seconds.get_or_create(&step).observe(seconds);
        }
    }
}
