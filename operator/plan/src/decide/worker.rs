//! The worker: pod and Service, replaced when they are lost, moved when they must leave.

use super::draft::Draft;
use super::{gate, refusal};
use crate::address;
use crate::observed::{Hearing, Known, LiveKitError, Pod, PodState, Secrets};
use crate::plan::Action;
use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::Disruption;
use roomscribe_crds::reason::Reason;

/// A worker that LiveKit can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listening<'a> {
    pub(super) pod: &'a Pod,
    /// When this process saw first that it listens and the Service selects it.
    pub(super) since: Timestamp,
}

/// Makes what is missing. `Some` when a worker listens behind an address.
pub(super) fn ensure<'a>(draft: &mut Draft<'a>) -> Option<Listening<'a>> {
    let Known::Known(_) = draft.observed.cluster.pods else {
        draft.wake_in(5);
        return None;
    };
    if refusal::holds(draft) {
        return None;
    }
    show_key(draft);
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
    if pod.state != PodState::Listening || !addressed {
        draft.memory.selected = None;
        return None;
    }
    let since = selected_since(draft, pod);
    draft.is_settled(since, draft.policy.start_settle_seconds).then_some(Listening { pod, since })
}

/// A container that has ended meanwhile was taken out of every node's rules.
fn selected_since(draft: &mut Draft<'_>, pod: &Pod) -> Timestamp {
    let key = (pod.attempt, pod.ends());
    let seen = draft.memory.selected.filter(|(selected, _)| *selected == key);
    draft.memory.selected.insert(seen.unwrap_or((key, draft.now))).1
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

/// It has to be replaced. One that still works goes on until its egress has been moved, as in a drain: nothing is lost.
fn lost(draft: &Draft<'_>, pod: &Pod) -> bool {
    let old_key = pod.key_generation < key_generation(draft);
    match &pod.state {
        PodState::Done | PodState::Failed(_) | PodState::NodeLost => true,
        PodState::NotListening => old_key || crashes(draft, pod),
        PodState::Listening => old_key || (crashes(draft, pod) && may_move(draft)),
        PodState::Pending(..) => old_key,
    }
}

/// Its next end would wait for the kubelet. A pod that was made after the ends is their cure.
fn crashes(draft: &Draft<'_>, pod: &Pod) -> bool {
    draft.policy.replaces_crashing_pods && draft.crash_loops() && pod.ends() >= 2
}

/// It is up again: first its egress is heard again, then both are moved frame by frame. A publisher (Push) cannot be moved, and
/// stays until the next end.
fn may_move(draft: &Draft<'_>) -> bool {
    let allowed = draft.observed.session.spec.worker.disruption == Disruption::Move;
    allowed && gate::needs_livekit(draft) && draft.is_heard()
}

fn key_generation(draft: &Draft<'_>) -> u32 {
    u32::try_from(draft.observed.session.spec.ingest.key_generation).unwrap_or(1)
}

/// With Push nothing but this makes an attempt: it is the stream key's, and it stays when a pod is replaced, because a
/// person has it in their encoder. A raised `keyGeneration` makes it that of the next pod, and older keys are refused.
fn show_key(draft: &mut Draft<'_>) {
    if gate::needs_livekit(draft) {
        return;
    }
    let key = draft.attempt();
    let newest = draft.pods().iter().max_by_key(|pod| pod.attempt);
    let raised = match newest {
        // Raised already, and the pod not made yet: the key is the newer.
        Some(pod) => pod.key_generation < key_generation(draft) && key <= pod.attempt,
        // No pod tells what the key was made for: a spec that has changed since the last plan may have raised it.
        None => {
            let (seen, is) = (draft.status.observed_generation, draft.observed.session.generation);
            key_generation(draft) > 1 && seen.is_some() && seen != is
        }
    };
    let key = match (key, raised) {
        (0, _) => 1,
        (key, true) => newest.map_or(key, |pod| pod.attempt) + 1,
        (key, false) => key,
    };
    if let Ok(key) = i32::try_from(key) {
        draft.status.attempt = Some(key);
    }
}

fn next_attempt(draft: &Draft<'_>) -> u32 {
    let newest = draft.pods().iter().map(|pod| pod.attempt).max().unwrap_or(0);
    let begun = if gate::needs_livekit(draft) { draft.attempt() + 1 } else { draft.attempt() };
    begun.max(newest + 1)
}

/// A new pod for the next attempt. The old one is deleted when it is of no use; one that leaves by itself (a drain) goes on
/// working until the egress has been moved.
fn replace(draft: &mut Draft<'_>, old: Option<&Pod>) {
    if draft.observed.gate.secrets.get().is_none_or(|secrets| !matches!(secrets, Secrets::Ready { .. })) {
        draft.wake_in(10);
        return;
    }
    // A refused key pays for nothing new; an egress that still runs needs its worker.
    let refused = draft.observed.livekit.error == Some(LiveKitError::CredentialsRefused);
    if refused && gate::needs_livekit(draft) && draft.live().is_empty() {
        draft.wake_in(30);
        return;
    }
    let attempt = next_attempt(draft);
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
    draft.memory.replaced = why(draft, old).or(draft.memory.replaced);
    // First: the successor may need its place in the namespace's quota, and a refused action ends the round.
    if let Some(pod) = old {
        draft.act(Action::DeletePod { name: pod.name.clone() }, reason_of(draft, pod));
    }
    draft.act(Action::EnsureWorker { attempt, selects }, Reason::Starting);
    draft.wake_in(5);
}

/// Why there is a new pod: the pod that is replaced, or the newest that leaves by itself. `None` for the first.
fn why(draft: &Draft<'_>, old: Option<&Pod>) -> Option<Reason> {
    let leaving = || draft.pods().iter().max_by_key(|pod| pod.attempt);
    let vanished = (draft.attempt() > 0).then_some(Reason::Terminating);
    old.or_else(leaving).map(|pod| reason_of(draft, pod)).or(vanished)
}

fn reason_of(draft: &Draft<'_>, pod: &Pod) -> Reason {
    match &pod.state {
        PodState::Failed(reason) => *reason,
        PodState::NodeLost => Reason::NodeLost,
        PodState::NotListening | PodState::Listening if draft.crash_loops() => Reason::CrashLooping,
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
