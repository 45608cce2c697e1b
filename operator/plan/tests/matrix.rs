//! The failure matrix, row by row: what is seen, what is done, what people read.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

mod common;

use common::{Scene, at};
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{CaptureMode, DesiredState, Summary};
use roomscribe_plan::*;

fn begins(plan: &Plan) -> bool {
    plan.actions.iter().any(|planned| {
        matches!(
            planned.action,
            Action::StartEgress { .. } | Action::WriteIntent { .. } | Action::EnsureWorker { .. }
        )
    })
}

fn does(plan: &Plan, wanted: impl Fn(&Action) -> bool) -> bool {
    plan.actions.iter().any(|planned| wanted(&planned.action))
}

fn reason(plan: &Plan, kind: ConditionType) -> String {
    condition::find(&plan.status.conditions, kind)
        .map(|condition| condition.reason.clone())
        .unwrap_or_default()
}

#[test]
fn a_new_session_gets_its_finalizer_before_anything_else() {
    let plan = Scene::new().without_finalizer().plan();
    assert!(does(&plan, |action| *action == Action::AddFinalizer));
    assert!(!begins(&plan));
}

#[test]
fn a_secret_that_is_missing_is_named_and_nothing_is_started() {
    let plan =
        Scene::new().gate(|gate| gate.secrets = Known::Known(Secrets::Missing("livekit".into()))).plan();
    assert_eq!(reason(&plan, ConditionType::Accepted), "SecretNotFound");
    assert_eq!(reason(&plan, ConditionType::Ready), "SecretNotFound");
    assert!(!begins(&plan));
}

#[test]
fn a_second_session_of_one_room_names_the_first_and_starts_nothing() {
    let plan = Scene::new().gate(|gate| gate.room_held_by = Some("first".into())).plan();
    assert_eq!(reason(&plan, ConditionType::Accepted), "RoomAlreadyTranscribed");
    let accepted = condition::find(&plan.status.conditions, ConditionType::Accepted).unwrap();
    assert!(accepted.message.contains("first"));
    assert!(!begins(&plan));
}

#[test]
fn a_session_beyond_the_speech_quota_waits_in_the_queue_with_its_place() {
    let plan = Scene::new().gate(|gate| gate.queue_place = Some(3)).plan();
    let accepted = condition::find(&plan.status.conditions, ConditionType::Accepted).unwrap();
    assert_eq!((accepted.reason.as_str(), accepted.status.as_str()), ("ConcurrencyLimited", "False"));
    assert!(accepted.message.contains("place 3"));
    assert!(!begins(&plan));
}

#[test]
fn livekit_s_refusal_of_the_key_starts_nothing() {
    let plan = Scene::new().livekit(|livekit| livekit.error = Some(LiveKitError::CredentialsRefused)).plan();
    assert_eq!(reason(&plan, ConditionType::Accepted), "CredentialsRefused");
    assert!(!begins(&plan));
}

#[test]
fn the_worker_comes_before_the_egress() {
    let plan = Scene::new().plan();
    assert!(does(&plan, |action| *action == Action::EnsureWorker { attempt: 1, selects: 1 }));
    assert!(!does(&plan, |action| matches!(action, Action::WriteIntent { .. })));
}

#[test]
fn no_egress_is_intended_before_the_address_is_known() {
    let plan = Scene::new().pod(1).no_address().room(1).listed(vec![]).plan();
    assert_eq!(reason(&plan, ConditionType::IngestReady), "AddressPending");
    assert!(!does(&plan, |action| matches!(action, Action::WriteIntent { .. })));
}

#[test]
fn an_address_that_never_comes_is_named() {
    let early = Scene::new().pod(1).no_address().later(179).plan();
    assert_eq!(reason(&early, ConditionType::IngestReady), "AddressPending");
    let plan = Scene::new().pod(1).no_address().later(180).plan();
    assert_eq!(reason(&plan, ConditionType::IngestReady), "AddressTimeout");
    assert_eq!(reason(&plan, ConditionType::Succeeded), "AddressTimeout");
    assert!(does(&plan, |action| matches!(action, Action::StopWorker { .. })));
    assert!(!begins(&plan));
}

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
    let scene = scene.remembering(|memory| {
        let outcome = Some(StartOutcome::Refused("unknown layout".into()));
        let answered_at = Some(at(-1));
        memory.start = Some(StartCall { attempt: 7, at: at(-2), moves: None, answered_at, outcome });
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
    assert_eq!((word.reason.as_str(), word.message.as_str()), ("EgressRefused", "unknown layout"));
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
    let pod = Scene::new().refused(words).plan();
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

#[test]
fn a_session_that_cannot_run_anyway_does_not_claim_to_wait_for_its_room() {
    let scene = Scene::new().gate(|gate| gate.room_held_by = Some("first".into()));
    let plan = scene.gate(|gate| gate.secrets = Known::Known(Secrets::Missing("livekit".into()))).plan();
    assert_eq!(reason(&plan, ConditionType::Accepted), "SecretNotFound");
}

#[test]
fn a_room_that_is_not_there_is_waited_for() {
    let plan = Scene::new().pod(1).no_room().listed(vec![]).plan();
    assert_eq!(reason(&plan, ConditionType::EgressActive), "WaitingForRoom");
    assert_eq!(plan.status.summary, Some(Summary::WaitingForRoom));
    assert!(!does(&plan, |action| matches!(action, Action::WriteIntent { .. })));
    assert!(plan.wake_at.is_some());
}

#[test]
fn an_attempt_is_written_before_it_is_begun() {
    let plan = Scene::new().pod(1).room(1).listed(vec![]).plan();
    assert!(does(&plan, |action| *action == Action::WriteIntent { attempt: 1, how: How::Start }));
    assert_eq!(plan.status.attempt, Some(1));
    assert!(!does(&plan, |action| matches!(action, Action::StartEgress { .. })));
    let next = Scene::new().pod(1).room(1).listed(vec![]).intended(1, 0).plan();
    assert!(does(&next, |action| *action == Action::StartEgress { attempt: 1 }));
}

#[test]
fn an_intent_of_a_process_that_died_is_looked_for_and_not_repeated() {
    let plan = Scene::new().pod(1).room(1).listed(vec![]).attempt(1, 30).plan();
    assert_eq!(reason(&plan, ConditionType::EgressActive), "StartUnknown");
    assert!(does(&plan, |action| *action == Action::Ask(Ask::Egresses)));
    assert!(!begins(&plan));
    let later = Scene::new().pod(1).room(1).listed(vec![]).attempt(1, 91);
    let later = later.remembering(|memory| memory.counted = 1).plan();
    assert!(does(&later, |action| matches!(action, Action::WriteIntent { attempt: 2, .. })));
}

#[test]
fn an_egress_that_is_found_by_its_url_is_adopted() {
    let plan = Scene::new().pod(1).room(1).attempt(1, 30).listed(vec![egress("EG_a", 1)]).hearing(1).plan();
    assert_eq!(plan.status.egresses[0].id, "EG_a");
    assert_eq!(reason(&plan, ConditionType::EgressActive), "Active");
    assert!(!begins(&plan));
}

#[test]
fn of_two_egresses_the_newest_attempt_stays() {
    let egresses = vec![egress("EG_a", 1), egress("EG_b", 2)];
    let plan = Scene::new().pod(1).room(1).attempt(2, 30).listed(egresses).hearing(2).plan();
    assert!(does(&plan, |action| *action == Action::StopEgress { id: "EG_a".into() }));
    assert!(!does(&plan, |action| *action == Action::StopEgress { id: "EG_b".into() }));
}

#[test]
fn a_muted_room_is_ready() {
    let plan = Scene::new().pod(1).room(0).attempt(1, 100).listed(vec![egress("EG_a", 1)]).hearing(0).plan();
    assert_eq!(reason(&plan, ConditionType::Ready), "WaitingForAudio");
    assert!(condition::is_true(&plan.status.conditions, ConditionType::Ready));
    assert!(!begins(&plan));
}

#[test]
fn an_open_microphone_that_is_not_heard_for_five_seconds_gets_the_next_attempt_at_once() {
    let scene = || Scene::new().pod(1).room(1).attempt(1, 300).listed(vec![active("EG_a", 1)]).hearing(0);
    let first = scene().plan();
    assert!(!begins(&first));
    let plan = scene().remembering(|memory| memory.unheard_since = Some(at(-5))).plan();
    assert!(does(&plan, |action| matches!(action, Action::WriteIntent { attempt: 2, .. })));
}

#[test]
fn a_worker_whose_container_ended_is_followed_by_the_next_attempt_as_soon_as_it_listens() {
    let plan = Scene::new()
        .restarted_pod(1, 10)
        .room(1)
        .attempt(1, 300)
        .listed(vec![active("EG_a", 1)])
        .hearing(0)
        .plan();
    assert!(does(&plan, |action| matches!(action, Action::WriteIntent { attempt: 2, .. })));
}

#[test]
fn the_older_egress_is_stopped_once_the_next_attempt_was_called_and_not_waited_for() {
    let plan = Scene::new()
        .pod(1)
        .room(1)
        .attempt(2, 3)
        .listed(vec![active("EG_a", 1)])
        .remembering(|memory| {
            memory.start =
                Some(StartCall { attempt: 2, at: at(-2), moves: None, answered_at: None, outcome: None });
        })
        .plan();
    assert!(does(&plan, |action| *action == Action::StopEgress { id: "EG_a".into() }));
}

#[test]
fn a_failed_egress_is_followed_after_a_wait_that_grows() {
    let failed =
        Egress { state: EgressState::Failed, error: "Could not connect".into(), ..egress("EG_a", 1) };
    let plan = Scene::new().pod(1).room(1).attempt(1, 5).listed(vec![failed]).plan();
    assert_eq!(reason(&plan, ConditionType::EgressActive), "EgressFailed");
    assert_eq!((plan.memory.failures, plan.memory.retry_at), (1, Some(at(1))));
    assert!(!does(&plan, |action| matches!(action, Action::WriteIntent { .. })));
}

#[test]
fn an_egress_that_ended_with_a_silent_room_waits_for_the_next_voice() {
    let ended = Egress { state: EgressState::Complete, ..egress("EG_a", 1) };
    let silent = Scene::new().pod(1).room(0).attempt(1, 300).listed(vec![ended.clone()]).hearing(0).plan();
    assert!(!begins(&silent));
    let spoken = Scene::new().pod(1).room(1).attempt(1, 300).listed(vec![ended]).hearing(0).plan();
    assert!(does(&spoken, |action| matches!(action, Action::WriteIntent { attempt: 2, .. })));
}

#[test]
fn a_refused_speech_key_stops_the_egress_and_starts_no_other() {
    let plan = Scene::new()
        .pod(1)
        .room(1)
        .attempt(1, 300)
        .listed(vec![active("EG_a", 1)])
        .hearing(1)
        .speech(SpeechState::Refused(Reason::CredentialsRejected))
        .plan();
    assert!(does(&plan, |action| *action == Action::StopEgress { id: "EG_a".into() }));
    assert_eq!(reason(&plan, ConditionType::Transcribing), "CredentialsRejected");
    assert!(!begins(&plan));
}

#[test]
fn a_new_speech_key_makes_a_new_pod() {
    let plan = Scene::new()
        .pod(1)
        .room(1)
        .attempt(1, 300)
        .listed(vec![])
        .speech(SpeechState::Refused(Reason::CredentialsRejected))
        .remembering(|memory| memory.rejected_version = Some(7))
        .plan();
    assert!(does(&plan, |action| matches!(action, Action::DeletePod { .. })));
}

#[test]
fn a_second_container_exit_within_ten_minutes_replaces_the_pod() {
    let plan =
        Scene::new().crashed_pod(1, 2).remembering(|memory| memory.exits = vec![at(-200), at(-20)]).plan();
    assert!(does(&plan, |action| matches!(action, Action::EnsureWorker { attempt: 2, .. })));
    assert!(does(&plan, |action| matches!(action, Action::DeletePod { .. })));
}

#[test]
fn a_useless_pod_makes_room_for_its_successor_in_the_quota() {
    let plan =
        Scene::new().crashed_pod(1, 2).remembering(|memory| memory.exits = vec![at(-200), at(-20)]).plan();
    let position =
        |wanted: &dyn Fn(&Action) -> bool| plan.actions.iter().position(|planned| wanted(&planned.action));
    let deleted = position(&|action| matches!(action, Action::DeletePod { .. })).unwrap();
    assert!(deleted < position(&|action| matches!(action, Action::EnsureWorker { .. })).unwrap());
}

#[test]
fn a_pod_on_a_lost_node_is_replaced() {
    let plan = Scene::new().pod(1).state(PodState::NodeLost).attempt(1, 300).listed(vec![]).plan();
    assert!(does(&plan, |action| *action == Action::EnsureWorker { attempt: 2, selects: 2 }));
}

#[test]
fn a_pod_whose_deletion_hangs_on_a_lost_node_is_deleted_once_more() {
    let hanging = || Scene::new().leaving_pod(1).state(PodState::NodeLost);
    let again =
        |plan: &Plan| does(plan, |action| *action == Action::DeletePod { name: "ts-standup-1".into() });
    let running = hanging().pod(2).room(1).attempt(2, 300).listed(vec![active("EG_b", 2)]).hearing(2).plan();
    assert!(again(&running));
    let ending =
        hanging().spec(|spec| spec.desired_state = DesiredState::Stopped).attempt(1, 300).listed(vec![]);
    assert!(again(&ending.plan()));
}

#[test]
fn a_drain_moves_the_healthy_egress_by_one_update() {
    let scene = || {
        Scene::new().leaving_pod(1).pod(2).room(1).attempt(1, 300).listed(vec![active("EG_a", 1)]).hearing(1)
    };
    let how = How::Move { egress: "EG_a".into(), from: 1 };
    let plan = scene().plan();
    assert!(does(&plan, |action| *action == Action::WriteIntent { attempt: 2, how: how.clone() }));
    let next = scene()
        .attempt(2, 0)
        .remembering(|memory| memory.intent = Some(Intent { attempt: 2, how: how.clone() }))
        .plan();
    assert!(does(&next, |action| *action == Action::MoveEgress { id: "EG_a".into(), from: 1, to: 2 }));
    assert!(!does(&next, |action| matches!(action, Action::StopEgress { .. })));
}

#[test]
fn a_drain_keeps_the_service_on_the_old_pod_until_the_new_one_listens() {
    let plan =
        Scene::new().leaving_pod(1).attempt(1, 300).room(1).listed(vec![active("EG_a", 1)]).hearing(1).plan();
    assert!(does(&plan, |action| *action == Action::EnsureWorker { attempt: 2, selects: 1 }));
}

#[test]
fn push_needs_no_livekit() {
    let plan = Scene::new().spec(|spec| spec.capture.mode = CaptureMode::Push).pod(1).hearing(1).plan();
    assert!(condition::is_true(&plan.status.conditions, ConditionType::Ready));
    assert!(!does(&plan, |action| matches!(action, Action::Ask(_) | Action::WriteIntent { .. })));
}

#[test]
fn a_stop_ends_the_egress_first_then_the_worker_then_the_service() {
    let stopped =
        || Scene::new().spec(|spec| spec.desired_state = DesiredState::Stopped).attempt(1, 300).room(1);
    let first = stopped().pod(1).listed(vec![active("EG_a", 1)]).hearing(1).plan();
    assert!(does(&first, |action| *action == Action::StopEgress { id: "EG_a".into() }));
    assert!(!does(&first, |action| matches!(action, Action::StopWorker { .. })));
    let second = stopped().pod(1).listed(vec![]).plan();
    assert!(does(&second, |action| matches!(action, Action::StopWorker { reason: Reason::Stopped })));
    let third = stopped().service(1).listed(vec![]).plan();
    assert!(does(&third, |action| *action == Action::DeleteService));
    let last = stopped().listed(vec![]).plan();
    assert_eq!(reason(&last, ConditionType::Succeeded), "Stopped");
    assert_eq!(last.status.summary, Some(Summary::Succeeded));
    assert!(last.status.completed_at.is_some());
}

#[test]
fn a_delete_while_livekit_is_down_gives_up_at_its_deadline_and_says_so() {
    let scene = |ago: i64| {
        Scene::new()
            .attempt(1, 1000)
            .deleted(ago)
            .listed_at(-600, vec![active("EG_a", 1)])
            .livekit(|livekit| livekit.error = Some(LiveKitError::Unreachable))
    };
    let early = scene(100).plan();
    assert!(!does(&early, |action| *action == Action::RemoveFinalizer));
    let late = scene(301).plan();
    assert!(late.actions.iter().any(|planned| planned.why == Reason::EgressCleanupAbandoned));
    assert!(does(&late, |action| *action == Action::RemoveFinalizer));
}

#[test]
fn a_session_that_is_never_ready_gives_up_at_its_start_deadline() {
    let plan = Scene::new().pod(1).no_room().listed(vec![]).later(601).plan();
    assert_eq!(reason(&plan, ConditionType::Succeeded), "StartDeadlineExceeded");
}

#[test]
fn the_longest_duration_ends_a_session() {
    let plan = Scene::new()
        .started(-43_200)
        .pod(1)
        .room(1)
        .attempt(1, 300)
        .listed(vec![active("EG_a", 1)])
        .hearing(1)
        .plan();
    assert_eq!(reason(&plan, ConditionType::Succeeded), "MaxDuration");
    assert!(does(&plan, |action| matches!(action, Action::StopEgress { .. })));
}

#[test]
fn a_finished_session_is_deleted_after_its_time_to_live() {
    let plan = Scene::new().completed(-3600).plan();
    assert!(does(&plan, |action| *action == Action::DeleteSession));
    let before = Scene::new().completed(-100).plan();
    assert!(!does(&before, |action| *action == Action::DeleteSession));
    assert_eq!(before.wake_at, Some(at(3500)));
}

#[test]
fn the_collector_stops_only_what_no_session_wants() {
    let owned = |session: &str, id: &str| collect::Owned { session: session.into(), egress: active(id, 1) };
    let all = [owned("a", "EG_1"), owned("b", "EG_2"), owned("c", "EG_3")];
    let fate = |session: &str| match session {
        "a" => collect::Fate::Active,
        "b" => collect::Fate::Finished,
        _ => collect::Fate::Gone,
    };
    assert_eq!(collect::orphans(&all, fate), ["EG_2", "EG_3"]);
}

fn egress(id: &str, attempt: u32) -> Egress {
    Egress {
        id: id.into(),
        attempt,
        state: EgressState::Starting,
        error: String::new(),
        uses_chrome: false,
        started_at: Some(at(-300)),
        ended_at: None,
    }
}

fn active(id: &str, attempt: u32) -> Egress {
    Egress { state: EgressState::Active, ..egress(id, attempt) }
}

#[test]
fn a_wait_is_never_in_the_past() {
    assert!(Scene::new().plan().wake_at.unwrap() > at(0));
}
