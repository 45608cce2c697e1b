//! The worker: pod and Service, replaced when they are lost, moved when they must leave.

use super::draft::Draft;
use super::gate;
use crate::address;
use crate::observed::{Hearing, Known, Pod, PodState, Secrets, SpeechState};
use crate::plan::Action;
use roomscribe_crds::Disruption;
use roomscribe_crds::condition::{ConditionType, Verdict};
use roomscribe_crds::reason::Reason;

/// A worker that LiveKit can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listening<'a> {
    pub(super) pod: &'a Pod,
}

/// Makes what is missing. `Some` when a worker listens behind an address.
pub(super) fn ensure<'a>(draft: &mut Draft<'a>) -> Option<Listening<'a>> {
    let Known::Known(_) = draft.observed.cluster.pods else {
        draft.wake_in(5);
        return None;
    };
    if rejected(draft) {
        return None;
    }
    let pod = match draft.pod() {
        Some(pod) if !lost(draft, pod) => pod,
        leaving => {
            replace(draft, leaving);
            return None;
        }
    };
    clear_out(draft, pod);
    let selects = selected(draft, pod);
    let service = draft.observed.cluster.service.get().and_then(Option::as_ref);
    if service.is_none_or(|service| service.selects != selects && !service.leaving) {
        draft.act(Action::EnsureWorker { attempt: pod.attempt, selects }, Reason::Starting);
    }
    let addressed = service
        .is_some_and(|service| service.address.is_some() && service.selects == pod.attempt)
        && only_ours(draft).is_none();
    if !addressed {
        draft.wake_in(10);
    }
    (pod.state == PodState::Listening && addressed).then_some(Listening { pod })
}

/// The host, when LiveKit is elsewhere and would be told an address that only this machine can reach.
pub(super) fn only_ours<'a>(draft: &Draft<'a>) -> Option<&'a str> {
    let (host, _) = draft.observed.cluster.service.get()?.as_ref()?.address.as_ref()?;
    let elsewhere = draft.observed.gate.livekit_is_public && gate::needs_livekit(draft);
    (elsewhere && address::only_this_machine(host)).then_some(host)
}

/// The Service goes on selecting the old pod until the new one listens: live connections stay with the old one anyway.
fn selected(draft: &Draft<'_>, pod: &Pod) -> u32 {
    let now = draft.observed.cluster.service.get().and_then(Option::as_ref).map(|service| service.selects);
    match now {
        Some(old)
            if pod.state != PodState::Listening && draft.pods().iter().any(|pod| pod.attempt == old) =>
        {
            old
        }
        _ => pod.attempt,
    }
}

fn lost(draft: &Draft<'_>, pod: &Pod) -> bool {
    match &pod.state {
        PodState::Done | PodState::Failed(_) | PodState::NodeLost => true,
        // A pod that was made after the exits is their cure.
        PodState::NotListening => pod.restarts >= 2 && draft.crash_loops(),
        PodState::Pending(..) | PodState::Listening => false,
    }
}

/// A new pod for the next attempt. The old one is deleted when it is of no use; one that leaves by itself (a drain) goes on
/// working until the egress has been moved.
fn replace(draft: &mut Draft<'_>, old: Option<&Pod>) {
    if draft.observed.gate.secrets.get().is_none_or(|secrets| !matches!(secrets, Secrets::Ready { .. })) {
        draft.wake_in(10);
        return;
    }
    let newest = draft.pods().iter().map(|pod| pod.attempt).max().unwrap_or(0);
    let attempt = (draft.attempt() + 1).max(newest + 1);
    let waiting = draft.observed.session.spec.worker.disruption == Disruption::Never
        && draft.pods().iter().any(|pod| pod.leaving && pod.state == PodState::Listening);
    if waiting {
        draft.wake_in(10);
        return;
    }
    let selects = match draft.observed.cluster.service.get().and_then(Option::as_ref) {
        Some(service)
            if draft
                .pods()
                .iter()
                .any(|pod| pod.attempt == service.selects && pod.state == PodState::Listening) =>
        {
            service.selects
        }
        _ => attempt,
    };
    // First: the successor may need its place in the namespace's quota, and a refused action ends the round.
    if let Some(pod) = old {
        draft.act(Action::DeletePod { name: pod.name.clone() }, reason_of(pod));
    }
    draft.act(Action::EnsureWorker { attempt, selects }, Reason::Starting);
    draft.wake_in(5);
}

fn reason_of(pod: &Pod) -> Reason {
    match &pod.state {
        PodState::Failed(reason) => *reason,
        PodState::NodeLost => Reason::NodeLost,
        PodState::NotListening => Reason::CrashLooping,
        _ => Reason::Terminating,
    }
}

/// Older pods go once the new one is heard; a pod on a lost node goes at once.
fn clear_out(draft: &mut Draft<'_>, current: &Pod) {
    let heard = matches!(draft.hearing(), Some(Hearing::Publishing(attempt)) if attempt >= current.attempt);
    for pod in draft.pods() {
        let useless =
            pod.attempt < current.attempt && !pod.leaving && (heard || pod.state != PodState::Listening);
        // Its deletion waits for a kubelet that does not answer: the second one, without grace, does not.
        let hangs = pod.leaving && pod.state == PodState::NodeLost;
        if useless || hangs {
            draft.act(Action::DeletePod { name: pod.name.clone() }, Reason::Terminating);
        }
    }
}

/// The speech service refused key or options: nothing is kept running until somebody has changed them.
pub(super) fn rejected(draft: &mut Draft<'_>) -> bool {
    let version = match draft.observed.gate.secrets.get() {
        Some(Secrets::Ready { version }) => *version,
        _ => 0,
    };
    let refused = match draft.observed.worker.as_ref().map(|report| &report.speech) {
        Some(SpeechState::Refused(reason)) => Some(*reason),
        _ => exit_78(draft),
    };
    match (refused, draft.memory.rejected_version) {
        (None, None) => false,
        (Some(_), Some(before)) if before != version => {
            draft.memory.rejected_version = None;
            if let Some(pod) = draft.pod() {
                draft.act(Action::DeletePod { name: pod.name.clone() }, Reason::CredentialsRejected);
            }
            draft.wake_in(5);
            true
        }
        (None, Some(before)) if before != version => {
            draft.memory.rejected_version = None;
            false
        }
        (reason, before) => {
            let reason = reason.unwrap_or(Reason::CredentialsRejected);
            draft.memory.rejected_version = Some(before.unwrap_or(version));
            for egress in draft.live() {
                super::egress::stop(draft, &egress.id, reason);
            }
            draft.memory.intent = None;
            draft.set(ConditionType::Transcribing, Verdict::False, reason, &reason.sentence());
            draft.egress_word = (Verdict::False, reason, reason.sentence());
            draft.wake_in(30);
            true
        }
    }
}

fn exit_78(draft: &Draft<'_>) -> Option<Reason> {
    let exit = draft.pod()?.last_exit.as_ref()?;
    (exit.code == 78 && draft.pod()?.state != PodState::Listening).then_some(Reason::CredentialsRejected)
}
