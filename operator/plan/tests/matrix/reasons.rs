//! Rows about reasons that point outside: addresses, refusals, quotas, speech, storage.

use crate::scene::{Scene, at};
use crate::{active, begins, does, egress, message, reason};
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{CaptureMode, Exposure, Summary};
use roomscribe_plan::*;

#[test]
fn a_load_balancer_without_an_address_is_deleted_and_the_session_says_why_it_failed() {
    let ending = || {
        Scene::new().said(ConditionType::IngestReady, Verdict::False, Reason::AddressTimeout).said(
            ConditionType::Succeeded,
            Verdict::Unknown,
            Reason::AddressTimeout,
        )
    };
    let unpaid = ending().service(1).no_address().later(200).plan();
    assert!(does(&unpaid, |action| *action == Action::DeleteService));
    let over = ending().later(210).plan();
    let succeeded = condition::find(&over.status.conditions, ConditionType::Succeeded).unwrap();
    assert_eq!((succeeded.status.as_str(), succeeded.reason.as_str()), ("False", "AddressTimeout"));
    assert_eq!(reason(&over, ConditionType::IngestReady), "AddressTimeout");
    assert!(message(&over, ConditionType::Ready).contains("choose another exposure"));
    assert_eq!(over.status.summary, Some(Summary::Failed));
}

#[test]
fn an_address_that_is_lost_later_is_waited_for() {
    let plan =
        Scene::new().pod(1).no_address().later(400).attempt(1, 300).started(-200).listed(vec![]).plan();
    assert_eq!(reason(&plan, ConditionType::Succeeded), "Running");
    let never_ready = Scene::new().pod(1).no_address().later(400).attempt(1, 300).listed(vec![]).plan();
    assert_eq!(reason(&never_ready, ConditionType::Succeeded), "Starting");
}

#[test]
fn a_loopback_address_is_never_given_to_a_livekit_that_is_elsewhere() {
    let scene = |host: &str, public: bool| {
        let scene = Scene::new().pod(1).host(host).room(1).listed(vec![]);
        scene.gate(|gate| gate.livekit_is_public = public).plan()
    };
    let plan = scene("127.0.0.1", true);
    assert_eq!(reason(&plan, ConditionType::IngestReady), "AddressLoopback");
    assert_eq!(reason(&plan, ConditionType::Ready), "AddressLoopback");
    let ingest = condition::find(&plan.status.conditions, ConditionType::IngestReady).unwrap();
    assert!(ingest.message.contains("127.0.0.1"), "{}", ingest.message);
    assert!(!begins(&plan) && plan.wake_at.unwrap() <= at(10));
    assert!(begins(&scene("127.0.0.1", false)));
    assert!(begins(&scene("rtmp.example.com", true)));
}

#[test]
fn an_intent_is_not_carried_out_towards_an_address_that_became_loopback() {
    let scene = Scene::new().pod(1).host("localhost").room(1).listed(vec![]).intended(1, 0);
    let plan = scene.gate(|gate| gate.livekit_is_public = true).plan();
    assert!(!begins(&plan));
}

#[test]
fn an_address_that_is_waited_for_is_called_by_what_gives_it() {
    let told = |exposure: Exposure, ago: i64| {
        let scene = Scene::new().spec(|spec| spec.ingest.exposure = exposure).pod(1).no_address();
        message(&scene.later(ago).plan(), ConditionType::IngestReady)
    };
    for (exposure, words) in [
        (Exposure::LoadBalancer, "load balancer"),
        (Exposure::ClusterIP, "cluster IP"),
        (Exposure::NodePort, "node port"),
        (Exposure::External, "ingest.external"),
    ] {
        for ago in [10, 200] {
            let told = told(exposure, ago);
            assert!(told.contains(words), "{exposure:?}: {told}");
            assert_eq!(told.contains("balancer"), exposure == Exposure::LoadBalancer, "{told}");
            assert_eq!(told.contains("180 s"), ago == 200, "{told}");
        }
    }
}

#[test]
fn a_worker_that_listens_and_answers_nobody_is_not_called_well() {
    for mode in [CaptureMode::Auto, CaptureMode::Push] {
        let scene = || {
            let scene = Scene::new().spec(|spec| spec.capture.mode = mode).pod(1).attempt(1, 100);
            scene.room(1).listed(vec![active("EG_a", 1)])
        };
        let healthy = scene().hearing(1).plan();
        assert_eq!(reason(&healthy, ConditionType::WorkerReady), "Listening");
        let hung = scene().after(&healthy).plan_at(30);
        let worker = condition::find(&hung.status.conditions, ConditionType::WorkerReady).unwrap();
        assert_eq!((worker.status.as_str(), worker.reason.as_str()), ("Unknown", "WorkerUnreachable"));
        assert!(worker.message.contains("does not answer"), "{}", worker.message);
        assert_eq!(reason(&hung, ConditionType::Ready), "WorkerUnreachable", "{mode:?}");
        // A process that has just begun has not asked it.
        let asks = scene().after(&healthy).taken_over().plan_at(30);
        assert_eq!(reason(&asks, ConditionType::WorkerReady), "Listening");
    }
}

fn refused_connection() -> Egress {
    Egress { state: EgressState::Failed, error: "Could not connect".into(), ..egress("EG_a", 1) }
}

#[test]
fn an_egress_that_cannot_connect_to_a_worker_that_listens_says_that_the_address_is_unreachable() {
    let scene = || Scene::new().pod(1).room(1).attempt(1, 5).listed(vec![refused_connection()]);
    let plan = scene().plan();
    assert_eq!(reason(&plan, ConditionType::IngestReady), "Unreachable");
    assert_eq!(reason(&plan, ConditionType::EgressActive), "EgressFailed");
    assert_eq!(reason(&plan, ConditionType::Ready), "Unreachable");
    // It is so until somebody is heard.
    let next = Scene::new().pod(1).room(1).attempt(2, 1).listed(vec![egress("EG_b", 2)]);
    let next = next.remembering(|memory| memory.unreachable = true);
    let heard = next.hearing(2).plan();
    assert_eq!(reason(&heard, ConditionType::IngestReady), "AddressReady");
}

#[test]
fn an_egress_that_failed_for_another_cause_leaves_the_address_alone() {
    let ingest = |plan: &Plan| reason(plan, ConditionType::IngestReady);
    // The worker came back after the attempt was begun: it was not there.
    let away =
        Scene::new().restarted_pod(1, 2).room(1).attempt(1, 5).listed(vec![refused_connection()]).plan();
    assert_eq!(ingest(&away), "AddressReady");
    let dropped = Egress { error: "Connection error".into(), ..refused_connection() };
    let dropped = Scene::new().pod(1).room(1).attempt(1, 5).listed(vec![dropped]).plan();
    assert_eq!(ingest(&dropped), "AddressReady");
    let heard = Scene::new().pod(1).room(1).attempt(1, 5).listed(vec![refused_connection()]);
    let heard = heard.remembering(|memory| memory.heard = 1).plan();
    assert_eq!(ingest(&heard), "AddressReady");
}

/// LiveKit refused the start of attempt 7; `before`: so many times in a row before it, the first so many seconds ago.
fn refused_start(before: Option<(u32, i64)>) -> Plan {
    let scene = Scene::new().pod(1).room(1).attempt(7, 2).listed(vec![]).later(300);
    let scene = scene.answered(7, (2, 1), StartOutcome::Refused("unknown layout".into()));
    let scene = scene.remembering(|memory| {
        memory.refusals = before.map_or(0, |(count, _)| count);
        memory.refused = before.map(|(_, ago)| (at(-ago), at(-30)));
        memory.counted = 6;
    });
    scene.plan()
}

#[test]
fn a_refused_start_is_tried_again_with_livekit_s_words_shown() {
    let plan = refused_start(None);
    let word = condition::find(&plan.status.conditions, ConditionType::EgressActive).unwrap();
    assert_eq!(
        (word.reason.as_str(), word.message.as_str()),
        ("EgressRefused", "LiveKit said: unknown layout")
    );
    assert_eq!((plan.memory.refusals, plan.memory.refused), (1, Some((at(0), at(0)))));
    assert_eq!(reason(&plan, ConditionType::Succeeded), "Starting");
}

#[test]
fn a_session_whose_egress_is_refused_again_and_again_for_two_minutes_gives_up() {
    let gives_up = |before: (u32, i64)| {
        let memory = refused_start(Some(before)).memory;
        let next = Scene::new().pod(1).room(1).attempt(7, 3).listed(vec![]).later(300);
        let next = next.remembering(|remembered| *remembered = memory).plan();
        reason(&next, ConditionType::Succeeded) == "AttemptsExhausted"
    };
    assert!(gives_up((4, 120)));
    assert!(!gives_up((4, 119)));
    assert!(!gives_up((3, 500)));
}

#[test]
fn refusals_of_long_ago_do_not_end_a_session_that_has_not_asked_again() {
    let scene = Scene::new().pod(1).no_room().attempt(7, 480).listed(vec![]).later(550);
    let plan = scene
        .remembering(|memory| {
            (memory.refusals, memory.refused, memory.counted) = (5, Some((at(-500), at(-480))), 7);
        })
        .plan();
    assert_eq!(reason(&plan, ConditionType::Succeeded), "Starting");
}

#[test]
fn a_session_that_gave_up_keeps_the_cause_in_its_conditions() {
    let scene = Scene::new()
        .said(ConditionType::Succeeded, Verdict::Unknown, Reason::AttemptsExhausted)
        .said(ConditionType::EgressActive, Verdict::False, Reason::EgressRefused)
        .said(ConditionType::WorkerReady, Verdict::True, Reason::Listening);
    let plan = scene.attempt(7, 100).listed(vec![]).plan();
    assert_eq!(reason(&plan, ConditionType::Succeeded), "AttemptsExhausted");
    assert_eq!(reason(&plan, ConditionType::EgressActive), "EgressRefused");
    assert_eq!(reason(&plan, ConditionType::WorkerReady), "Ended");
}

#[test]
fn another_outcome_than_a_refusal_ends_the_row() {
    let scene =
        Scene::new().pod(1).room(1).attempt(7, 5).listed(vec![Egress { attempt: 7, ..refused_connection() }]);
    let plan =
        scene.remembering(|memory| (memory.refusals, memory.refused) = (4, Some((at(-500), at(-30))))).plan();
    assert_eq!((plan.memory.refusals, plan.memory.refused), (0, None));
}

#[test]
fn a_voice_that_is_heard_ends_the_row() {
    let scene = Scene::new().pod(1).room(1).attempt(7, 5).listed(vec![active("EG_a", 7)]).hearing(7);
    let plan =
        scene.remembering(|memory| (memory.refusals, memory.refused) = (4, Some((at(-500), at(-30))))).plan();
    assert_eq!((plan.memory.refusals, plan.memory.refused), (0, None));
    assert_eq!(reason(&plan, ConditionType::Ready), "Ready");
}

#[test]
fn a_quota_that_refuses_pod_or_service_is_quoted() {
    let words = "services \"ts-standup\" is forbidden: exceeded quota: lb";
    let pod = Scene::new().listed(vec![]).refused(words).plan();
    let worker = condition::find(&pod.status.conditions, ConditionType::WorkerReady).unwrap();
    assert_eq!((worker.reason.as_str(), worker.message.as_str()), ("QuotaExceeded", words));
    assert_eq!(reason(&pod, ConditionType::IngestReady), "QuotaExceeded");
    assert_eq!(reason(&pod, ConditionType::Ready), "QuotaExceeded");
    // Tried again: the quota may grow.
    assert!(does(&pod, |action| matches!(action, Action::EnsureWorker { .. })));
    // A pod and a Service that are there are not made poor by a third thing.
    let both = Scene::new().pod(1).refused(words).plan();
    assert_eq!(reason(&both, ConditionType::WorkerReady), "Listening");
}

#[test]
fn an_egress_that_renders_the_room_in_chrome_is_named_as_degraded() {
    let chrome = |uses_chrome: bool| {
        let egress = Egress { uses_chrome, ..active("EG_a", 1) };
        Scene::new().pod(1).room(1).attempt(1, 100).listed(vec![egress]).hearing(1).plan()
    };
    assert_eq!(reason(&chrome(true), ConditionType::Degraded), "ChromeInUse");
    assert!(condition::is_true(&chrome(true).status.conditions, ConditionType::Degraded));
    assert!(condition::is_true(&chrome(true).status.conditions, ConditionType::Ready));
    assert_eq!(reason(&chrome(false), ConditionType::Degraded), "AsAsked");
}

#[test]
fn a_worker_that_listens_and_cannot_work_says_why() {
    for trouble in [Reason::StorageFull, Reason::StorageFailed, Reason::UnsupportedAudio] {
        let scene = Scene::new().pod(1).room(1).attempt(1, 100).listed(vec![active("EG_a", 1)]).hearing(1);
        let plan = scene.trouble(trouble, "mend DATA_DIR").plan();
        let word = condition::find(&plan.status.conditions, ConditionType::Transcribing).unwrap();
        assert_eq!((word.reason.as_str(), word.message.as_str()), (trouble.as_str(), "mend DATA_DIR"));
        assert_eq!(reason(&plan, ConditionType::Ready), trouble.as_str());
        assert!(!does(&plan, |action| matches!(
            action,
            Action::DeletePod { .. } | Action::StopEgress { .. }
        )));
    }
}

#[test]
fn a_worker_that_waits_for_its_log_before_it_listens_says_so_and_is_given_no_egress() {
    let scene = Scene::new().pod(1).state(PodState::NotListening).hearing(0).room(1).listed(vec![]);
    let plan = scene.trouble(Reason::NatsUnreachable, "NATS at nats://nats:4222 (NATS_URL): refused").plan();
    for kind in [ConditionType::WorkerReady, ConditionType::Transcribing, ConditionType::Ready] {
        assert_eq!(reason(&plan, kind), "NatsUnreachable", "{kind:?}");
        assert!(message(&plan, kind).contains("nats://nats:4222"), "{kind:?}");
    }
    assert!(!begins(&plan));
}

#[test]
fn a_worker_that_ends_again_and_again_is_told_with_its_last_words() {
    let said = |words: &str| {
        let scene = Scene::new().crashed_pod(1, 2).state(PodState::NotListening).room(1).listed(vec![]);
        let exit = ContainerExit { code: 64, reason: "Error".into(), words: words.into(), at: at(-3) };
        let plan = scene.but(|pod| pod.last_exit = Some(exit)).plan();
        message(&plan, ConditionType::WorkerReady)
    };
    assert!(said("DATA_DIR: is full").ends_with(" It said: DATA_DIR: is full"));
    assert!(!said("").contains("It said"));
}

#[test]
fn a_pod_without_a_word_of_the_kubelet_has_ours() {
    let pulls = |text: &str| {
        let state = PodState::Pending(Reason::ImagePullFailed, text.to_owned());
        message(&Scene::new().pod(1).state(state).plan(), ConditionType::WorkerReady)
    };
    assert_eq!(pulls(""), Reason::ImagePullFailed.sentence());
    assert_eq!(pulls("no such host"), "no such host");
}

#[test]
fn the_speech_service_s_own_reason_is_shown() {
    let speech = |speech: SpeechState| {
        let scene = Scene::new().pod(1).room(1).attempt(1, 100).listed(vec![active("EG_a", 1)]).hearing(1);
        reason(&scene.speech(speech).plan(), ConditionType::Transcribing)
    };
    assert_eq!(speech(SpeechState::Retrying(Reason::RateLimited)), "RateLimited");
    assert_eq!(speech(SpeechState::Refused(Reason::SpeechOptionsRejected)), "SpeechOptionsRejected");
}

#[test]
fn a_worker_that_is_ending_without_a_successor_yet_says_so() {
    let scene =
        Scene::new().leaving_pod(1).attempt(1, 300).room(1).listed(vec![active("EG_a", 1)]).hearing(1);
    assert_eq!(reason(&scene.plan(), ConditionType::WorkerReady), "Terminating");
}

/// A LiveKit whose every answer to a start is 400 (an egress service that lacks the call), told second by second.
#[test]
fn a_livekit_that_refuses_every_start_exhausts_the_attempts_in_some_minutes() {
    let (mut plan, mut called) = (Scene::new().pod(1).listed(vec![]).plan_at(-60), 0);
    for second in -59..=300 {
        let room = Some(Room { participants: 1, open_microphones: 1 });
        let scene = Scene::new().pod(1).room_at(second, room).listed_at(second, vec![]).hearing(0);
        let mut memory = plan.memory.clone();
        if let Some(start) = memory.start.as_mut().filter(|start| start.outcome.is_none()) {
            let outcome = Some(StartOutcome::Refused("unsupported request".into()));
            (start.outcome, start.answered_at) = (outcome, Some(at(second)));
        }
        let starts = plan.actions.iter().find_map(|planned| match planned.action {
            Action::StartEgress { attempt } => Some(attempt),
            _ => None,
        });
        if let Some(attempt) = starts {
            called += 1;
            memory.intent = None;
            let at = at(second - 1);
            memory.start = Some(StartCall { attempt, at, moves: None, answered_at: None, outcome: None });
        }
        plan = scene.after(&plan).remembering(|kept| *kept = memory).plan_at(second);
        if reason(&plan, ConditionType::Succeeded) == "AttemptsExhausted" {
            break;
        }
    }
    assert_eq!(reason(&plan, ConditionType::Succeeded), "AttemptsExhausted");
    assert!((5..=12).contains(&called), "{called} starts");
}
