//! The whole pipeline in simulated time: a publisher with a real egress' habits, a model of the speech service with every
//! fault that facts/gladia lists, a log that answers late, and crashes between any two steps.
//!
//! `SEEDS=2000 cargo test -p roomscribe-pipeline --test simulation` looks further; `SEED=17` tells one story.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod judge;
mod meeting;
mod recogniser;
mod service;
mod store;
mod stories;
mod world;

use fastrand::Rng;
use judge::{Verdict, judge};
use service::Faults;
use world::{Crash, Plan, World};

/// Nothing goes wrong.
fn calm(seed: u64) -> Plan {
    Plan {
        seed,
        meeting_ms: 60_000,
        door_faults: false,
        faults: Faults { ack_every: 40, limit: 30, cap: 10_000_000, ..Faults::default() },
        crashes: Vec::new(),
        rollover: 10_200_000,
        idle_close: 60_000,
        longest_stop: 60_000,
        translate: false,
        slow_log: 50,
        voice: Vec::new(),
        clicks: Vec::new(),
        trouble: None,
    }
}

/// Breaks, refusals, roll-overs, and a service that keeps its results: nothing may be lost.
fn rough(seed: u64) -> Plan {
    let rng = &mut Rng::with_seed(seed ^ 0x5eed);
    let meeting_ms = rng.u64(40_000..90_000);
    let faults = Faults {
        keeps_unacked: rng.bool(),
        ack_every: [20, 100, 400, 1_500][rng.usize(0..4)],
        breaks: [0, 2, 8, 20][rng.usize(0..4)],
        refusals: [0, 20, 50][rng.usize(0..3)],
        upgrades: [0, 10, 30][rng.usize(0..3)],
        no_results: false,
        limit: [1, 2, 30][rng.usize(0..3)],
        cap: if rng.bool() { 45_000 } else { 10_000_000 },
        no_words: false,
        no_post: rng.u8(..) < 60,
        until: meeting_ms - 15_000,
        bad_key: false,
        ..Faults::default()
    };
    let rollover = if rng.bool() { rng.u64(15_000..60_000) } else { 10_200_000 };
    let idle_close = [20_000, 60_000][rng.usize(0..2)];
    let (translate, slow_log) = (rng.bool(), [50, 2_500][rng.usize(0..2)]);
    Plan {
        meeting_ms,
        faults,
        rollover,
        idle_close,
        translate,
        slow_log,
        door_faults: rng.bool(),
        ..calm(seed)
    }
}

/// … and crashes, in any order; results may be gone for ever.
fn wild(seed: u64) -> Plan {
    let rng = &mut Rng::with_seed(seed ^ 0xc4a5);
    let mut plan = rough(seed);
    plan.faults.no_results = rng.u8(..) < 60;
    plan.faults.no_words = rng.u8(..) < 40 && !plan.faults.keeps_unacked;
    let hows = [Crash::Container, Crash::Container, Crash::Panic, Crash::Pod];
    let mut crashes: Vec<_> =
        (0..rng.usize(0..4)).map(|_| (rng.u64(2_000..plan.meeting_ms), hows[rng.usize(0..4)])).collect();
    crashes.sort_by_key(|(at, _)| *at);
    if crashes.iter().any(|(_, how)| *how == Crash::Pod) {
        // What the service did with the bytes of a break that follows the log's last record, nobody can know.
        plan.faults.keeps_unacked = false;
    }
    plan.crashes = crashes;
    plan
}

fn seeds(usual: u64) -> u64 {
    std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}

fn play(plan: Plan) -> (World, Result<Verdict, String>) {
    let mut world = World::new(plan);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let verdict = match outcome {
        Ok(()) => judge(&world),
        Err(panic) => Err(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned())),
    };
    (world, verdict)
}

/// Plays one; the story of a failure is told in full.
fn must_hold(plan: Plan) -> (World, Verdict) {
    let (mut world, verdict) = play(plan.clone());
    match verdict {
        Ok(verdict) => (world, verdict),
        Err(error) => {
            world.story.append(&mut world.service.story);
            world.story.sort();
            world.story.extend(world.service.heard());
            let events: Vec<String> = world.log.events.iter().map(|event| format!("{event:?}")).collect();
            panic!(
                "seed {}: {error}\n{plan:#?}\n{}\n{}",
                plan.seed,
                world.story.join("\n"),
                events.join("\n")
            );
        }
    }
}

fn many(plan: fn(u64) -> Plan, usual: u64) -> Verdict {
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        return must_hold(plan(seed)).1;
    }
    let mut sum = Verdict::default();
    let mut failed = Vec::new();
    for seed in 0..seeds(usual) {
        let verdict = match play(plan(seed)).1 {
            Ok(verdict) => verdict,
            Err(error) => {
                eprintln!("seed {seed}: {error}");
                failed.push(seed);
                continue;
            }
        };
        sum.words += verdict.words;
        sum.finals += verdict.finals;
        sum.in_gaps += verdict.in_gaps;
    }
    eprintln!("{sum:?}, failed: {failed:?}");
    // Tells the first one's story.
    failed.first().map(|seed| must_hold(plan(*seed)));
    sum
}

#[test]
fn a_calm_meeting_has_every_word_once_and_wakes_seldom() {
    let (world, verdict) = must_hold(calm(1));
    assert!(verdict.words > 30, "{verdict:?}");
    assert_eq!((verdict.in_gaps, world.log.gaps().count(), world.posts), (0, 0, 1));
    assert!(world.timers < 30, "{} timers in a minute of audio", world.timers);
}

#[test]
fn whatever_breaks_between_worker_and_service_no_word_is_lost_or_doubled() {
    let sum = many(rough, 100);
    assert!(sum.in_gaps * 100 <= sum.words, "more than one word in a hundred is in a gap: {sum:?}");
}

#[test]
fn whatever_crashes_each_word_has_one_final_or_a_gap() {
    let sum = many(wild, 100);
    assert!(sum.finals * 100 >= sum.words * 85, "too much is given up: {sum:?}");
}

#[test]
fn a_refused_key_is_asked_with_once_and_everything_is_a_gap() {
    let mut plan = calm(3);
    plan.meeting_ms = 200_000;
    plan.faults.bad_key = true;
    let (world, verdict) = must_hold(plan);
    assert_eq!((world.posts, verdict.finals), (1, 0));
    assert!(world.log.gaps().count() < 60, "{} gaps", world.log.gaps().count());
}

/// Seeds that failed once: the heads and tails of words that a service heard twice became words of their own, or stood
/// for a word whose whole came after them.
#[test]
fn halves_of_words_at_a_broken_connection_never_stand_for_words() {
    for seed in [206, 427, 442, 533, 540, 580, 710, 852, 881, 985] {
        must_hold(rough(seed));
    }
}

/// Seeds that failed once: a pod was lost after seconds of voice, and the log knew nothing of it.
#[test]
fn a_pod_that_is_lost_before_the_speech_service_answers_leaves_a_trace() {
    for seed in [325, 755] {
        must_hold(wild(seed));
    }
}

/// A seed that failed once: the audio of an outage was still being sent when the room had been silent for so long that the
/// speech session was closed as idle.
#[test]
fn a_backlog_that_is_being_sent_keeps_the_speech_session_open() {
    must_hold(wild(122));
}
