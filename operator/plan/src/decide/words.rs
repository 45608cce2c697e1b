//! Each condition's word: verdict, reason, message.

use super::draft::Draft;
use super::{refusal, worker};
use crate::observed::{Known, PodState, SpeechState};
use roomscribe_crds::Exposure;
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;

pub(super) type Word = (Verdict, Reason, String);

fn word(verdict: Verdict, reason: Reason) -> Word {
    let message = if verdict == Verdict::True { String::new() } else { reason.sentence() };
    (verdict, reason, message)
}

pub(super) fn worker(draft: &Draft<'_>) -> Word {
    if refusal::is_waiting(draft) {
        return refusal::word(draft).unwrap_or_else(|| word(Verdict::False, Reason::CredentialsRejected));
    }
    // It runs, and says what it waits for.
    let is_starting = draft.pod().is_some_and(|pod| pod.state == PodState::NotListening);
    if is_starting && let Some(waits) = trouble(draft) {
        return waits;
    }
    match draft.pod().map(|pod| &pod.state) {
        // The kubelet finds it well, and it answers nobody else.
        Some(PodState::Listening) if draft.observed.worker.is_none() && !draft.worker_is_unasked() => {
            word(Verdict::Unknown, Reason::WorkerUnreachable)
        }
        None if draft.observed.cluster.refused.is_some() => refused(draft),
        None if !draft.pods().is_empty() => word(Verdict::False, leaves(draft)),
        Some(PodState::Listening) => word(Verdict::True, Reason::Listening),
        Some(PodState::Pending(reason, text)) if text.is_empty() => word(Verdict::False, *reason),
        Some(PodState::Pending(reason, text)) => (Verdict::False, *reason, text.clone()),
        Some(PodState::Failed(reason)) => word(Verdict::False, *reason),
        Some(PodState::NodeLost) => word(Verdict::False, Reason::NodeLost),
        Some(PodState::NotListening) if draft.crash_loops() => ended(draft, Reason::CrashLooping),
        // Its status port does not answer the kubelet: it hangs.
        Some(PodState::NotListening) if draft.worker_had_time() => {
            word(Verdict::False, Reason::WorkerUnreachable)
        }
        Some(PodState::NotListening) if draft.pod().is_some_and(|pod| pod.last_exit.is_some()) => {
            ended(draft, Reason::WorkerRestarting)
        }
        Some(PodState::NotListening | PodState::Done) | None => word(Verdict::False, Reason::PodPending),
    }
}

/// Why a worker that answers cannot do its work, in its own words.
fn trouble(draft: &Draft<'_>) -> Option<Word> {
    let report = draft.observed.worker.as_ref()?;
    let reason = report.trouble?;
    Some((Verdict::False, reason, report.last_error.clone().unwrap_or_else(|| reason.sentence())))
}

/// Its container ended: with what words.
fn ended(draft: &Draft<'_>, reason: Reason) -> Word {
    let exit = draft.pod().and_then(|pod| pod.last_exit.as_ref()).filter(|exit| !exit.words.is_empty());
    let words = exit.map(|exit| format!(" It said: {}", exit.words)).unwrap_or_default();
    (Verdict::False, reason, reason.sentence() + &words)
}

/// Why the only pods are on their way out.
fn leaves(draft: &Draft<'_>) -> Reason {
    match draft.pods().iter().max_by_key(|pod| pod.attempt).map(|pod| &pod.state) {
        Some(PodState::NodeLost) => Reason::NodeLost,
        Some(PodState::Failed(reason)) => *reason,
        _ => Reason::Terminating,
    }
}

/// What the API server would not make, in its own words.
fn refused(draft: &Draft<'_>) -> Word {
    let (reason, text) =
        draft.observed.cluster.refused.clone().unwrap_or((Reason::QuotaExceeded, String::new()));
    (Verdict::False, reason, text)
}

pub(super) fn ingest(draft: &Draft<'_>) -> Word {
    let Known::Known(service) = &draft.observed.cluster.service else {
        return no_address(draft, Verdict::Unknown, Reason::AddressPending);
    };
    let limit = i64::from(draft.observed.session.spec.ingest.address_timeout_seconds);
    match service {
        None if draft.observed.cluster.refused.is_some() => refused(draft),
        Some(service) if service.address.is_some() => address_word(draft),
        Some(service) if draft.since(service.created_at) >= limit => {
            no_address(draft, Verdict::False, Reason::AddressTimeout)
        }
        _ => no_address(draft, Verdict::False, Reason::AddressPending),
    }
}

/// What the address waits for, or has waited for in vain, depends on how port 1935 is exposed.
pub(super) fn no_address(draft: &Draft<'_>, verdict: Verdict, reason: Reason) -> Word {
    let timed_out = reason == Reason::AddressTimeout;
    let (waits, mend) = match draft.observed.session.spec.ingest.exposure {
        Exposure::LoadBalancer => (
            "The load balancer has no address",
            "Check the cloud's load balancer quota and controller, or choose another exposure",
        ),
        Exposure::NodePort => (
            "The Service has no node port, or its pod no node",
            "Look at the pod's events, and whether the cluster has node ports left",
        ),
        Exposure::ClusterIP => (
            "The Service has no cluster IP",
            "Look at the Service: the API server gives it one when it is made",
        ),
        Exposure::External => (
            "The Service that `ingest.external` leads to is being made",
            "Look at the Service and its events",
        ),
    };
    let limit = draft.observed.session.spec.ingest.address_timeout_seconds;
    let message = match timed_out {
        true => format!("{waits} after {limit} s (`ingest.addressTimeoutSeconds`). {mend}."),
        false => format!("{waits} yet."),
    };
    (verdict, reason, message)
}

/// The address is known; is it one that LiveKit reaches?
fn address_word(draft: &Draft<'_>) -> Word {
    if let Some(host) = worker::only_ours(draft) {
        let message = format!("LiveKit's egress would be told {host}: {}", Reason::AddressLoopback.action());
        return (Verdict::False, Reason::AddressLoopback, message);
    }
    if draft.memory.unreachable {
        return (Verdict::False, Reason::Unreachable, Reason::Unreachable.sentence());
    }
    word(Verdict::True, Reason::AddressReady)
}

/// A worker that is not there yet is asked nothing.
pub(super) fn speech(draft: &Draft<'_>, worker: &Word) -> Word {
    if let Some(refused) = refusal::word(draft) {
        return refused;
    }
    if let Some(trouble) = trouble(draft) {
        return trouble;
    }
    match draft.observed.worker.as_ref().map(|report| &report.speech) {
        None if worker.0 != Verdict::True => (Verdict::Unknown, worker.1, worker.2.clone()),
        None if draft.worker_is_unasked() => word(Verdict::Unknown, Reason::Starting),
        None => word(Verdict::Unknown, Reason::WorkerUnreachable),
        Some(SpeechState::Live) => word(Verdict::True, Reason::SpeechConnected),
        Some(SpeechState::Idle) => word(Verdict::Unknown, Reason::SpeechIdle),
        Some(SpeechState::Connecting) => word(Verdict::Unknown, Reason::SpeechConnecting),
        Some(SpeechState::Retrying(reason) | SpeechState::Refused(reason)) => word(Verdict::False, *reason),
    }
}

/// True when everything that we own is up; otherwise the first failing reason.
pub(super) fn ready(draft: &Draft<'_>, words: &[(ConditionType, Word); 4]) -> Word {
    if let Some((reason, message)) = refusal(draft) {
        return (Verdict::False, reason, message);
    }
    for (kind, (verdict, reason, message)) in words {
        let speech_may_wait = *kind == ConditionType::Transcribing && *verdict == Verdict::Unknown;
        if *verdict != Verdict::True && !speech_may_wait {
            return (Verdict::False, *reason, message.clone());
        }
    }
    let reason = if is_silent(draft, words) { Reason::WaitingForAudio } else { Reason::Ready };
    (Verdict::True, reason, String::new())
}

/// Everything is up and nobody is heard. The worker closes a speech session that got nothing for a minute.
fn is_silent(draft: &Draft<'_>, words: &[(ConditionType, Word); 4]) -> bool {
    let nobody = draft.hearing().is_some() && !draft.is_heard();
    let idle = words[3].1.1 == Reason::SpeechIdle;
    words[2].1.1 == Reason::WaitingForAudio || nobody || idle
}

/// The former word, while those who could give a newer one have not been asked: a process that has just begun must not make
/// a healthy session look ill.
pub(super) fn unless_unasked(draft: &Draft<'_>, kind: ConditionType, new: Word) -> Word {
    let (cluster, pod) = (&draft.observed.cluster, draft.pod());
    let may_speak = pod.is_none_or(|pod| pod.state == PodState::Listening);
    let no_report = draft.observed.worker.is_none() && (may_speak || cluster.pods.get().is_none());
    let livekit = &draft.observed.livekit;
    let unasked = match kind {
        ConditionType::WorkerReady => cluster.pods.get().is_none(),
        ConditionType::IngestReady => cluster.service.get().is_none(),
        // Audio that flows needs no LiveKit, and the worker alone knows whether it does.
        ConditionType::EgressActive => {
            no_report || (livekit.error.is_none() && livekit.egresses.get().is_none())
        }
        ConditionType::Transcribing => no_report,
        _ => false,
    };
    // What is False has been seen: LiveKit said so.
    let seen = kind == ConditionType::EgressActive && new.0 == Verdict::False && livekit.error.is_none();
    let settled = seen || new.0 == Verdict::True || draft.memory.refusal.is_some();
    if !draft.is_young() || !unasked || settled {
        return new;
    }
    former(draft, kind).unwrap_or(new)
}

fn former(draft: &Draft<'_>, kind: ConditionType) -> Option<Word> {
    let old = condition::find(&draft.observed.session.status.conditions, kind)?;
    Some((Verdict::named(&old.status)?, Reason::named(&old.reason)?, old.message.clone()))
}

/// Why the session is not accepted.
pub(super) fn refusal(draft: &Draft<'_>) -> Option<(Reason, String)> {
    let accepted = condition::find(&draft.status.conditions, ConditionType::Accepted)?;
    let reason = Reason::named(&accepted.reason).unwrap_or(Reason::Starting);
    (accepted.status == "False").then(|| (reason, accepted.message.clone()))
}
