//! Rows about what people read: a process that has just begun, ends, counters, pods that were lost.

use crate::scene::{Scene, at};
use crate::{active, begins, does, egress, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{DesiredState, Summary};
use roomscribe_plan::*;

fn running() -> Scene {
    let scene = Scene::new().pod(1).room(1).attempt(1, 300).listed(vec![active("EG_a", 1)]).hearing(1);
    scene.started(-200).later(400)
}

#[test]
fn a_process_that_has_just_begun_does_not_make_a_healthy_session_look_ill() {
    let healthy = running().plan();
    assert_eq!(healthy.status.summary, Some(Summary::Live));
    let nothing_known = |scene: Scene| {
        scene.livekit(|livekit| *livekit = LiveKit::default()).unasked_worker().after(&healthy).taken_over()
    };
    for plan in [nothing_known(running()).plan_at(1), nothing_known(running()).unknown_cluster().plan_at(1)] {
        assert_eq!(plan.status, healthy.status);
        assert!(!does(&plan, |action| matches!(action, Action::Event { .. })));
    }
    // Ten seconds later silence says something.
    let late = nothing_known(running()).remembering(|memory| memory.began_at = Some(at(-10))).plan();
    assert_eq!(reason(&late, ConditionType::Transcribing), "WorkerUnreachable");
}

#[test]
fn what_a_new_process_sees_is_said_at_once() {
    let healthy = running().plan();
    let scene = running().state(PodState::NodeLost).after(&healthy).taken_over().plan_at(1);
    assert_eq!(reason(&scene, ConditionType::Ready), "NodeLost");
}

#[test]
fn a_worker_that_does_not_answer_the_kubelet_is_unreachable_and_not_restarting() {
    let exit = ContainerExit { code: 1, reason: "Error".into(), words: String::new(), at: at(-300) };
    let hung = running()
        .state(PodState::NotListening)
        .but(|pod| (pod.restarts, pod.last_exit) = (1, Some(exit.clone())));
    assert_eq!(reason(&hung.plan(), ConditionType::WorkerReady), "WorkerUnreachable");
    let back = running().state(PodState::NotListening);
    let back = back.but(|pod| {
        (pod.restarts, pod.last_exit, pod.container_started_at) = (1, Some(exit), Some(at(-2)));
    });
    assert_eq!(reason(&back.plan(), ConditionType::WorkerReady), "WorkerRestarting");
}

#[test]
fn the_attempt_after_a_lost_or_evicted_pod_says_why_it_came() {
    for (state, word) in
        [(PodState::NodeLost, Reason::NodeLost), (PodState::Failed(Reason::Evicted), Reason::Evicted)]
    {
        let lost = running().state(state).hearing(0).plan();
        let event =
            lost.actions.iter().find(|planned| matches!(planned.action, Action::Event { .. })).unwrap();
        assert!(matches!(event.action, Action::Event { kind: EventKind::Warning, .. }) && event.why == word);
        let next = Scene::new().pod(2).room(1).listed(vec![active("EG_a", 1)]).hearing(0).after(&lost).plan();
        let intent =
            next.actions.iter().find(|planned| matches!(planned.action, Action::WriteIntent { .. })).unwrap();
        assert_eq!(intent.why, word);
        assert_eq!(reason(&next, ConditionType::EgressActive), word.as_str());
        assert_eq!(next.memory.replaced, None);
    }
}

#[test]
fn a_failed_egress_is_told_in_livekit_s_words() {
    let failed = Egress { state: EgressState::Failed, error: "no space left".into(), ..egress("EG_a", 1) };
    let plan = Scene::new().pod(1).room(1).attempt(1, 5).listed(vec![failed]).hearing(0).plan();
    let word = condition::find(&plan.status.conditions, ConditionType::EgressActive).unwrap();
    assert_eq!(
        (word.reason.as_str(), word.message.as_str()),
        ("EgressFailed", "LiveKit said: no space left")
    );
    let event = plan.actions.iter().find(|planned| matches!(planned.action, Action::Event { .. })).unwrap();
    assert!(matches!(event.action, Action::Event { kind: EventKind::Warning, .. }));
}

#[test]
fn an_end_says_what_it_waits_for_and_until_when() {
    let message = |scene: Scene| {
        let plan = scene.plan();
        condition::find(&plan.status.conditions, ConditionType::Succeeded).unwrap().message.clone()
    };
    let unknown = message(Scene::new().pod(1).attempt(3, 20).listed(vec![]).deleted(10));
    for part in ["attempt 3", "2026-11-25T12:01:10Z", "2026-11-25T12:04:50Z"] {
        assert!(unknown.contains(part), "{part}: {unknown}");
    }
    let live = message(running().deleted(10));
    assert!(live.contains("EG_a") && live.contains("2026-11-25T12:04:50Z"), "{live}");
    let drains = message(Scene::new().pod(1).attempt(1, 300).listed(vec![]).deleted(10));
    assert!(drains.contains("drained"), "{drains}");
}

#[test]
fn a_short_session_has_its_start_and_its_usage_when_it_ends() {
    let scene = |listing: Vec<Egress>| {
        let scene = Scene::new().pod(1).room(1).attempt(1, 20).listed(listing).hearing(1);
        scene.spec(|spec| spec.desired_state = DesiredState::Stopped)
    };
    let spoke = |report: &mut WorkerReport| (report.media_ms, report.since) = (7_400, at(-8));
    let lives = Egress { started_at: Some(at(-10)), ..active("EG_a", 1) };
    let first = scene(vec![lives.clone()]).report(spoke).plan();
    assert_eq!(first.status.started_at, Some(Time(at(-8))));
    assert_eq!(first.status.usage.as_ref().map(|usage| usage.speech_seconds), Some(7));
    let ended = Egress { state: EgressState::Complete, ended_at: Some(at(2)), ..lives };
    let last = Scene::new().listed_at(6, vec![ended]).after(&first);
    let last = last.spec(|spec| spec.desired_state = DesiredState::Stopped).plan_at(6);
    let usage = last.status.usage.unwrap();
    // LiveKit's own end, not ours.
    assert_eq!((usage.egress_seconds, usage.speech_seconds, usage.speech_sessions), (12, 7, 1));
    assert!(last.status.completed_at.is_some());
}

#[test]
fn an_egress_that_vanished_ended_when_it_was_seen_last() {
    let begun = Egress { started_at: Some(at(-100)), ..active("EG_a", 1) };
    let seen = Scene::new().pod(1).room(1).attempt(1, 100).listed(vec![begun]).hearing(1).plan();
    let gone = Scene::new().pod(1).room(1).listed_at(60, vec![]).hearing(0).after(&seen).plan_at(60);
    assert_eq!(gone.status.egresses[0].ended_at, Some(Time(at(0))));
}

#[test]
fn a_process_that_has_just_begun_and_is_refused_by_livekit_does_not_say_that_a_heard_session_is_not_ready() {
    let healthy = running().plan();
    let refused = |livekit: &mut LiveKit| {
        *livekit = LiveKit { error: Some(LiveKitError::CredentialsRefused), ..LiveKit::default() };
    };
    let plan = running().livekit(refused).unasked_worker().after(&healthy).taken_over().plan_at(1);
    assert_eq!(reason(&plan, ConditionType::Accepted), reason(&healthy, ConditionType::Accepted));
    assert!(!does(&plan, |action| matches!(action, Action::Event { .. })));
}

#[test]
fn an_egress_that_is_heard_again_before_its_successor_was_started_is_moved_instead() {
    let scene = |state: EgressState| {
        let egress = Egress { state, ..active("EG_a", 1) };
        Scene::new().pod(2).room(1).intended(2, 5).listed(vec![egress]).hearing(1)
    };
    let first = scene(EgressState::Active).plan();
    assert!(!begins(&first));
    let how = How::Move { egress: "EG_a".into(), from: 1 };
    assert_eq!(first.memory.intent, Some(Intent { attempt: 2, how }));
    let second = scene(EgressState::Active).after(&first).plan_at(1);
    let moves = Action::MoveEgress { id: "EG_a".into(), from: 1, to: 2 };
    assert!(does(&second, |action| *action == moves));
    // UpdateStream wants an egress that LiveKit calls ACTIVE.
    let waits = scene(EgressState::Starting).plan();
    assert!(!begins(&waits) && does(&waits, |action| *action == Action::Ask(Ask::Egresses)));
}

#[test]
fn a_deletion_that_livekit_never_confirmed_names_the_egress_of_the_status_to_a_new_process_too() {
    let healthy = running().plan();
    let unreachable = |livekit: &mut LiveKit| {
        *livekit = LiveKit { error: Some(LiveKitError::Unreachable), ..LiveKit::default() };
    };
    let late = running().livekit(unreachable).after(&healthy).taken_over().deleted(400).plan();
    let told = late.actions.iter().any(|planned| {
        planned.why == Reason::EgressCleanupAbandoned
            && matches!(&planned.action, Action::Event { note, .. } if note.contains("EG_a"))
    });
    assert!(told, "{:?}", late.actions);
}

#[test]
fn a_session_let_go_by_force_takes_its_pod_and_service_along() {
    let plan = running().deleted(10).forced().plan();
    assert!(does(&plan, |action| matches!(action, Action::StopWorker { .. })));
    let freed = Scene::new().service(1).attempt(1, 300).deleted(10).forced().plan();
    assert!(does(&freed, |action| *action == Action::DeleteService));
    assert!(does(&freed, |action| *action == Action::RemoveFinalizer));
}

#[test]
fn a_livekit_without_room_is_said_until_an_egress_comes() {
    let failed = Scene::new().pod(1).room(1).attempt(1, 40).listed(vec![]);
    let looked_for = failed.answered(1, (40, 1), StartOutcome::NoCapacity).plan();
    assert_eq!(reason(&looked_for, ConditionType::EgressActive), "CapacityExhausted");
    assert_eq!(looked_for.status.attempt, Some(1));
    let next = Scene::new().pod(1).room(1).intended(2, 1).listed(vec![]);
    let under_way = next.said(ConditionType::EgressActive, Verdict::False, Reason::CapacityExhausted).plan();
    assert_eq!(reason(&under_way, ConditionType::EgressActive), "CapacityExhausted");
}

#[test]
fn a_start_that_was_never_sent_is_not_looked_for() {
    let scene = Scene::new().pod(1).room(1).attempt(1, 20).listed(vec![]);
    let plan = scene.answered(1, (20, 20), StartOutcome::NotSent).plan();
    assert_eq!(reason(&plan, ConditionType::EgressActive), "LiveKitUnreachable");
    assert!(plan.memory.failures == 1 && plan.memory.retry_at.is_some());
}

/// A late start: heard a second ago, two seconds after the last listing was made.
fn heard_since_the_listing() -> Scene {
    let scene = Scene::new().pod(1).room(1).attempt(1, 95).listed_at(-3, vec![]).hearing(1);
    scene.report(|report| report.since = at(-1)).remembering(|memory| memory.heard = 1)
}

#[test]
fn an_egress_that_is_heard_since_the_last_listing_is_looked_for_and_no_second_one_begins() {
    let plan = heard_since_the_listing().plan();
    assert!(!begins(&plan) && plan.memory.intent.is_none());
    assert!(does(&plan, |action| *action == Action::Ask(Ask::Egresses)));
}

#[test]
fn a_session_does_not_end_while_an_egress_is_heard_that_the_last_listing_lacks() {
    let plan = heard_since_the_listing().deleted(5).plan();
    assert!(!does(&plan, |action| matches!(action, Action::StopWorker { .. })));
    assert!(does(&plan, |action| *action == Action::Ask(Ask::Egresses)));
    let seen = heard_since_the_listing().listed_at(0, vec![active("EG_a", 1)]).deleted(5).plan();
    assert!(does(&seen, |action| *action == Action::StopEgress { id: "EG_a".into() }));
}
