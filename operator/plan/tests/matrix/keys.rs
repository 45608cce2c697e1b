//! Rows about keys: the speech service's, LiveKit's, and the stream key; and about pods that are replaced for them.

use crate::scene::{Scene, at};
use crate::{active, begins, does, egress, message, reason};
use roomscribe_crds::condition::{self, ConditionType, Verdict};
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{CaptureMode, Summary};
use roomscribe_plan::*;

fn refused(scene: Scene) -> Scene {
    scene.speech(SpeechState::Refused(Reason::CredentialsRejected))
}

fn running() -> Scene {
    Scene::new().pod(1).room(1).attempt(1, 300).listed(vec![active("EG_a", 1)]).hearing(1)
}

fn deletes(plan: &Plan, name: &str) -> bool {
    does(plan, |action| *action == Action::DeletePod { name: name.into() })
}

#[test]
fn a_refused_speech_key_frees_what_costs_and_is_tried_again_with_a_new_pod_after_five_minutes() {
    let plan = refused(running()).plan();
    assert!(does(&plan, |action| *action == Action::StopEgress { id: "EG_a".into() }));
    assert!(deletes(&plan, "ts-standup-1"));
    assert!(!does(&plan, |action| *action == Action::DeleteService));
    assert_eq!(plan.status.summary, Some(Summary::Recovering));
    let word = condition::find(&plan.status.conditions, ConditionType::Transcribing).unwrap();
    assert!(word.message.contains("2026-11-25T12:05:00Z"), "{}", word.message);
    let complete = || vec![Egress { state: EgressState::Complete, ..egress("EG_a", 1) }];
    let freed = || Scene::new().service(1).room_at(0, Some(Room { participants: 1, open_microphones: 1 }));
    let waits = freed().listed(complete()).after(&plan).plan_at(299);
    assert!(!begins(&waits));
    assert_eq!(reason(&waits, ConditionType::Ready), "CredentialsRejected");
    let tries = freed().listed(complete()).after(&waits).plan_at(300);
    assert!(does(&tries, |action| *action == Action::EnsureWorker { attempt: 2, selects: 2 }));
}

/// The pod of attempt 2 tries after a first refusal; `times` so far.
fn trying(times: u32) -> Scene {
    let refusal = Refusal {
        reason: Reason::CredentialsRejected,
        of: (1, Some(1)),
        by: "uid-1".into(),
        times,
        retry_at: None,
    };
    let scene = Scene::new().pod(2).room(1).attempt(2, 20).listed(vec![active("EG_b", 2)]).hearing(2);
    scene.remembering(|memory| memory.refusal = Some(refusal))
}

#[test]
fn the_wait_doubles_up_to_an_hour_and_no_refusal_is_counted_twice() {
    for (times, wait) in [(1, 600), (2, 1200), (3, 2400), (4, 3600), (9, 3600)] {
        let second = |pod: &str| {
            let pod = pod.to_owned();
            refused(trying(times)).report(move |report| report.pod = pod).plan().memory.refusal.unwrap()
        };
        assert_eq!(
            (second("ts-standup-2").times, second("ts-standup-2").retry_at),
            (times + 1, Some(at(wait)))
        );
    }
    let again = refused(trying(1)).report(|report| report.pod = "uid-1".into()).plan();
    assert_eq!(again.memory.refusal.map(|refusal| (refusal.times, refusal.retry_at)), Some((1, None)));
}

#[test]
fn a_worker_that_is_live_clears_the_refusal_at_once() {
    let plan = trying(3).plan();
    assert_eq!(plan.memory.refusal, None);
    assert_eq!(plan.status.summary, Some(Summary::Live));
    let connecting = trying(3).speech(SpeechState::Connecting).plan();
    assert_eq!(reason(&connecting, ConditionType::Ready), "CredentialsRejected");
}

#[test]
fn another_secret_or_another_spec_is_tried_at_once() {
    let first = refused(running()).plan();
    let freed = || Scene::new().service(1).listed(vec![]).room(1).after(&first);
    assert!(!begins(&freed().plan_at(30)));
    let secret = freed().gate(|gate| gate.secrets = Known::Known(Secrets::Ready { version: 2 }));
    assert!(begins(&secret.plan_at(30)));
    assert!(begins(&freed().generation(2).plan_at(30)));
}

#[test]
fn a_session_that_was_never_live_gives_up_at_its_start_deadline_and_another_goes_on() {
    let refusal = || refused(running()).plan().memory.refusal;
    let late = || {
        let scene = Scene::new().service(1).listed(vec![]).attempt(1, 590).later(601);
        scene.remembering(|memory| memory.refusal = refusal())
    };
    assert_eq!(reason(&late().plan(), ConditionType::Succeeded), "StartDeadlineExceeded");
    assert_eq!(reason(&late().started(-500).plan(), ConditionType::Succeeded), "Running");
    // Heard while the speech service had not answered: that was not up.
    let connecting = running().speech(SpeechState::Connecting).plan();
    assert_eq!(reason(&connecting, ConditionType::Succeeded), "Starting");
}

#[test]
fn a_container_that_ended_with_78_is_a_refusal() {
    let scene = Scene::new().pod(1).state(PodState::NotListening).attempt(1, 60).listed(vec![]).room(1);
    let exit = ContainerExit { code: 78, reason: "Error".into(), words: String::new(), at: at(-2) };
    let plan = scene.but(|pod| pod.last_exit = Some(exit)).plan();
    assert_eq!(plan.memory.refusal.as_ref().map(|refusal| refusal.retry_at), Some(Some(at(300))));
    assert!(deletes(&plan, "ts-standup-1") && !begins(&plan));
}

#[test]
fn nothing_is_made_for_a_session_before_livekit_has_answered_once() {
    let error = |error| Scene::new().livekit(|livekit| livekit.error = Some(error)).plan();
    let fresh = Scene::new().plan();
    assert!(!begins(&fresh) && does(&fresh, |action| *action == Action::Ask(Ask::Egresses)));
    let unreachable = error(LiveKitError::Unreachable);
    assert!(!begins(&unreachable));
    assert_eq!(reason(&unreachable, ConditionType::Ready), "LiveKitUnreachable");
    assert_eq!(reason(&unreachable, ConditionType::Accepted), "Accepted");
    assert!(!begins(&error(LiveKitError::CredentialsRefused)));
    let push = Scene::new().spec(|spec| spec.capture.mode = CaptureMode::Push);
    assert!(begins(&push.livekit(|livekit| livekit.error = Some(LiveKitError::Unreachable)).plan()));
}

#[test]
fn a_livekit_that_fails_at_once_is_asked_every_thirty_seconds_while_audio_flows() {
    let scene = || {
        let scene = Scene::new().pod(1).room(1).attempt(1, 300).listed(vec![active("EG_a", 1)]).hearing(1);
        scene.livekit(|livekit| livekit.error = Some(LiveKitError::Unreachable))
    };
    let (mut plan, mut asked) = (scene().plan(), 1);
    for second in 1..60 {
        plan = scene().after(&plan).plan_at(second);
        asked += i32::from(does(&plan, |action| *action == Action::Ask(Ask::Egresses)));
    }
    assert_eq!(asked, 2);
}

#[test]
fn a_session_that_is_heard_stays_ready_while_livekit_cannot_be_asked_and_says_it_beside() {
    for (error, word) in [
        (LiveKitError::Unreachable, "does not answer"),
        (LiveKitError::CredentialsRefused, "refused the API key"),
    ] {
        // An older egress that should be stopped changes nothing.
        let egresses = vec![active("EG_b", 2), active("EG_a", 1)];
        let scene =
            Scene::new().pod(1).room(1).attempt(2, 300).listed(egresses).hearing(2).started(-200).later(400);
        let plan = scene.livekit(|livekit| livekit.error = Some(error)).plan();
        let active = condition::find(&plan.status.conditions, ConditionType::EgressActive).unwrap();
        assert_eq!((active.status.as_str(), active.reason.as_str()), ("True", "Active"));
        assert!(active.message.contains(word), "{}", active.message);
        assert!(condition::is_true(&plan.status.conditions, ConditionType::Ready));
        assert!(condition::is_true(&plan.status.conditions, ConditionType::Accepted));
        assert_eq!(plan.status.summary, Some(Summary::Live));
    }
}

#[test]
fn a_session_that_needs_livekit_says_that_it_cannot_be_asked() {
    for (error, word) in [
        (LiveKitError::Unreachable, "LiveKitUnreachable"),
        (LiveKitError::CredentialsRefused, "CredentialsRefused"),
    ] {
        let scene = Scene::new().pod(1).attempt(1, 300).started(-200).later(400).hearing(0);
        let plan = scene
            .listed_at(-60, vec![active("EG_a", 1)])
            .livekit(|livekit| livekit.error = Some(error))
            .plan();
        assert_eq!(reason(&plan, ConditionType::EgressActive), word);
        assert_eq!(reason(&plan, ConditionType::Ready), word);
        assert_eq!(plan.status.summary, Some(Summary::Recovering));
    }
}

#[test]
fn while_livekit_refuses_the_key_a_lost_pod_is_replaced_only_for_an_egress_that_may_run() {
    let scene = |egresses: Vec<Egress>| {
        let scene = Scene::new().pod(1).state(PodState::NodeLost).attempt(1, 300).listed(egresses);
        begins(&scene.livekit(|livekit| livekit.error = Some(LiveKitError::CredentialsRefused)).plan())
    };
    assert!(scene(vec![active("EG_a", 1)]));
    assert!(!scene(vec![]));
}

#[test]
fn a_raised_key_generation_makes_a_push_session_s_next_pod_and_stream_key() {
    let push = || Scene::new().spec(|spec| spec.capture.mode = CaptureMode::Push);
    let first = push().plan();
    assert_eq!(first.status.attempt, Some(1));
    let raised = push().pod(1).hearing(1).after(&first).key_generation(2).generation(2).plan();
    assert_eq!(raised.status.attempt, Some(2));
    assert!(deletes(&raised, "ts-standup-1"));
    assert!(does(&raised, |action| matches!(action, Action::EnsureWorker { attempt: 2, .. })));
    // The pod could not be made yet: the key stays.
    let again = push().pod(1).hearing(1).after(&raised).key_generation(2).generation(2).plan();
    assert_eq!(again.status.attempt, Some(2));
    let made = push().pod(2).but(|pod| pod.key_generation = 2).after(&raised).key_generation(2).generation(2);
    let made = made.plan();
    assert_eq!(made.status.attempt, Some(2));
    assert!(!does(&made, |action| matches!(action, Action::DeletePod { .. })));
}

#[test]
fn a_push_pod_that_is_lost_keeps_the_stream_key_that_somebody_has_in_their_encoder() {
    let push = || Scene::new().spec(|spec| spec.capture.mode = CaptureMode::Push);
    let first = push().plan();
    let lost = push().pod(1).state(PodState::NodeLost).after(&first).plan();
    assert!(does(&lost, |action| matches!(action, Action::EnsureWorker { attempt: 2, .. })));
    assert_eq!(lost.status.attempt, Some(1));
    // Nobody is left who could say what the key was made for.
    let both = push().after(&lost).key_generation(2).generation(2).plan();
    assert_eq!(both.status.attempt, Some(2));
    assert_eq!(push().after(&both).key_generation(2).generation(2).plan().status.attempt, Some(2));
}

#[test]
fn a_raised_key_generation_moves_a_room_s_egress_to_the_next_attempt() {
    let raised = running().key_generation(2).plan();
    assert!(does(&raised, |action| *action == Action::EnsureWorker { attempt: 2, selects: 1 }));
    let scene = Scene::new().leaving_pod(1).pod(2).but(|pod| pod.key_generation = 2).room(1).attempt(1, 300);
    let moved = scene.key_generation(2).listed(vec![active("EG_a", 1)]).hearing(1).plan();
    let how = How::Move { egress: "EG_a".into(), from: 1 };
    assert!(does(&moved, |action| *action == Action::WriteIntent { attempt: 2, how: how.clone() }));
}

/// A container that ended at this second of the session's life and is up again.
fn ended_at(offset: i64, ends: u32, state: PodState) -> impl Fn(Scene) -> Scene {
    move |scene| {
        let state = state.clone();
        scene.but(move |pod| {
            let exit =
                ContainerExit { code: 1, reason: "Error".into(), words: String::new(), at: at(offset) };
            (pod.restarts, pod.last_exit, pod.state) = (ends, Some(exit), state);
            pod.container_started_at = Some(at(offset + 1));
        })
    }
}

#[test]
fn a_container_that_ended_twice_and_listens_again_is_moved_from_once_its_egress_is_heard_again() {
    let first = ended_at(-100, 1, PodState::Listening)(running()).plan_at(-90);
    let second = |hearing: u32| {
        let scene = ended_at(-5, 2, PodState::Listening)(running().hearing(hearing));
        scene.after(&first).plan()
    };
    // Not heard: the next attempt goes to the worker that is there.
    assert!(does(&second(0), |action| matches!(action, Action::WriteIntent { attempt: 2, .. })));
    let moves = second(1);
    assert!(does(&moves, |action| *action == Action::EnsureWorker { attempt: 2, selects: 1 }));
    assert!(deletes(&moves, "ts-standup-1"));
}

#[test]
fn two_ends_between_two_plans_count_as_two() {
    let first = running().plan_at(-60);
    let plan = ended_at(-5, 2, PodState::NotListening)(running().hearing(0)).after(&first).plan();
    assert!(deletes(&plan, "ts-standup-1"));
    let third = ended_at(-5, 3, PodState::NotListening)(running().hearing(0)).plan();
    assert!(deletes(&third, "ts-standup-1"), "a process that has just begun sees a third end");
    let once = ended_at(-5, 1, PodState::NotListening)(running().hearing(0)).after(&first).plan();
    assert!(!deletes(&once, "ts-standup-1"));
}

#[test]
fn two_ends_hours_apart_replace_nothing_and_a_pod_is_not_blamed_for_the_one_before_it() {
    let first = ended_at(-5000, 1, PodState::Listening)(running()).plan_at(-4990);
    let apart = ended_at(-5, 2, PodState::NotListening)(running().hearing(0)).after(&first).plan();
    assert!(!deletes(&apart, "ts-standup-1"));
    let other = Scene::new().pod(2).room(1).attempt(1, 300).listed(vec![active("EG_a", 1)]).hearing(1);
    let blamed = ended_at(-5, 1, PodState::NotListening)(other).remembering(|memory| {
        (memory.exits, memory.exits_of, memory.ends) = (vec![at(-50)], "uid-1".into(), 1);
    });
    assert!(!deletes(&blamed.plan(), "ts-standup-2"));
}

#[test]
fn track_egress_is_refused_with_a_sentence_until_it_is_built() {
    let plan = Scene::new().spec(|spec| spec.capture.mode = CaptureMode::TrackEgress).listed(vec![]).plan();
    let accepted = condition::find(&plan.status.conditions, ConditionType::Accepted).unwrap();
    assert_eq!(
        (accepted.status.as_str(), accepted.reason.as_str()),
        (Verdict::False.as_str(), "CaptureModeUnavailable")
    );
    assert!(accepted.message.contains("RoomComposite"), "{}", accepted.message);
    assert!(plan.actions.iter().all(|planned| matches!(planned.action, Action::Event { .. })));
}
#[test]
fn a_livekit_that_answers_with_an_error_is_quoted_and_not_called_silent() {
    let failing =
        LiveKitError::Failing { status: 500, code: "internal".into(), message: "database is locked".into() };
    let error = |livekit: &mut LiveKit| livekit.error = Some(failing.clone());
    let new = Scene::new().livekit(error).plan();
    assert_eq!(reason(&new, ConditionType::Ready), "LiveKitFailing");
    let quoted = "LiveKit answered 500 internal: database is locked.";
    assert!(message(&new, ConditionType::Ready).starts_with(quoted));
    assert!(!begins(&new));
    // Beside audio that flows it is said, and nothing else changes.
    let heard = running().livekit(error).plan();
    assert_eq!(reason(&heard, ConditionType::EgressActive), "Active");
    assert!(message(&heard, ConditionType::EgressActive).starts_with(quoted));
    assert!(heard.memory.trouble_at.is_some());
    let ending = running().livekit(error).deleted(10).plan();
    assert!(message(&ending, ConditionType::Ready).contains("database is locked"));
}

#[test]
fn an_error_without_words_or_code_is_still_a_sentence() {
    let words = |status, code: &str, message: &str| {
        LiveKitError::Failing { status, code: code.into(), message: message.into() }.words()
    };
    assert_eq!(
        words(502, "", "a web page, not LiveKit's API"),
        "LiveKit answered 502: a web page, not LiveKit's API"
    );
    assert_eq!(words(500, "", ""), "LiveKit answered 500");
    assert_eq!(words(500, "internal", ""), "LiveKit answered 500 internal");
}

#[test]
fn a_new_process_tries_a_refused_key_once_and_then_waits_as_long_as_the_one_before() {
    let refused = |second| {
        let scene = Scene::new().pod(1).attempt(1, 100).started(-50).listed_at(second, vec![]);
        scene.speech(SpeechState::Refused(Reason::CredentialsRejected))
    };
    let wait = |plan: &Plan, second| {
        (plan.memory.refusal.as_ref().unwrap().retry_at.unwrap() - at(second)).get_seconds()
    };
    let first = refused(0).plan();
    assert_eq!(wait(&first, 0), 300);
    // No pod is left; an hour of tries later another process begins.
    let none = |second| Scene::new().attempt(1, 100).service(1).listed_at(second, vec![]);
    let tries = none(3600).after(&first).taken_over().plan_at(3600);
    assert!(begins(&tries), "a mended key may have come with the new process");
    assert_eq!(tries.status.summary, Some(Summary::Recovering));
    assert!(message(&tries, ConditionType::Transcribing).ends_with("It is being tried again."));
    let again = refused(3620).after(&tries).plan_at(3620);
    assert_eq!(wait(&again, 3620), 3600);
    // A key that works is asked for nothing more.
    let works = refused(3620).speech(SpeechState::Live).after(&tries).plan_at(3620);
    assert_eq!(works.memory.refusal, None);
}
