//! A worker pod.

use crate::children::names::{ATTEMPT_LABEL, KEY_GENERATION};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateWaiting, ContainerStatus, Pod, PodStatus};
use k8s_openapi::jiff::Timestamp;
use roomscribe_crds::reason::Reason;
use roomscribe_plan::{ContainerExit, PodState};

/// Longest text of the scheduler or the kubelet that goes on.
const MAX_TEXT: usize = 512;

/// `None` for a pod that is not one of ours: without name, uid or a readable attempt label.
pub fn pod(pod: &Pod) -> Option<roomscribe_plan::Pod> {
    let (metadata, nothing) = (&pod.metadata, PodStatus::default());
    let status = pod.status.as_ref().unwrap_or(&nothing);
    let container = status.container_statuses.iter().flatten().find(|container| container.name == "worker");
    let over = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    Some(roomscribe_plan::Pod {
        name: metadata.name.clone()?,
        uid: metadata.uid.clone()?,
        attempt: metadata.labels.as_ref()?.get(ATTEMPT_LABEL)?.parse().ok()?,
        key_generation: key_generation(pod),
        created_at: metadata.creation_timestamp.as_ref().map(|time| time.0),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        state: state(status, container),
        // A pod that is over already does not leave: it is there until somebody deletes it.
        leaving: metadata.deletion_timestamp.is_some() || (is(status, "DisruptionTarget") && !over),
        ends_at: metadata.deletion_timestamp.as_ref().map(|time| time.0),
        container_started_at: container.and_then(started_at),
        restarts: container.and_then(|container| u32::try_from(container.restart_count).ok()).unwrap_or(0),
        last_exit: container.and_then(last_exit),
    })
}

/// Pods of an operator that did not write it were made for the first.
fn key_generation(pod: &Pod) -> u32 {
    let written = pod.metadata.annotations.as_ref().and_then(|all| all.get(KEY_GENERATION));
    written.and_then(|written| written.parse().ok()).unwrap_or(1)
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a str> {
    let found = status.conditions.iter().flatten().find(|condition| condition.type_ == kind)?;
    Some(&found.status)
}

fn is(status: &PodStatus, kind: &str) -> bool {
    condition(status, kind) == Some("True")
}

fn state(status: &PodStatus, container: Option<&ContainerStatus>) -> PodState {
    match status.phase.as_deref() {
        Some("Succeeded") => return PodState::Done,
        Some("Failed") => return failed(status),
        _ => {}
    }
    if node_is_lost(status) {
        return PodState::NodeLost;
    }
    match container.and_then(|container| Some((container, container.state.as_ref()?))) {
        Some((container, ContainerState { running: Some(_), .. })) if container.ready => PodState::Listening,
        Some((_, ContainerState { running: Some(_), .. })) => PodState::NotListening,
        Some((_, ContainerState { terminated: Some(end), .. })) if end.exit_code == 0 => PodState::Done,
        Some((_, ContainerState { terminated: Some(_), .. })) => PodState::NotListening,
        Some((_, ContainerState { waiting: Some(waiting), .. })) => waits(waiting),
        _ => unscheduled(status),
    }
}

/// The kubelet sets Ready and ContainersReady together, and our pods have no readiness gates: Ready=False beside
/// ContainersReady=True is the node controller's mark on the pods of a node that does not answer (seen so on Kubernetes 1.34;
/// the deletion by taint follows later, and hangs for as long as the node is away).
fn node_is_lost(status: &PodStatus) -> bool {
    let marked = condition(status, "Ready") == Some("False") && is(status, "ContainersReady");
    marked || condition(status, "Ready") == Some("Unknown") || status.reason.as_deref() == Some("NodeLost")
}

/// A container that does not run, by the kubelet's word.
fn waits(waiting: &ContainerStateWaiting) -> PodState {
    let text = text(waiting.message.as_deref());
    match waiting.reason.as_deref().unwrap_or_default() {
        "CrashLoopBackOff" => PodState::NotListening,
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => PodState::Pending(Reason::ImagePullFailed, text),
        "CreateContainerConfigError" if text.contains("couldn't find key") => {
            PodState::Pending(Reason::SecretKeyMissing, text)
        }
        "CreateContainerConfigError" if text.contains("not found") => {
            PodState::Pending(Reason::SecretNotFound, text)
        }
        _ => PodState::Pending(Reason::PodPending, text),
    }
}

fn unscheduled(status: &PodStatus) -> PodState {
    let scheduled = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    match scheduled.filter(|condition| condition.status == "False") {
        Some(condition) if condition.reason.as_deref() == Some("Unschedulable") => {
            PodState::Pending(Reason::Unschedulable, text(condition.message.as_deref()))
        }
        _ => PodState::Pending(Reason::PodPending, text(status.message.as_deref())),
    }
}

/// With restartPolicy OnFailure a pod fails by the node's doing only.
fn failed(status: &PodStatus) -> PodState {
    let word = status.reason.as_deref().unwrap_or_default();
    PodState::Failed(match word {
        "NodeLost" => Reason::NodeLost,
        // The kubelet's admission: the node could not take it after all.
        "NodeAffinity" | "UnexpectedAdmissionError" => Reason::Unschedulable,
        word if word.starts_with("OutOf") => Reason::Unschedulable,
        _ => Reason::Evicted,
    })
}

fn started_at(container: &ContainerStatus) -> Option<Timestamp> {
    Some(container.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0)
}

/// The newest end: of the container that is there, or of the one before it.
fn last_exit(container: &ContainerStatus) -> Option<ContainerExit> {
    let ended = |state: &Option<ContainerState>| state.as_ref().and_then(|state| state.terminated.clone());
    let end = ended(&container.state).or_else(|| ended(&container.last_state))?;
    Some(ContainerExit {
        code: end.exit_code,
        words: last_words(end.message.as_deref().unwrap_or_default()),
        reason: end.reason.unwrap_or_default(),
        at: end.finished_at?.0,
    })
}

/// The line with which the program itself ends, or what the runtime says of a program that it cannot start. Lines of its log
/// stay where they are.
fn last_words(message: &str) -> String {
    let last = message.trim_end().lines().next_back().unwrap_or_default();
    let is_log = last.starts_with('{');
    let said = last.strip_prefix("roomscribe-worker: ").unwrap_or(last);
    text(Some(said).filter(|_| !is_log))
}

fn text(text: Option<&str>) -> String {
    text.unwrap_or_default().chars().take(MAX_TEXT).collect()
}
