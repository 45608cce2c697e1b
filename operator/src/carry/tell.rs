//! Events and metrics.

use super::Round;
use crate::api;
use crate::children;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::runtime::events::{Event, EventType};
use roomscribe_crds::condition::{self, ConditionType};
use roomscribe_crds::reason::Reason;
use roomscribe_plan::{EventKind, Plan};

/// The API's limit of an event's note, in bytes.
const MAX_NOTE: usize = 1000;

/// A log line (of a LiveKit that cannot be asked: its project's) and a Kubernetes event; one that cannot be written is no reason
/// to stop.
pub(super) async fn event(round: &Round<'_>, kind: EventKind, why: Reason, note: &str) {
    match kind {
        _ if why.is_of_the_project() => tracing::debug!(reason = why.as_str(), "{note}"),
        EventKind::Normal => tracing::info!(reason = why.as_str(), "{note}"),
        EventKind::Warning => tracing::warn!(reason = why.as_str(), "{note}"),
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
        tracing::warn!(reason = why.as_str(), %error, "an event could not be written");
    }
}

/// What people should know of a spec that is new: each generation is told of once, with the status that names it.
pub(super) async fn edits(round: &Round<'_>, plan: &Plan) {
    let session = &round.observed.session;
    let before = session.status.observed_generation;
    if before == session.generation || plan.status.observed_generation != session.generation {
        return;
    }
    let installation = round.context.installation();
    let left_out = children::refused_annotations(&round.session, &installation);
    if before.is_none() && !left_out.is_empty() {
        let note = format!("{}: {}", Reason::AnnotationsLeftOut.sentence(), left_out.join(", "));
        event(round, EventKind::Warning, Reason::AnnotationsLeftOut, &note).await;
    }
    let pods = round.context.pods.of(&session.id);
    let newest = pods.get().and_then(|pods| pods.iter().max_by_key(|seen| seen.pod.attempt));
    let made_of = newest.and_then(|seen| seen.made_of.as_deref()).unwrap_or_default();
    let waiting = children::for_the_next_pod(made_of, &round.session);
    if !waiting.is_empty() && plan.status.completed_at.is_none() {
        let note = format!("From the worker's next pod on: {}", waiting.join(", "));
        event(round, EventKind::Normal, Reason::NextPod, &note).await;
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
