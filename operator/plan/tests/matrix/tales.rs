//! Rows about what people read: a process that has just begun, ends, counters, pods that were lost.

use crate::scene::{Scene, at};
use crate::{active, does, egress, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomscribe_crds::condition::{self, ConditionType};
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
    let exit = ContainerExit { code: 1, reason: "Error".into(), at: at(-300) };
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
