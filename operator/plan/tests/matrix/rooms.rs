//! Rows about rooms that are gone, forgotten, awaited, empty or silent.

use crate::scene::{Scene, at};
use crate::{active, does, egress, reason};
use roomscribe_crds::condition::ConditionType;
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{CaptureMode, Summary};
use roomscribe_plan::*;

fn ended(plan: &Plan) -> bool {
    reason(plan, ConditionType::Succeeded) == "RoomEnded"
}

/// Ran, and nobody is heard any more.
fn ran() -> Scene {
    Scene::new().pod(1).attempt(1, 300).started(-200).later(400).hearing(0)
}

#[test]
fn a_room_that_one_look_missed_is_looked_for_again_before_the_session_ends() {
    let scene = || ran().no_room().listed(vec![active("EG_a", 1)]);
    let first = scene().plan();
    assert!(!ended(&first));
    // Another plan on the same look proves nothing new.
    assert!(!ended(&scene().after(&first).plan_at(9)));
    let asks = ran().no_room().listed_at(10, vec![active("EG_a", 1)]).after(&first).plan_at(10);
    assert!(!ended(&asks) && does(&asks, |action| *action == Action::Ask(Ask::Room)));
    let early = ran().no_room_at(9).listed_at(9, vec![active("EG_a", 1)]).after(&first).plan_at(9);
    assert!(!ended(&early));
    let second = ran().no_room_at(10).listed_at(10, vec![active("EG_a", 1)]).after(&first).plan_at(10);
    assert!(ended(&second));
}

#[test]
fn a_room_that_came_back_between_two_looks_was_never_gone() {
    let first = ran().no_room().listed(vec![active("EG_a", 1)]).plan();
    let room = Some(Room { participants: 1, open_microphones: 1 });
    let back = ran().room_at(5, room).listed_at(5, vec![active("EG_a", 1)]).after(&first).plan_at(5);
    assert_eq!(back.memory.room_missing_since, None);
    let again = ran().no_room_at(12).listed_at(12, vec![active("EG_a", 1)]).after(&back).plan_at(12);
    assert!(!ended(&again));
}

#[test]
fn after_livekit_was_away_and_while_bytes_arrive_a_missing_room_gets_half_a_minute() {
    let troubled = |scene: Scene| scene.remembering(|memory| memory.trouble_at = Some(at(-5)));
    let heard = |scene: Scene| scene.hearing(1);
    for change in [&troubled as &dyn Fn(Scene) -> Scene, &heard] {
        let scene = |offset: i64| change(ran()).no_room_at(offset).listed_at(offset, vec![active("EG_a", 1)]);
        let first = scene(0).plan();
        let memory = first.memory.clone();
        let later = |offset: i64| {
            let memory = memory.clone();
            ended(&scene(offset).remembering(move |kept| *kept = memory).plan_at(offset))
        };
        assert!(!ended(&first) && !later(12) && !later(29));
        assert!(later(30));
    }
}

#[test]
fn an_egress_that_livekit_ended_for_want_of_a_source_is_the_second_witness() {
    let stopped = Egress { state: EgressState::Complete, ..egress("EG_a", 1) };
    assert!(!ended(&ran().no_room().listed(vec![stopped.clone()]).plan()));
    let complete = Egress { error: "End reason: Source closed".into(), ..stopped };
    assert!(ended(&ran().no_room().listed(vec![complete.clone()]).plan()));
    let troubled = ran().no_room().listed(vec![complete]);
    let troubled = troubled.remembering(|memory| memory.trouble_at = Some(at(-5)));
    assert!(!ended(&troubled.plan()));
}

#[test]
fn waiting_for_a_room_says_so_while_it_is_looked_for_and_looks_every_ten_seconds() {
    let mut plan = Scene::new().pod(1).no_room().listed(vec![]).plan();
    let (mut looked, mut looks, mut listings, mut words) = (0, 0, 0, Vec::new());
    for second in 1..=120 {
        let scene = Scene::new().pod(1).hearing(0).no_room_at(looked).listed(vec![]).after(&plan);
        plan = scene.plan_at(second);
        words.push(reason(&plan, ConditionType::Ready));
        if does(&plan, |action| *action == Action::Ask(Ask::Room)) {
            (looked, looks) = (second, looks + 1);
        }
        listings += u32::from(does(&plan, |action| *action == Action::Ask(Ask::Egresses)));
        assert!(second - looked <= 10, "a gap of {} s", second - looked);
    }
    words.dedup();
    assert_eq!(words, ["WaitingForRoom"]);
    // Six calls a minute: what docs/operator.md says.
    assert!((11..=14).contains(&looks) && listings == 0, "{looks} looks, {listings} listings");
}

#[test]
fn a_room_that_appears_is_begun_with_after_one_listing() {
    let waiting = Scene::new().pod(1).no_room().listed(vec![]).plan();
    let room = Some(Room { participants: 1, open_microphones: 1 });
    let asks = Scene::new().pod(1).hearing(0).room_at(20, room).listed(vec![]).after(&waiting).plan_at(20);
    assert!(does(&asks, |action| *action == Action::Ask(Ask::Egresses)));
    assert_eq!(asks.status.summary, Some(Summary::WaitingForRoom));
    let begins = Scene::new().pod(1).room_at(20, room).listed_at(20, vec![]).after(&asks).plan_at(20);
    assert!(does(&begins, |action| matches!(action, Action::WriteIntent { attempt: 1, .. })));
}

#[test]
fn a_process_that_takes_a_waiting_session_over_goes_on_saying_what_it_waits_for() {
    let waiting = Scene::new().pod(1).hearing(0).no_room().listed(vec![]).plan();
    let steps: [&dyn Fn(i64) -> Scene; 5] = [
        &|_| Scene::new().unknown_cluster(),
        &|_| Scene::new().pod(1),
        &|_| Scene::new().pod(1).hearing(0),
        &|second| Scene::new().pod(1).hearing(0).listed_at(second, vec![]),
        &|second| Scene::new().pod(1).hearing(0).listed_at(second, vec![]).no_room_at(second),
    ];
    // The answers come one by one, and LiveKit's late.
    for late in [0, 20] {
        let mut plan = waiting.clone();
        plan.memory = Memory::default();
        for (step, seen) in steps.iter().enumerate() {
            let second = 100 + i64::try_from(step).unwrap() + if step > 2 { late } else { 0 };
            plan = seen(second).after(&plan).plan_at(second);
            let told = (reason(&plan, ConditionType::Ready), plan.status.summary);
            assert_eq!(told, ("WaitingForRoom".into(), Some(Summary::WaitingForRoom)), "step {step}");
        }
    }
}

#[test]
fn a_session_whose_everybody_is_muted_waits_for_audio_though_silence_arrives() {
    let scene = |mics: u32| Scene::new().pod(1).room(mics).attempt(1, 100).listed(vec![active("EG_a", 1)]);
    let muted = scene(0).hearing(1).plan();
    assert_eq!(reason(&muted, ConditionType::Ready), "WaitingForAudio");
    assert_eq!(muted.status.summary, Some(Summary::WaitingForAudio));
    // Nobody tells of an unmuted microphone.
    let later = scene(0).hearing(1).after(&muted).plan_at(15);
    assert!(does(&later, |action| *action == Action::Ask(Ask::Room)));
    let open = scene(1).hearing(1).plan();
    assert_eq!(
        (reason(&open, ConditionType::Ready).as_str(), open.status.summary),
        ("Ready", Some(Summary::Live))
    );
}

#[test]
fn a_publisher_that_is_silent_or_whose_speech_session_was_closed_waits_for_audio() {
    let scene = || Scene::new().pod(1).room(1).attempt(1, 100).listed(vec![active("EG_a", 1)]).hearing(1);
    let idle = scene().speech(SpeechState::Idle).plan();
    assert_eq!(reason(&idle, ConditionType::Ready), "WaitingForAudio");
    let push = |hearing| {
        let scene = Scene::new().spec(|spec| spec.capture.mode = CaptureMode::Push).pod(1).hearing(1);
        reason(&scene.report(|report| report.hearing = hearing).plan(), ConditionType::Ready)
    };
    assert_eq!(push(Hearing::Nobody), "WaitingForAudio");
    assert_eq!(push(Hearing::Silent(1)), "WaitingForAudio");
    assert_eq!(push(Hearing::Publishing(1)), "Ready");
}

#[test]
fn a_muted_room_keeps_its_word_between_two_looks() {
    let mut plan =
        Scene::new().pod(1).room(0).attempt(1, 100).listed(vec![active("EG_a", 1)]).hearing(0).plan();
    let (mut looked, mut words) = (0, Vec::new());
    for second in 1..=60 {
        let room = Some(Room { participants: 2, open_microphones: 0 });
        let scene = Scene::new().pod(1).room_at(looked, room).listed_at(looked, vec![active("EG_a", 1)]);
        plan = scene.attempt(1, 100).hearing(0).after(&plan).plan_at(second);
        words.push(reason(&plan, ConditionType::Ready));
        if does(&plan, |action| *action == Action::Ask(Ask::Room)) {
            looked = second;
        }
    }
    words.dedup();
    assert_eq!(words, ["WaitingForAudio"]);
}

#[test]
fn an_egress_that_was_heard_and_goes_silent_does_not_start() {
    let scene = Scene::new().pod(1).attempt(1, 300).listed(vec![active("EG_a", 1)]).hearing(0);
    let plan = scene.remembering(|memory| memory.heard = 1).plan();
    assert_eq!(reason(&plan, ConditionType::Ready), "Stalled");
    let why = plan.actions.iter().find(|planned| matches!(planned.action, Action::Event { .. })).unwrap();
    assert!(
        matches!(&why.action, Action::Event { kind: EventKind::Warning, .. }) && why.why == Reason::Stalled
    );
}

#[test]
fn a_broken_connection_that_is_not_back_after_a_second_is_replaced_and_one_that_is_back_is_kept() {
    let attempt = |hearing: Hearing, since: i64, heard: u32| {
        let scene = Scene::new().pod(1).room(1).attempt(1, 100).listed(vec![active("EG_a", 1)]);
        let scene = scene.hearing(1).report(|report| (report.hearing, report.since) = (hearing, at(since)));
        let plan = scene.remembering(|memory| memory.heard = heard).plan();
        (plan.status.attempt, plan.wake_at)
    };
    assert_eq!(attempt(Hearing::Nobody, -1, 1).0, Some(2));
    // It may be on its way back.
    assert_eq!(attempt(Hearing::Nobody, 0, 1), (Some(1), Some(at(1))));
    assert_eq!(attempt(Hearing::Publishing(1), -1, 1).0, Some(1));
    // A connection that stands and is silent has the byte clock's five seconds; one that never came, longer.
    assert_eq!(attempt(Hearing::Silent(1), -1, 1).0, Some(1));
    assert_eq!(attempt(Hearing::Nobody, -1, 0).0, Some(1));
}

#[test]
fn an_egress_that_was_heard_and_that_livekit_has_forgotten_is_not_looked_for() {
    let attempt = |heard: u32| {
        let scene = || Scene::new().pod(1).room(1).attempt(1, 20).listed(vec![]).hearing(0);
        let first = scene().remembering(|memory| memory.heard = heard).plan();
        // A lost egress is a failure, and has its back-off.
        scene().after(&first).plan_at(2).status.attempt
    };
    assert_eq!((attempt(0), attempt(1)), (Some(1), Some(2)));
}

#[test]
fn an_egress_that_is_heard_before_livekit_calls_it_active_is_looked_at_again_after_two_seconds() {
    let plan = |state: EgressState, started: i64, looked: i64| {
        let egress = Egress { state, started_at: Some(at(started)), ..active("EG_a", 1) };
        Scene::new().pod(1).room(1).attempt(1, 30).listed_at(looked, vec![egress]).hearing(1).plan()
    };
    let asks = |plan: &Plan| does(plan, |action| *action == Action::Ask(Ask::Egresses));
    let (young, looked_now) = (plan(EgressState::Starting, -3, -2), plan(EgressState::Starting, -3, -1));
    assert!(asks(&young) && !asks(&looked_now));
    assert!(looked_now.wake_at.unwrap() <= at(2));
    assert!(!asks(&plan(EgressState::Active, -3, -2)));
    // A LiveKit that never says so is not asked for ever.
    assert!(!asks(&plan(EgressState::Starting, -20, -2)));
}
