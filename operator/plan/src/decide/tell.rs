//! Words for people: conditions, summary, and what else the status shows.

use super::draft::Draft;
use super::words::{self, Word};
use super::{finish, room};
use crate::observed::{Egress, Hearing, Known};
use crate::plan::{Action, EventKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{
    CaptureMode, CaptureStatus, EgressKind, EgressRecord, IngestStatus, LastExit, Summary, Usage,
    WorkerStatus,
};

/// Contract §1: the list has a limit.
const MAX_EGRESSES: usize = 60;

/// Nothing may be started yet.
pub(super) fn waiting(draft: &mut Draft<'_>) {
    first_visit(draft);
    draft.status.observed_generation = draft.observed.session.generation;
    draft.status.summary = Some(Summary::Pending);
    if let Some((reason, message)) = draft.held.clone() {
        draft.set(ConditionType::EgressActive, Verdict::Unknown, reason, &message);
    }
    let held = words::refusal(draft).or_else(|| draft.held.clone());
    let (reason, message) = held.unwrap_or((Reason::Starting, String::new()));
    let before = ready_reason(draft);
    draft.set(ConditionType::Ready, Verdict::False, reason, &message);
    if before.as_deref() != Some(reason.as_str()) && reason != Reason::Starting {
        event(draft, reason, &message);
    }
    let deadline = draft.observed.session.spec.limits.start_deadline_seconds;
    draft.wake_at(draft.observed.session.created_at + crate::backoff::seconds(deadline.into()));
}

/// All known types are there from the first visit on.
fn first_visit(draft: &mut Draft<'_>) {
    for kind in ConditionType::ALL {
        if condition::find(&draft.status.conditions, kind).is_none() {
            let (verdict, reason) = match kind {
                ConditionType::Degraded => (Verdict::False, Reason::AsAsked),
                _ => (Verdict::Unknown, Reason::Starting),
            };
            draft.set(kind, verdict, reason, "");
        }
    }
}

/// The session runs, or is being brought up.
pub(super) fn running(draft: &mut Draft<'_>) {
    first_visit(draft);
    draft.status.observed_generation = draft.observed.session.generation;
    let push = draft.observed.session.spec.capture.mode == CaptureMode::Push;
    let (worker, ingest) = (words::worker(draft), words::ingest(draft));
    let speech = words::speech(draft, &worker);
    let egress =
        if push { (Verdict::True, Reason::NotNeeded, String::new()) } else { draft.egress_word.clone() };
    let words = [
        (ConditionType::WorkerReady, worker),
        (ConditionType::IngestReady, ingest),
        (ConditionType::EgressActive, egress),
        (ConditionType::Transcribing, speech),
    ]
    .map(|(kind, word)| (kind, words::unless_unasked(draft, kind, word)));
    for (kind, (verdict, reason, message)) in &words {
        draft.set(*kind, *verdict, *reason, message);
    }
    let before = ready_reason(draft);
    degraded(draft);
    records(draft);
    let ready = words::ready(draft, &words);
    draft.set(ConditionType::Ready, ready.0, ready.1, &ready.2);
    // A speech service that has not answered yet may still refuse: then the session was never up.
    let answered =
        !matches!(words[3].1.1, Reason::SpeechConnecting | Reason::WorkerUnreachable | Reason::Starting);
    let once = finish::was_ready(draft) || (ready.0 == Verdict::True && answered);
    let stage = if once { Reason::Running } else { Reason::Starting };
    draft.set(ConditionType::Succeeded, Verdict::Unknown, stage, "");
    show(draft, &ready, once);
    room::look(draft);
    limits(draft, once);
    if before.as_deref() != Some(ready.1.as_str()) {
        event(draft, ready.1, &ready.2);
    }
}

fn ready_reason(draft: &Draft<'_>) -> Option<String> {
    condition::find(&draft.status.conditions, ConditionType::Ready).map(|old| old.reason.clone())
}

fn event(draft: &mut Draft<'_>, reason: Reason, message: &str) {
    let kind = if reason.is_warning() { EventKind::Warning } else { EventKind::Normal };
    let note = if message.is_empty() { reason.meaning().to_owned() } else { message.to_owned() };
    draft.act(Action::Event { kind, note }, reason);
}

/// What a listing says of egresses that the status names already: an older one has ended meanwhile. One that has vanished
/// (a LiveKit that was restarted has forgotten it) ended when it was seen last.
pub(super) fn records(draft: &mut Draft<'_>) {
    let Known::Known(listing) = &draft.observed.livekit.egresses else { return };
    let named: Vec<_> = draft.status.egresses.iter().map(|record| record.id.clone()).collect();
    for egress in listing.egresses.iter().filter(|egress| named.contains(&egress.id)) {
        record(draft, egress);
        if egress.state.is_live() {
            draft.memory.seen.insert(egress.id.clone(), listing.at);
        }
    }
    for record in draft.status.egresses.iter_mut().filter(|record| record.ended_at.is_none()) {
        let newer = record.started_at.as_ref().is_none_or(|started| started.0 < listing.at);
        if newer && listing.egresses.iter().all(|egress| egress.id != record.id) {
            record.ended_at = Some(Time(draft.memory.seen.get(&record.id).copied().unwrap_or(listing.at)));
        }
    }
    let status = &draft.status;
    let runs =
        |id: &String| status.egresses.iter().any(|record| record.id == *id && record.ended_at.is_none());
    draft.memory.seen.retain(|id, _| runs(id));
}

/// It works, but not as asked.
fn degraded(draft: &mut Draft<'_>) {
    let Known::Known(listing) = &draft.observed.livekit.egresses else { return };
    let chrome = listing.live().any(|egress| egress.uses_chrome);
    let (verdict, reason) =
        if chrome { (Verdict::True, Reason::ChromeInUse) } else { (Verdict::False, Reason::AsAsked) };
    let message = if chrome { reason.action() } else { "" };
    draft.set(ConditionType::Degraded, verdict, reason, message);
}

fn show(draft: &mut Draft<'_>, ready: &Word, once: bool) {
    let heard = draft.is_heard();
    let before = draft.status.summary.filter(|_| draft.worker_is_unasked());
    draft.status.summary = Some(match (ready.0, ready.1, once) {
        (Verdict::True, Reason::WaitingForAudio, _) => Summary::WaitingForAudio,
        (Verdict::True, ..) if heard => Summary::Live,
        (Verdict::True, ..) => before.unwrap_or(Summary::WaitingForAudio),
        (_, Reason::WaitingForRoom, _) => Summary::WaitingForRoom,
        // Not ended: it is tried again.
        _ if draft.memory.refusal.is_some() => Summary::Recovering,
        (.., true) => Summary::Recovering,
        _ => Summary::Starting,
    });
    started(draft);
    show_capture(draft);
    show_worker(draft);
    let changed = draft.status.conditions != draft.observed.session.status.conditions;
    if changed {
        usage(draft);
    }
}

/// When the first audio came.
fn started(draft: &mut Draft<'_>) {
    let Some(report) = draft.observed.worker.as_ref().filter(|report| report.media_ms > 0) else { return };
    if draft.status.started_at.is_none() {
        let media = SignedDuration::from_millis(i64::try_from(report.media_ms).unwrap_or(i64::MAX));
        let came = match report.hearing {
            Hearing::Publishing(_) => report.since,
            _ => draft.now.checked_sub(media).unwrap_or(draft.now),
        };
        draft.status.started_at = Some(Time(came.max(draft.observed.session.created_at).min(draft.now)));
    }
}

fn show_capture(draft: &mut Draft<'_>) {
    let mode = match draft.observed.session.spec.capture.mode {
        CaptureMode::Auto => CaptureMode::RoomComposite,
        mode => mode,
    };
    if draft.status.capture.as_ref().is_none_or(|capture| capture.mode != mode) {
        let (since, reason) = (Time(draft.now), Reason::AsAsked.as_str().to_owned());
        draft.status.capture = Some(CaptureStatus { mode, since, reason });
    }
}

fn show_worker(draft: &mut Draft<'_>) {
    let address = draft
        .observed
        .cluster
        .service
        .get()
        .and_then(Option::as_ref)
        .and_then(|service| service.address.clone());
    if let Some((host, port)) = address {
        draft.status.ingest = Some(IngestStatus { host, port: port.into() });
    }
    if let Some(pod) = draft.pod() {
        draft.status.worker = Some(WorkerStatus {
            pod_name: pod.name.clone(),
            pod_uid: pod.uid.clone(),
            node_name: pod.node.clone(),
            restarts: i32::try_from(pod.restarts).unwrap_or(i32::MAX),
            last_exit: pod
                .last_exit
                .as_ref()
                .map(|exit| LastExit { code: exit.code, reason: exit.reason.clone() }),
        });
    }
}

/// Counters are written with changes of conditions only, and at the end: a status that changes every second costs the API
/// server. What a worker that is gone has said stays.
fn usage(draft: &mut Draft<'_>) {
    let before = draft.status.usage.clone();
    let report = draft.observed.worker.as_ref();
    if report.is_none() && before.is_none() && draft.status.egresses.is_empty() {
        return;
    }
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let kept = before.unwrap_or_default();
    let speech_seconds = report.map_or(0, |report| whole(report.media_ms / 1000)).max(kept.speech_seconds);
    draft.status.usage = Some(Usage {
        egress_seconds: egress_seconds(draft),
        speech_seconds,
        speech_sessions: kept.speech_sessions.max(i64::from(speech_seconds > 0)),
        audio_lost_ms: report.map_or(0, |report| whole(report.audio_lost_ms)).max(kept.audio_lost_ms),
    });
}

fn egress_seconds(draft: &Draft<'_>) -> i64 {
    let seconds = |egress: &EgressRecord| {
        let from = egress.started_at.as_ref()?.0;
        let to = egress.ended_at.as_ref().map_or(draft.now, |time| time.0);
        Some((to - from).get_seconds().max(0))
    };
    draft.status.egresses.iter().filter_map(seconds).sum()
}

/// Deadlines wake the plan.
fn limits(draft: &mut Draft<'_>, once: bool) {
    let session = &draft.observed.session;
    let started = draft.status.started_at.as_ref().map_or(session.created_at, |time| time.0);
    draft.wake_at(started + crate::backoff::seconds(session.spec.limits.max_duration_seconds.into()));
    if !once {
        draft.wake_at(
            session.created_at + crate::backoff::seconds(session.spec.limits.start_deadline_seconds.into()),
        );
    }
}

/// On its way out; the short life of some sessions is told here only.
pub(super) fn ending(draft: &mut Draft<'_>, reason: Reason) {
    first_visit(draft);
    records(draft);
    started(draft);
    usage(draft);
    draft.status.observed_generation = draft.observed.session.generation;
    draft.status.summary = Some(Summary::Stopping);
    if reason == Reason::AddressTimeout {
        let (verdict, reason, message) = words::no_address(draft, Verdict::False, reason);
        draft.set(ConditionType::IngestReady, verdict, reason, &message);
    }
}

/// What its end waits for.
pub(super) fn waits_for(draft: &mut Draft<'_>, reason: Reason, what: &str) {
    draft.set(ConditionType::Ready, Verdict::False, Reason::Stopping, what);
    draft.set(ConditionType::Succeeded, Verdict::Unknown, reason, what);
}

/// Ended. Of a session that gave up, what was false stays as it was: it is the cause.
pub(super) fn ended(draft: &mut Draft<'_>, verdict: Verdict, reason: Reason) {
    for kind in [
        ConditionType::WorkerReady,
        ConditionType::IngestReady,
        ConditionType::EgressActive,
        ConditionType::Transcribing,
    ] {
        let was_false =
            condition::find(&draft.status.conditions, kind).is_some_and(|old| old.status == "False");
        if verdict == Verdict::True || !was_false {
            draft.set(kind, Verdict::False, Reason::Ended, "");
        }
    }
    let message = if verdict == Verdict::True { reason.meaning().to_owned() } else { cause(draft, reason) };
    draft.set(ConditionType::Ready, Verdict::False, reason, &message);
    draft.set(ConditionType::Succeeded, verdict, reason, &message);
    draft.status.summary = Some(if verdict == Verdict::True { Summary::Succeeded } else { Summary::Failed });
    let now = draft.now;
    for egress in &mut draft.status.egresses {
        egress.ended_at.get_or_insert(Time(now));
    }
    usage(draft);
    let kind = if verdict == Verdict::True { EventKind::Normal } else { EventKind::Warning };
    draft.act(Action::Event { kind, note: message }, reason);
}

/// Why a session gave up: what was false, first things first.
fn cause(draft: &Draft<'_>, reason: Reason) -> String {
    let kinds = [ConditionType::WorkerReady, ConditionType::IngestReady, ConditionType::EgressActive];
    let said = |kind: ConditionType| {
        let found = condition::find(&draft.status.conditions, kind)?;
        (found.status == "False" && !found.message.is_empty()).then(|| found.message.clone())
    };
    match reason {
        Reason::AddressTimeout => said(ConditionType::IngestReady).unwrap_or_else(|| reason.sentence()),
        _ => match kinds.into_iter().find_map(said) {
            Some(said) => format!("{} {said}", reason.meaning()),
            None => reason.sentence(),
        },
    }
}

/// What LiveKit says of an egress, in the status' list.
pub(super) fn record(draft: &mut Draft<'_>, egress: &Egress) {
    let attempt = i32::try_from(egress.attempt).unwrap_or(i32::MAX);
    let known = draft.status.egresses.iter().position(|record| record.id == egress.id);
    let index = known.unwrap_or_else(|| {
        draft.status.egresses.push(EgressRecord {
            id: egress.id.clone(),
            kind: EgressKind::RoomComposite,
            attempt,
            track_sid: String::new(),
            identity: String::new(),
            started_at: Some(Time(egress.started_at.unwrap_or(draft.now))),
            ended_at: None,
            last_status: String::new(),
            last_error: String::new(),
        });
        draft.status.egresses.len() - 1
    });
    let record = &mut draft.status.egresses[index];
    record.attempt = attempt;
    record.last_status = egress.state.as_str().to_owned();
    record.last_error.clone_from(&egress.error);
    if !egress.state.is_live() && record.ended_at.is_none() {
        record.ended_at = Some(Time(egress.ended_at.unwrap_or(draft.now)));
    }
    let surplus = draft.status.egresses.len().saturating_sub(MAX_EGRESSES);
    draft.status.egresses.drain(..surplus);
}
