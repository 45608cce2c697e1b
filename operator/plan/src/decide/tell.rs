//! Words for people: conditions, summary, and what else the status shows.

use super::draft::Draft;
use super::finish;
use super::words::{self, Word};
use crate::observed::{Egress, Hearing, Known, SpeechState};
use crate::plan::{Action, Ask, EventKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{
    CaptureMode, CaptureStatus, EgressKind, EgressRecord, IngestStatus, LastExit, Summary, Usage,
    WorkerStatus,
};

/// Contract §1: the list has a limit.
const MAX_EGRESSES: usize = 60;
/// A silent room is looked at this often.
const ROOM_LOOK_SECONDS: i64 = 60;

/// Nothing may be started yet.
pub(super) fn waiting(draft: &mut Draft<'_>) {
    first_visit(draft);
    draft.status.observed_generation = draft.observed.session.generation;
    draft.status.summary = Some(Summary::Pending);
    let (reason, message) = words::refusal(draft).unwrap_or((Reason::Starting, String::new()));
    draft.set(ConditionType::Ready, Verdict::False, reason, &message);
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
    ];
    for (kind, (verdict, reason, message)) in &words {
        draft.set(*kind, *verdict, *reason, message);
    }
    let before =
        condition::find(&draft.status.conditions, ConditionType::Ready).map(|old| old.reason.clone());
    degraded(draft);
    records(draft);
    let ready = words::ready(draft, &words);
    draft.set(ConditionType::Ready, ready.0, ready.1, &ready.2);
    let once = finish::was_ready(draft) || ready.0 == Verdict::True;
    let stage = if once { Reason::Running } else { Reason::Starting };
    draft.set(ConditionType::Succeeded, Verdict::Unknown, stage, "");
    show(draft, &ready, once);
    look_at_the_room(draft);
    limits(draft, once);
    if before.as_deref() != Some(ready.1.as_str()) {
        let kind = if ready.1.needs_somebody() { EventKind::Warning } else { EventKind::Normal };
        let note = if ready.2.is_empty() { ready.1.meaning().to_owned() } else { ready.2 };
        draft.act(Action::Event { kind, note }, ready.1);
    }
}

/// What a listing says of egresses that the status names already: an older one has ended meanwhile.
fn records(draft: &mut Draft<'_>) {
    let Known::Known(listing) = &draft.observed.livekit.egresses else { return };
    let named: Vec<_> = draft.status.egresses.iter().map(|record| record.id.clone()).collect();
    for egress in listing.egresses.iter().filter(|egress| named.contains(&egress.id)) {
        record(draft, egress);
    }
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
    let heard = matches!(draft.hearing(), Some(Hearing::Publishing(_)));
    draft.status.summary = Some(match (ready.0, ready.1, once) {
        (Verdict::True, Reason::WaitingForAudio, _) => Summary::WaitingForAudio,
        (Verdict::True, ..) if heard => Summary::Live,
        (Verdict::True, ..) => Summary::WaitingForAudio,
        (_, Reason::WaitingForRoom, _) => Summary::WaitingForRoom,
        (_, Reason::CredentialsRejected | Reason::SpeechOptionsRejected, _) => Summary::Failed,
        (.., true) => Summary::Recovering,
        _ => Summary::Starting,
    });
    let media = draft.observed.worker.as_ref().map_or(0, |report| report.media_ms);
    if draft.status.started_at.is_none() && media > 0 {
        draft.status.started_at = Some(Time(draft.now));
    }
    show_capture(draft);
    show_worker(draft);
    usage(draft);
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

/// Counters are written with changes of conditions only: a status that changes every second costs the API server.
fn usage(draft: &mut Draft<'_>) {
    let changed = draft.status.conditions != draft.observed.session.status.conditions;
    let Some(report) = draft.observed.worker.as_ref().filter(|_| changed) else { return };
    let egress_seconds: i64 = draft
        .status
        .egresses
        .iter()
        .filter_map(|egress| {
            let from = egress.started_at.as_ref()?.0;
            let to = egress.ended_at.as_ref().map_or(draft.now, |time| time.0);
            Some((to - from).get_seconds().max(0))
        })
        .sum();
    let sessions = draft.status.usage.as_ref().map_or(0, |usage| usage.speech_sessions);
    draft.status.usage = Some(Usage {
        egress_seconds,
        speech_seconds: i64::try_from(report.media_ms / 1000).unwrap_or(i64::MAX),
        speech_sessions: sessions.max(i64::from(report.media_ms > 0)),
        audio_lost_ms: i64::try_from(report.audio_lost_ms).unwrap_or(i64::MAX),
    });
}

/// Nobody tells of a room that has become empty while the egress sends silence.
fn look_at_the_room(draft: &mut Draft<'_>) {
    match draft.fresh_room() {
        Some(Some(room)) if room.participants == 0 => {
            let now = draft.now;
            draft.memory.room_empty_since.get_or_insert(now);
        }
        Some(_) => draft.memory.room_empty_since = None,
        None => {}
    }
    let idle = draft.observed.worker.as_ref().is_some_and(|report| report.speech == SpeechState::Idle);
    let empty = draft.memory.room_empty_since.is_some();
    if !(idle || empty) || draft.attempt() == 0 {
        return;
    }
    let looked = draft.observed.livekit.room.get().map(|view| view.at);
    match looked.filter(|at| draft.since(*at) < ROOM_LOOK_SECONDS) {
        Some(at) => draft.wake_at(at + crate::backoff::seconds(ROOM_LOOK_SECONDS)),
        None => draft.ask(Ask::Room, Reason::SpeechIdle),
    }
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

/// On its way out.
pub(super) fn ending(draft: &mut Draft<'_>, reason: Reason) {
    first_visit(draft);
    draft.status.observed_generation = draft.observed.session.generation;
    draft.status.summary = Some(Summary::Stopping);
    if reason == Reason::AddressTimeout {
        draft.set(ConditionType::IngestReady, Verdict::False, reason, &reason.sentence());
    }
    draft.set(ConditionType::Ready, Verdict::False, Reason::Stopping, reason.meaning());
    draft.set(ConditionType::Succeeded, Verdict::Unknown, reason, "ending");
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
    draft.set(ConditionType::Ready, Verdict::False, reason, reason.meaning());
    draft.set(ConditionType::Succeeded, verdict, reason, reason.meaning());
    draft.status.summary = Some(if verdict == Verdict::True { Summary::Succeeded } else { Summary::Failed });
    let now = draft.now;
    for egress in &mut draft.status.egresses {
        egress.ended_at.get_or_insert(Time(now));
    }
    let kind = if verdict == Verdict::True { EventKind::Normal } else { EventKind::Warning };
    draft.act(Action::Event { kind, note: reason.meaning().to_owned() }, reason);
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
