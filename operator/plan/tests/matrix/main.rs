//! The failure matrix, row by row: what is seen, what is done, what people read.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

mod keys;
mod reasons;
mod rooms;
mod scene;
mod tales;

use roomscribe_crds::condition::{self, ConditionType};
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{CaptureMode, DesiredState, Summary};
use roomscribe_plan::*;
use scene::{Scene, at};

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

fn message(plan: &Plan, kind: ConditionType) -> String {
    condition::find(&plan.status.conditions, kind)
        .map(|condition| condition.message.clone())
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
    let plan = Scene::new().listed(vec![]).plan();
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
fn an_attempt_that_was_called_after_the_container_came_back_is_not_followed_by_another() {
    let scene = Scene::new().restarted_pod(1, 10).room(1).attempt(1, 300);
    let plan = scene
        .listed(vec![active("EG_a", 1)])
        .hearing(0)
        .answered(1, (5, 4), StartOutcome::Started { id: "EG_a".into() })
        .plan();
    assert!(!does(&plan, |action| matches!(action, Action::WriteIntent { .. })));
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
fn a_second_container_exit_within_ten_minutes_replaces_the_pod() {
    let plan =
        Scene::new().crashed_pod(1, 2).remembering(|memory| memory.exits = vec![at(-200), at(-20)]).plan();
    assert!(does(&plan, |action| matches!(action, Action::EnsureWorker { attempt: 2, .. })));
    assert!(does(&plan, |action| matches!(action, Action::DeletePod { .. })));
}

#[test]
fn a_new_operator_replaces_a_pod_that_is_younger_than_ten_minutes_and_has_ended_twice() {
    let of_age = |seconds: i64| {
        let exit = ContainerExit { code: 137, reason: "Error".into(), words: String::new(), at: at(-5) };
        Scene::new().crashed_pod(1, 2).taken_over().but(move |pod| {
            (pod.created_at, pod.last_exit) = (Some(at(-seconds)), Some(exit.clone()));
        })
    };
    let replaces = |plan: &Plan| does(plan, |action| matches!(action, Action::DeletePod { .. }));
    assert!(replaces(&of_age(60).plan()));
    assert!(!replaces(&of_age(3600).plan()), "its first end may be long ago");
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
    let moves =
        |plan: &Plan| does(plan, |action| *action == Action::WriteIntent { attempt: 2, how: how.clone() });
    assert!(moves(&scene().plan()));
    let first = scene().settling().plan();
    assert!(!moves(&first), "the rules of a new pod are not everywhere yet");
    let second = scene().settling().after(&first).plan_at(1);
    assert_eq!((moves(&second), second.wake_at), (false, Some(at(3))));
    assert!(moves(&scene().settling().after(&second).plan_at(3)));
    let refused = |ago: i64| {
        let start = StartCall {
            attempt: 2,
            at: at(-ago),
            moves: Some("EG_a".into()),
            answered_at: Some(at(-ago)),
            outcome: Some(StartOutcome::Refused("no such URL".into())),
        };
        scene().remembering(move |memory| {
            memory.start = Some(start.clone());
        })
    };
    let begins = |plan: &Plan| does(plan, |action| matches!(action, Action::WriteIntent { .. }));
    assert!(!begins(&refused(2).plan()), "a move that was refused is not asked again at once");
    let other = scene().settling().remembering(|memory| memory.selected = Some(((1, 0), at(-60)))).plan();
    assert!(!moves(&other), "another pod's time does not count");
    let next = scene()
        .attempt(2, 0)
        .remembering(|memory| memory.intent = Some(Intent { attempt: 2, how: how.clone() }))
        .plan();
    assert!(does(&next, |action| *action == Action::MoveEgress { id: "EG_a".into(), from: 1, to: 2 }));
    assert!(!does(&next, |action| matches!(action, Action::StopEgress { .. })));
}

#[test]
fn an_egress_is_started_once_the_nodes_have_had_time_to_learn_where_its_worker_is() {
    let scene = || Scene::new().settling().pod(1).room(1).listed(vec![]);
    let begins = |plan: &Plan| does(plan, |action| matches!(action, Action::WriteIntent { .. }));
    let first = scene().plan();
    assert_eq!((begins(&first), first.wake_at), (false, Some(at(1))));
    assert!(begins(&scene().after(&first).plan_at(1)));
    let restarted = scene().but(|pod| pod.restarts = 1).after(&first).plan_at(1);
    assert!(!begins(&restarted), "a container that ended meanwhile was taken out of the rules");
    let gone = scene().state(PodState::NotListening).after(&first).plan_at(1);
    assert_eq!(gone.memory.selected, None);
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
fn a_session_that_is_let_go_by_force_names_the_egress_that_nobody_has_seen_end_first_and_once() {
    let scene =
        || Scene::new().attempt(1, 1000).deleted(10).forced().listed_at(-600, vec![active("EG_a", 1)]);
    let plan = scene().plan();
    let told = |plan: &Plan| {
        plan.actions.iter().position(|planned| {
            planned.why == Reason::EgressCleanupAbandoned
                && matches!(&planned.action, Action::Event { kind: EventKind::Warning, note } if note.contains("EG_a"))
        })
    };
    let let_go = plan.actions.iter().position(|planned| planned.action == Action::RemoveFinalizer);
    assert!(told(&plan).is_some() && told(&plan) < let_go, "{:?}", plan.actions);
    assert_eq!(told(&scene().after(&plan).plan()), None);
    let nothing = Scene::new().deleted(10).forced().listed(vec![]).plan();
    assert!(nothing.actions.iter().all(|planned| planned.why != Reason::EgressCleanupAbandoned));
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
        origin: "rtmp://198.18.0.9:1935".into(),
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

#[test]
fn several_plans_on_one_look_at_a_missing_room_wait_no_longer_than_one() {
    let scene = || Scene::new().pod(1).no_room().listed(vec![]);
    let first = scene().plan();
    let memory = first.memory.clone();
    let again = scene().remembering(move |kept| *kept = memory).plan();
    assert_eq!((again.memory.room_looks, again.wake_at), (1, first.wake_at));
}
