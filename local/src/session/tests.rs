//! What this process knows, as the plan sees it, and what people read of it.

use super::Place;
use super::observe::{Facts, Task, observe};
use super::words::{Story, Words, usage, words};
use super::worker::{Ended, Stage, Trouble};
use crate::serve::policy;
use crate::stored::Stored;
use jiff::{SignedDuration, Timestamp};
use roomscribe_gateway::sessions::{Capture, CaptureMode, CreateSession};
use roomscribe_plan::*;
use roomscribe_transcript::SessionId;
use roomscribe_worker::pipeline::{PublisherReport, Report, SpeechReport, State};

const NOW: Timestamp = Timestamp::constant(1_795_600_000, 0);

fn ago(seconds: i64) -> Timestamp {
    NOW - SignedDuration::from_secs(seconds)
}

/// A session of one process, moved by hand.
struct World {
    stored: Stored,
    place: Place,
    stage: Stage,
    report: Report,
    task: Task,
    livekit: LiveKit,
    memory: Memory,
}

impl World {
    fn new(mode: CaptureMode) -> Self {
        let request = CreateSession {
            capture: Capture { mode, fallback_after_seconds: None },
            ..CreateSession::for_room("standup")
        };
        let id = SessionId::parse("0199a5f0-7c11-7abc-8def-0123456789ab").unwrap();
        Self {
            stored: Stored::new(id, "standup".into(), request, format!("{:.3}", ago(10))),
            place: Place {
                scheme: "rtmp",
                host: "rtmp.example.com".into(),
                port: 1935,
                is_loopback: false,
                livekit_is_public: true,
            },
            stage: Stage::Listening,
            report: Report::default(),
            task: Task { started_at: ago(9), restarts: 0, exit: None, leaving: false, replaced: false },
            livekit: LiveKit::default(),
            memory: Memory::default(),
        }
    }

    fn observed(&self) -> Observed {
        observe(Facts {
            stored: &self.stored,
            place: &self.place,
            stage: &self.stage,
            report: &self.report,
            since: ago(1),
            task: self.task.clone(),
            held_by: None,
            livekit: self.livekit.clone(),
            memory: self.memory.clone(),
        })
    }

    /// One round; the plan keeps every rule.
    fn round(&mut self) -> Vec<Action> {
        let observed = self.observed();
        let plan = plan_under(&policy(START_UNKNOWN_SECONDS), &observed, NOW);
        assert_eq!(check::broken(&observed, &plan, NOW), Vec::<String>::new());
        self.stored.take(&plan);
        self.memory = plan.memory;
        plan.actions.into_iter().map(|planned| planned.action).collect()
    }

    /// LiveKit answers: a room with an open microphone, and these egresses.
    fn answered(&mut self, egresses: Vec<Egress>) {
        let room = Some(Room { participants: 1, open_microphones: 1 });
        self.livekit.room = Known::Known(RoomView { at: NOW, room });
        self.livekit.egresses = Known::Known(Listing { at: NOW, egresses });
    }

    fn publishing(&mut self, attempt: u32) {
        let publisher =
            PublisherReport { attempt, since: String::new(), last_byte_at: String::new(), reason: "" };
        self.report.state = State::Publishing;
        self.report.publisher = Some(publisher);
        self.report.speech = SpeechReport { state: "live", reason: "" };
    }

    fn words(&self) -> Words {
        words(&Story {
            stored: &self.stored,
            status: &self.stored.status,
            stage: &self.stage,
            report: &self.report,
            place: &self.place,
            livekit: self.livekit.error.clone(),
            abandoned: self.memory.abandoned,
        })
    }
}

fn egress(attempt: u32) -> Egress {
    Egress {
        id: "EG_a".into(),
        attempt,
        state: EgressState::Active,
        error: String::new(),
        origin: "rtmp://127.0.0.1:1935".into(),
        uses_chrome: false,
        started_at: Some(ago(5)),
        ended_at: None,
    }
}

#[test]
fn a_start_is_written_then_asked_then_heard() {
    let mut world = World::new(CaptureMode::Auto);
    assert!(world.round().contains(&Action::AddFinalizer));
    assert!(world.stored.finalizer);
    assert!(world.round().contains(&Action::Ask(Ask::Egresses)));
    world.answered(vec![]);
    assert!(world.round().contains(&Action::WriteIntent { attempt: 1, how: How::Start }));
    assert_eq!((world.stored.status.attempt, world.stored.unasked), (Some(1), Some(1)));
    assert!(world.round().contains(&Action::StartEgress { attempt: 1 }));
    assert_eq!(world.stored.unasked, None, "the question is on its way: nobody may ask it again");
    world.memory.intent = None;
    world.answered(vec![egress(1)]);
    world.publishing(1);
    world.round();
    let Words { state, reason, message } = world.words();
    assert_eq!((state, reason.as_str(), message.as_str()), ("Live", "Ready", ""));
    assert_eq!(usage(&world.stored, NOW)["egressSeconds"], 5);
}

#[test]
fn a_new_process_asks_what_the_old_one_only_intended() {
    let mut world = World::new(CaptureMode::Auto);
    world.round();
    world.answered(vec![]);
    world.round();
    let intent = world.stored.unasked.map(|attempt| Intent { attempt, how: How::Start });
    (world.memory, world.livekit) = (Memory { intent, ..Memory::default() }, LiveKit::default());
    world.task.restarts = 1;
    assert!(world.round().contains(&Action::StartEgress { attempt: 1 }));
}

#[test]
fn an_egress_that_comes_back_to_a_new_process_is_kept_and_one_that_does_not_is_followed() {
    for (heard, attempt) in [(true, 1), (false, 2)] {
        let mut world = World::new(CaptureMode::Auto);
        world.stored.finalizer = true;
        world.stored.status.attempt = Some(1);
        world.stored.status.intent_at = Some(k8s(ago(60)));
        world.task = Task { started_at: ago(2), restarts: 1, exit: None, leaving: false, replaced: false };
        world.answered(vec![egress(1)]);
        if heard {
            world.publishing(1);
        }
        world.round();
        assert_eq!(world.stored.status.attempt, Some(attempt), "heard: {heard}");
    }
}

/// `Time` without naming its crate.
fn k8s<T: From<Timestamp>>(at: Timestamp) -> T {
    at.into()
}

#[test]
fn a_worker_that_waits_for_its_disk_says_so_and_nothing_is_started() {
    let mut world = World::new(CaptureMode::Auto);
    world.stored.finalizer = true;
    world.answered(vec![]);
    let trouble = Trouble { reason: "StorageFull", message: "free space".into() };
    world.stage = Stage::Opening(Some(trouble));
    assert!(!world.round().iter().any(|action| matches!(action, Action::WriteIntent { .. })));
    let Words { state, reason, message } = world.words();
    assert_eq!((state, reason.as_str(), message.as_str()), ("Recovering", "StorageFull", "free space"));
}

#[test]
fn an_address_that_livekit_cannot_reach_is_named_by_its_setting_and_nothing_is_started() {
    let mut world = World::new(CaptureMode::Auto);
    (world.place.host, world.place.is_loopback) = ("127.0.0.1".into(), true);
    world.place.livekit_is_public = false;
    world.stored.finalizer = true;
    world.answered(vec![]);
    assert!(!world.round().iter().any(|action| matches!(action, Action::WriteIntent { .. })));
    let Words { reason, message, .. } = world.words();
    assert_eq!(reason, "AddressLoopback");
    assert!(message.contains("RTMP_HOST") && message.contains("127.0.0.1"), "{message}");
}

#[test]
fn a_stop_that_livekit_does_not_answer_says_until_when_it_is_tried() {
    let mut world = World::new(CaptureMode::Auto);
    world.stored.status.attempt = Some(1);
    world.stored.finalizer = true;
    world.stored.stop_requested_at = Some(ago(100));
    world.livekit.error = Some(LiveKitError::Unreachable);
    world.round();
    let Words { state, reason, message } = world.words();
    assert_eq!((state, reason.as_str()), ("Stopping", "LiveKitUnreachable"));
    let until = NOW + SignedDuration::from_secs(200);
    assert!(message.contains(&format!("until {until}")), "{message}");
    world.stored.stop_requested_at = Some(ago(301));
    world.memory = Memory::default();
    (world.task.leaving, world.stage) = (true, Stage::Ended(Ended::Done));
    world.round();
    let Words { state, reason, message } = world.words();
    assert_eq!((state, reason.as_str()), ("Succeeded", "Stopped"));
    assert!(message.contains("did not confirm"), "{message}");
}

#[test]
fn a_session_that_gives_up_tells_its_last_trouble() {
    let mut world = World::new(CaptureMode::Auto);
    world.stored.created_at = format!("{:.3}", ago(700));
    world.stored.cause = "The last word before was WaitingForRoom: the room".into();
    world.stage = Stage::Ended(Ended::Done);
    world.round();
    let Words { state, reason, message } = world.words();
    assert_eq!((state, reason.as_str()), ("Failed", "StartDeadlineExceeded"));
    assert!(message.contains("WaitingForRoom"), "{message}");
}

#[test]
fn a_push_session_needs_no_livekit_and_no_egress() {
    let mut world = World::new(CaptureMode::Push);
    world.round();
    let actions = world.round();
    assert!(!actions.iter().any(|action| matches!(action, Action::Ask(_) | Action::WriteIntent { .. })));
    assert_eq!(world.words().reason, "WaitingForPublisher");
    world.publishing(1);
    world.round();
    assert_eq!(world.words().state, "Live");
    world.stored.stop_requested_at = Some(NOW);
    assert!(world.round().iter().any(|action| matches!(action, Action::StopWorker { .. })));
    (world.task.leaving, world.stage) = (true, Stage::Ended(Ended::Done));
    world.round();
    assert_eq!((world.words().state, world.stored.is_running()), ("Succeeded", false));
}

#[test]
fn a_refused_speech_key_ends_the_task_and_another_one_tries_later() {
    let mut world = World::new(CaptureMode::Auto);
    world.round();
    world.answered(vec![egress(1)]);
    world.stored.status.attempt = Some(1);
    world.publishing(1);
    world.report.speech = SpeechReport { state: "refused", reason: "CredentialsRejected" };
    let actions = world.round();
    assert!(actions.iter().any(|action| matches!(action, Action::DeletePod { .. })));
    assert!(actions.contains(&Action::StopEgress { id: "EG_a".into() }));
    let Words { state, reason, message } = world.words();
    assert_eq!((state, reason.as_str()), ("Recovering", "CredentialsRejected"));
    assert!(message.contains("GLADIA_API_KEY") && message.contains("The next try is at"), "{message}");
    // The task has ended, and its time has come.
    world.stage = Stage::Ended(Ended::Suspended);
    world.livekit.egresses = Known::Known(Listing { at: NOW, egresses: vec![] });
    assert!(!world.round().iter().any(|action| matches!(action, Action::EnsureWorker { .. })));
    if let Some(refusal) = &mut world.memory.refusal {
        refusal.retry_at = Some(ago(0));
    }
    assert!(world.round().iter().any(|action| matches!(action, Action::EnsureWorker { .. })));
}
