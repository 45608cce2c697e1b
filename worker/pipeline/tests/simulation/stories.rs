//! One trouble each, scripted: what a reader must be able to rely on, told as a story. The judge of the random meetings
//! sees that in each of them every word has one final, in its place, or a gap.

use crate::meeting::Trouble;
use crate::world::{Crash, Plan, World};
use crate::{calm, must_hold};
use roomscribe_transcript::{Event, Final, Gap};

/// Words in these stretches (ms), and nothing goes wrong but what the story says.
fn story(meeting_ms: u64, voice: &[(u64, u64)]) -> Plan {
    Plan { meeting_ms, voice: voice.to_vec(), ..calm(7) }
}

fn finals(world: &World) -> Vec<&Final> {
    world.log.finals().collect()
}

fn gaps(world: &World) -> Vec<&Gap> {
    world.log.gaps().collect()
}

/// Ordinals of the speech sessions, in the order of their finals' time.
fn ordinals(world: &World) -> Vec<u32> {
    let mut finals = finals(world);
    finals.sort_by_key(|event| event.start_ms.0);
    let mut ordinals: Vec<_> =
        finals.iter().map(|event| event.seg.0.split('-').next().unwrap().parse().unwrap()).collect();
    ordinals.dedup();
    ordinals
}

fn reasons(world: &World) -> Vec<&str> {
    let status = world.log.events.iter().filter_map(|event| match event {
        Event::Status(status) => Some(status.reason.as_ref()),
        _ => None,
    });
    status.collect()
}

#[test]
fn a_roll_over_waits_for_a_pause_and_loses_nothing() {
    let mut plan = story(60_000, &[(1_000, 24_000), (26_000, 55_000)]);
    plan.rollover = 20_000;
    let (world, verdict) = must_hold(plan);
    assert_eq!((verdict.finals, verdict.in_gaps), (verdict.words, 0));
    assert_eq!(ordinals(&world)[..2], [1, 2]);
    assert!(ordinals(&world).is_sorted());
    // Due at 20 s, in mid-speech: the utterance is heard to its end.
    assert!(world.post_times[1] > 20_000, "{:?}", world.post_times);
}

#[test]
fn an_idle_session_is_closed_and_the_next_voice_begins_another() {
    let mut plan = story(20_000, &[(1_000, 18_000)]);
    plan.idle_close = 15_000;
    plan.meeting_ms = 50_000;
    plan.trouble = Some((20_000, Trouble::Away(22_000)));
    plan.voice.push((44_000, 48_000));
    let (world, verdict) = must_hold(plan);
    assert_eq!((verdict.finals, verdict.in_gaps), (verdict.words, 0));
    assert_eq!((world.posts, ordinals(&world)), (2, vec![1, 2]));
}

#[test]
fn a_full_account_is_not_asked_again_before_its_time_and_nothing_is_lost() {
    let mut plan = story(60_000, &[(1_000, 55_000)]);
    plan.faults.refused = vec![(0, 5_000, 429, Some(20))];
    let (world, verdict) = must_hold(plan);
    assert_eq!((verdict.finals, verdict.in_gaps, world.posts), (verdict.words, 0, 2));
    assert!(world.post_times[1] >= world.post_times[0] + 20_000, "{:?}", world.post_times);
    assert!(reasons(&world).ends_with(&["RateLimited", "SpeechConnected"]), "{:?}", reasons(&world));
}

#[test]
fn a_refused_key_and_refused_options_are_asked_with_once() {
    for (status, reason) in [(401, "CredentialsRejected"), (422, "SpeechOptionsRejected")] {
        let mut plan = story(60_000, &[(1_000, 55_000)]);
        plan.faults.refused = vec![(0, u64::MAX, status, None)];
        let (world, verdict) = must_hold(plan);
        assert_eq!((world.posts, verdict.finals, verdict.in_gaps), (1, 0, verdict.words));
        assert_eq!(reasons(&world).last(), Some(&reason));
    }
}

#[test]
fn a_session_that_the_service_ends_is_replaced_from_its_last_final() {
    let mut plan = story(60_000, &[(1_000, 8_000), (10_000, 30_000), (32_000, 55_000)]);
    plan.faults.cuts = vec![(20_000, Some(4403))];
    let (world, verdict) = must_hold(plan);
    assert_eq!((verdict.finals, verdict.in_gaps), (verdict.words, 0));
    assert_eq!((world.posts, ordinals(&world)), (2, vec![1, 2]));
}

#[test]
fn a_broken_connection_is_resumed_on_the_same_session() {
    let mut plan = story(60_000, &[(1_000, 8_000), (10_000, 30_000), (32_000, 55_000)]);
    plan.faults.cuts = vec![(20_000, Some(1006))];
    let (world, verdict) = must_hold(plan);
    assert_eq!((verdict.finals, verdict.in_gaps), (verdict.words, 0));
    assert_eq!((world.posts, ordinals(&world)), (1, vec![1]));
    assert_eq!((world.opened.len(), &world.opened[0].1), (2, &world.opened[1].1));
}

/// The world itself sees that no more than two minutes are kept.
#[test]
fn a_service_that_takes_audio_and_says_nothing_costs_the_oldest_audio_in_few_gaps() {
    let mut plan = story(300_000, &[(1_000, 290_000)]);
    plan.faults.dumb = Some((20_000, 200_000));
    plan.faults.cuts = vec![(200_000, Some(1006))];
    let (world, verdict) = must_hold(plan);
    assert!(verdict.in_gaps > 60 && verdict.finals > 300, "{verdict:?}");
    let gaps = gaps(&world);
    assert!((1..=8).contains(&gaps.len()), "{} gaps", gaps.len());
    assert!(gaps.iter().all(|gap| gap.reason == "SpeechUnavailable"), "{gaps:?}");
}

#[test]
fn a_final_that_a_broken_connection_lost_comes_back() {
    // Cut at the moment when the first utterance is over and its final is on its way.
    for at in (8_000..9_500).step_by(100) {
        let mut plan = story(60_000, &[(1_000, 8_000), (12_000, 30_000), (40_000, 55_000)]);
        plan.faults.cuts = vec![(at, Some(1006))];
        let (_, verdict) = must_hold(plan);
        assert_eq!((verdict.finals, verdict.in_gaps), (verdict.words, 0), "cut at {at}");
    }
}

#[test]
fn a_stop_while_the_service_is_unreachable_ends_in_time_and_calls_the_rest_lost() {
    let mut plan = story(60_000, &[(1_000, 18_000), (22_000, 55_000)]);
    plan.faults.cuts = vec![(20_000, Some(4403))];
    plan.faults.refused = vec![(15_000, u64::MAX, 503, None)];
    let (world, verdict) = must_hold(plan);
    assert!(verdict.finals > 20 && verdict.in_gaps > 50, "{verdict:?}");
    assert!(world.done_at - world.stopped_at <= 21_000, "{} ms", world.done_at - world.stopped_at);
    assert!(gaps(&world).len() <= 3, "{:?}", gaps(&world));
}

#[test]
fn a_restart_in_mid_utterance_goes_on_from_the_spool() {
    let mut plan = story(60_000, &[(1_000, 8_000), (10_000, 55_000)]);
    plan.crashes = vec![(15_000, Crash::Container)];
    let (world, verdict) = must_hold(plan);
    // What was said while no worker was there did not reach it.
    assert_eq!((verdict.finals, verdict.in_gaps), (verdict.words, 0));
    assert!(world.posts >= 2 && gaps(&world).len() <= 1, "{:?}", gaps(&world));
}

/// A recogniser on a busy machine, 45 s behind when the meeting ends.
#[test]
fn a_stop_hears_out_a_service_that_is_behind() {
    let mut plan = story(60_000, &[(1_000, 8_000), (10_000, 30_000), (32_000, 55_000)]);
    plan.faults.behind = 45_000;
    let (world, verdict) = must_hold(plan);
    assert_eq!((verdict.finals, verdict.in_gaps, gaps(&world).len()), (verdict.words, 0, 0));
}

#[test]
fn a_service_that_is_behind_for_longer_than_a_stop_may_take_is_cut_and_the_rest_called_lost() {
    let mut plan = story(60_000, &[(1_000, 8_000), (10_000, 30_000), (32_000, 55_000)]);
    (plan.faults.behind, plan.longest_stop) = (90_000, 40_000);
    let (world, verdict) = must_hold(plan);
    assert!(verdict.in_gaps > 0, "{verdict:?}");
    assert!(world.done_at - world.stopped_at <= 42_000, "{} ms", world.done_at - world.stopped_at);
}

/// The recogniser is one process with the worker: who has heard the audio is gone with what it heard.
#[test]
fn a_restart_together_with_a_service_that_is_behind_hears_the_spool_again() {
    for how in [Crash::Machine, Crash::Leave] {
        let mut plan = story(140_000, &[(1_000, 8_000), (10_000, 90_000), (92_000, 120_000)]);
        plan.faults.behind = 60_000;
        plan.longest_stop = 120_000;
        plan.crashes = vec![(80_000, how)];
        let (world, verdict) = must_hold(plan);
        assert_eq!((verdict.finals, verdict.in_gaps), (verdict.words, 0), "{how:?}");
        assert!(gaps(&world).iter().all(|gap| gap.reason != "SpeechResultLost"), "{:?}", gaps(&world));
    }
}

/// A breath before the first word, which no recogniser has words for.
#[test]
fn a_restart_calls_no_noise_lost_that_a_later_final_shows_was_heard() {
    for how in [Crash::Machine, Crash::Leave] {
        let mut plan = story(40_000, &[(1_000, 8_000), (10_000, 30_000)]);
        plan.clicks = vec![200, 450, 8_500, 8_750];
        plan.crashes = vec![(20_000, how)];
        let (world, verdict) = must_hold(plan);
        assert_eq!((verdict.finals, verdict.in_gaps), (verdict.words, 0), "{how:?}");
        assert!(gaps(&world).iter().all(|gap| gap.reason != "SpeechResultLost"), "{:?}", gaps(&world));
        assert!(world.done_at - world.stopped_at <= 5_000, "{} ms", world.done_at - world.stopped_at);
    }
}

#[test]
fn after_the_loss_of_the_pod_finals_are_fetched_and_the_rest_is_one_gap() {
    let mut plan = story(90_000, &[(1_000, 8_000), (10_000, 18_000), (21_000, 32_000), (60_000, 80_000)]);
    plan.crashes = vec![(30_000, Crash::Pod)];
    let (world, verdict) = must_hold(plan);
    assert!(verdict.finals > 60, "{verdict:?}");
    assert!(finals(&world).iter().any(|event| event.seg.0.contains("-late-")), "nothing was fetched");
    // One stretch: what the pod had not handed on, and the time without a worker.
    let mut lost: Vec<_> = gaps(&world).iter().map(|gap| (gap.start_ms.0, gap.end_ms.0)).collect();
    lost.sort_unstable();
    assert!(!lost.is_empty() && lost.windows(2).all(|pair| pair[0].1 == pair[1].0), "{lost:?}");
}

#[test]
fn a_translation_follows_its_final() {
    let mut plan = story(30_000, &[(1_000, 8_000), (12_000, 20_000)]);
    plan.translate = true;
    let (world, _) = must_hold(plan);
    let mut seen = Vec::new();
    let mut translated = Vec::new();
    for event in &world.log.events {
        match event {
            Event::Final(event) => seen.push(event.seg.clone()),
            Event::Translation(event) => {
                assert!(seen.contains(&event.seg), "before its final");
                assert_eq!((event.language.as_str(), event.text.as_str()), ("fr", "oui"));
                translated.push(event.seg.clone());
            }
            _ => {}
        }
    }
    assert!(translated.len() >= 2, "{translated:?}");
}

#[test]
fn a_publisher_that_stalls_for_three_seconds_loses_nothing() {
    let mut plan = story(30_000, &[(1_000, 25_000)]);
    plan.trouble = Some((10_000, Trouble::Stall(3_000)));
    let (world, verdict) = must_hold(plan);
    assert_eq!((verdict.finals, verdict.in_gaps, gaps(&world).len()), (verdict.words, 0, 0));
}

#[test]
fn a_reconnect_that_loses_69_ms_is_one_gap_of_that_length() {
    let mut plan = story(30_000, &[(1_000, 25_000)]);
    plan.trouble = Some((9_664, Trouble::Reconnect));
    let (world, verdict) = must_hold(plan);
    let gaps = gaps(&world);
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let length = gaps[0].end_ms.0 - gaps[0].start_ms.0;
    assert!((49..=89).contains(&length), "{gaps:?}");
    assert!(verdict.finals + 1 >= verdict.words, "{verdict:?}");
    // Where it stood in the meeting, a later word stands still: every word begins at a multiple of 512 ms.
    let late: Vec<_> =
        finals(&world).iter().flat_map(|event| &event.words).map(|word| word.start_ms.0).collect();
    let off = |at: u64| (at + 256) % 512;
    let before = off(*late.first().unwrap()) as i64;
    let after = off(*late.last().unwrap()) as i64;
    assert!((after - before).abs() <= 25, "{before} {after}");
}
