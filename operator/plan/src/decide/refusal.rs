//! The speech service refused key or options: nothing that costs is kept running, and it is tried again patiently.
//!
//! A worker reads its key when it starts, and opens a speech session only when there is audio: so a try is a new pod and one
//! egress. The Service stays while the session waits: another load balancer would have another address, which a person's
//! publisher or firewall may name, and may take minutes.

use super::draft::Draft;
use crate::backoff;
use crate::memory::Refusal;
use crate::observed::{PodState, Secrets, SpeechState};
use crate::plan::{Action, Ask};
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;

/// True while the session waits for its next try: no pod, no egress.
pub(super) fn holds(draft: &mut Draft<'_>) -> bool {
    note(draft);
    let (now, of) = (draft.now, of(draft));
    let Some(refusal) = &mut draft.memory.refusal else { return false };
    let Some(at) = refusal.retry_at else { return false };
    if at <= now || refusal.of != of {
        (refusal.retry_at, refusal.of) = (None, of);
        return false;
    }
    let reason = refusal.reason;
    for egress in draft.live() {
        super::egress::stop(draft, &egress.id, reason);
    }
    for pod in draft.pods().iter().filter(|pod| !pod.leaving) {
        draft.act(Action::DeletePod { name: pod.name.clone() }, reason);
    }
    draft.memory.intent = None;
    draft.wake_at(at);
    if !draft.live().is_empty() {
        watch_the_stop(draft);
    }
    true
}

/// What was refused: another key or another spec is tried at once.
fn of(draft: &Draft<'_>) -> (u64, Option<i64>) {
    let version = match draft.observed.gate.secrets.get() {
        Some(Secrets::Ready { version }) => *version,
        _ => 0,
    };
    (version, draft.observed.session.generation)
}

/// A stop has no other answer than a listing.
fn watch_the_stop(draft: &mut Draft<'_>) {
    if draft.fresh_listing().is_none_or(|listing| draft.since(listing.at) >= 5) {
        draft.ask(Ask::Egresses, Reason::Stopping);
    }
    draft.wake_in(5);
}

fn note(draft: &mut Draft<'_>) {
    if draft.observed.worker.as_ref().is_some_and(|report| report.speech == SpeechState::Live) {
        draft.memory.refusal = None;
        return;
    }
    take_up(draft);
    let Some((by, reason)) = refused_now(draft) else { return };
    let before = draft.memory.refusal.as_ref();
    if before.is_some_and(|before| before.by == by) {
        return;
    }
    let times = before.map_or(0, |before| before.times).saturating_add(1);
    let retry_at = Some(backoff::refused(times, draft.now));
    draft.memory.refusal = Some(Refusal { reason, of: of(draft), by, times, retry_at });
}

/// A process that has just begun tries once, because a mended key often comes with a new process; what is refused then waits as
/// long as it would have waited without the change, for the status says since when it has been refused.
fn take_up(draft: &mut Draft<'_>) {
    if draft.memory.refusal.is_some() || !draft.is_young() {
        return;
    }
    let told = condition::find(&draft.observed.session.status.conditions, ConditionType::Transcribing);
    let Some(told) = told.filter(|told| told.status == Verdict::False.as_str()) else { return };
    let Some(reason) = Reason::named(&told.reason).filter(|reason| is_refusal(*reason)) else { return };
    let times = backoff::refusals(draft.since(told.last_transition_time.0));
    draft.memory.refusal = Some(Refusal { reason, of: of(draft), by: String::new(), times, retry_at: None });
}

/// The speech service's last word; anything else is retried by the worker itself.
fn is_refusal(reason: Reason) -> bool {
    matches!(reason, Reason::CredentialsRejected | Reason::SpeechOptionsRejected)
}

/// The pod that is refused, and why.
fn refused_now(draft: &Draft<'_>) -> Option<(String, Reason)> {
    if let Some(report) = &draft.observed.worker
        && let SpeechState::Refused(reason) = report.speech
    {
        let pod = draft.pods().iter().find(|pod| pod.name == report.pod);
        return Some((pod.map_or_else(|| report.pod.clone(), |pod| pod.uid.clone()), reason));
    }
    let pod = draft.pod()?;
    let exit = pod.last_exit.as_ref()?;
    (exit.code == 78 && pod.state != PodState::Listening)
        .then(|| (pod.uid.clone(), Reason::CredentialsRejected))
}

/// For conditions: why, and what is next.
pub(super) fn word(draft: &Draft<'_>) -> Option<(Verdict, Reason, String)> {
    let refusal = draft.memory.refusal.as_ref()?;
    let next = match refusal.retry_at {
        Some(at) => format!("The next try is at {at:.0}."),
        None => "It is being tried again.".to_owned(),
    };
    Some((Verdict::False, refusal.reason, format!("{} {next}", refusal.reason.sentence())))
}

/// Nothing may be started now.
pub(super) fn is_waiting(draft: &Draft<'_>) -> bool {
    draft.memory.refusal.as_ref().is_some_and(|refusal| refusal.retry_at.is_some())
}
