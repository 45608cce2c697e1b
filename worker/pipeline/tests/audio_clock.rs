//! The media clock (contract §4), rule by rule, in simulated time. 48 kHz: a frame has 21⅓ ms.

mod common;

use common::{FRAME, HEADER_44K, HEADER_48K, Heard};
use roomscribe_pipeline::audio::{AudioPath, AudioResume, GapReason, MediaSamples};
use std::time::Duration;

const US: u64 = 21_333;

/// A second of audio at stream time 0, heard from wall time 1 s on.
fn one_second() -> Heard {
    let mut heard = Heard::fresh();
    heard.started(1000);
    heard.push(HEADER_48K, 0, 1000);
    heard.frames(47, US, 0, 1000);
    heard
}

fn assert_ms(heard: &Heard, expected: u64) {
    assert!(heard.ms().abs_diff(expected) <= 100, "{} ms, not {expected}", heard.ms());
}

#[test]
fn a_silent_frame_is_decoded_and_not_concealed() {
    let heard = one_second();
    let stats = heard.path.stats();
    assert_eq!((stats.packets, stats.concealed, stats.sample_rate, stats.channels), (47, 0, 48_000, 2));
}

#[test]
fn rounded_timestamps_make_no_gap() {
    for (header, rate) in [(HEADER_48K, 48_000u64), (HEADER_44K, 44_100)] {
        let mut heard = Heard::fresh();
        heard.started(0);
        heard.push(header, 0, 0);
        let frames = 120 * rate / 1024;
        for index in 0..frames {
            let ms = index * 1024 * 1000 / rate;
            heard.push(FRAME, ms as u32, ms);
        }
        heard.ended(120_000);
        assert_eq!(heard.gaps, []);
        assert!(heard.end.abs_diff(frames * 1024 * 16_000 / rate) <= 2);
    }
}

#[test]
fn a_burst_at_the_start_a_stall_and_a_late_burst_fill_nothing() {
    let mut heard = Heard::fresh();
    heard.started(0);
    heard.push(HEADER_48K, 0, 0);
    // 0.8 s at once, 5 s in real time, 2.8 s of nothing, then all that is late at once.
    for index in 0..400u64 {
        let ms = index * US / 1000;
        let now = ms.saturating_sub(800);
        let now = if (5000..7800).contains(&now) { 7800 } else { now };
        heard.push(FRAME, ms as u32, now);
    }
    heard.ended(8000);
    assert_eq!(heard.gaps, []);
    assert_ms(&heard, 400 * US / 1000);
}

#[test]
fn jitter_of_timestamps_makes_no_gap_and_never_pushes_media_time_ahead() {
    for spread in [50, 110] {
        let mut random = fastrand::Rng::with_seed(7);
        let mut heard = Heard::fresh();
        heard.started(0);
        heard.push(HEADER_48K, 0, 0);
        for index in 0..4000u64 {
            let ms = index * US / 1000 + random.u64(0..spread);
            heard.push(FRAME, ms as u32, ms);
        }
        heard.ended(90_000);
        assert!(heard.gaps.len() <= usize::from(spread > 60), "{spread}: {:?}", heard.gaps);
        assert!(heard.ms().abs_diff(4000 * US / 1000) <= 150, "{spread}: {} ms", heard.ms());
    }
}

#[test]
fn a_jump_of_up_to_a_minute_is_filled_with_silence_and_told_once() {
    for jump in [100, 2000, 59_900] {
        let mut heard = one_second();
        heard.frames(47, US, 1003 + jump, 2000);
        heard.ended(3000);
        let [(start, end, GapReason::StreamGap)] = heard.gaps[..] else { panic!("{:?}", heard.gaps) };
        assert!((start / 16).abs_diff(1003) <= 2, "gap at {start}");
        assert!(((end - start) / 16).abs_diff(jump) <= 2, "gap of {}", end - start);
        assert_ms(&heard, 2 * 1003 + jump);
    }
}

#[test]
fn a_longer_jump_is_told_but_not_sent() {
    let mut heard = one_second();
    heard.frames(47, US, 91_003, 2000);
    heard.ended(3000);
    assert_eq!(heard.gaps.len(), 1);
    assert_ms(&heard, 92_006);
    assert!(heard.pcm.len() < 3 * 16_000, "{} samples were sent", heard.pcm.len());
    assert_eq!(heard.path.stats().filled, 0);
}

#[test]
fn lost_frames_add_up_to_a_gap() {
    let mut heard = Heard::fresh();
    heard.started(0);
    heard.push(HEADER_48K, 0, 0);
    for index in (0..470u64).filter(|index| index % 10 != 3) {
        heard.push(FRAME, (index * US / 1000) as u32, index * US / 1000);
    }
    heard.ended(11_000);
    assert_ms(&heard, 470 * US / 1000);
    let told: u64 = heard.gaps.iter().map(|(start, end, _)| end - start).sum();
    assert_eq!(told, heard.path.stats().filled);
    assert!(told / 16 >= 900, "{told} samples told");
}

#[test]
fn a_jump_back_begins_a_new_timeline_without_a_gap() {
    let mut heard = one_second();
    heard.frames(47, US, 600_000, 2000);
    let before = (heard.end, heard.gaps.len());
    heard.frames(47, US, 0, 3000);
    heard.frames(47, US, 1003, 4000);
    heard.ended(5000);
    assert_eq!(heard.gaps.len(), before.1);
    assert!(((heard.end - before.0) / 16).abs_diff(2006) <= 60);
    assert_eq!(heard.path.stats().reanchors, 1);
}

#[test]
fn a_small_step_back_that_stays_does_not_hide_the_next_hole() {
    let mut heard = one_second();
    heard.frames(100, US, 703, 2000);
    heard.frames(47, US, 703 + 2133 + 250, 5000);
    heard.ended(6000);
    let [(start, end, _)] = heard.gaps[..] else { panic!("{:?}", heard.gaps) };
    assert!(((end - start) / 16).abs_diff(250) <= 3, "{}", (end - start) / 16);
}

#[test]
fn time_goes_on_across_31_and_32_bits() {
    for wrap in [1u64 << 31, 1 << 32] {
        let mut heard = Heard::fresh();
        heard.started(0);
        heard.push(HEADER_48K, 0, 0);
        for index in 0..470u64 {
            let ms = wrap - 5000 + index * US / 1000;
            heard.push(FRAME, (ms % wrap) as u32, index * US / 1000);
        }
        heard.ended(11_000);
        assert_eq!((&heard.gaps[..], heard.path.stats().reanchors), (&[][..], 0));
        assert_ms(&heard, 470 * US / 1000);
    }
}

#[test]
fn a_step_of_days_is_a_broken_clock_and_no_gap() {
    let mut heard = one_second();
    heard.frames(47, US, 1_000_000_000, 2000);
    heard.ended(3000);
    assert_eq!(heard.gaps, []);
    assert_ms(&heard, 2006);
}

#[test]
fn a_reconnect_in_stream_time_is_placed_to_the_millisecond_and_at_once() {
    let mut heard = one_second();
    heard.ended(2003);
    heard.started(2500);
    // Headers at 0, then stream time, as a real egress does; 0.4 s come as a burst.
    heard.push(HEADER_48K, 0, 2520);
    heard.push(FRAME, 1203, 2520);
    assert!(heard.ms() > 1200, "nothing waits: {} ms", heard.ms());
    for index in 1..94u64 {
        let at = index * US / 1000;
        heard.push(FRAME, (1203 + at) as u32, 2520 + at.saturating_sub(400));
    }
    heard.ended(4500);
    let [(start, end, GapReason::PublisherAway)] = heard.gaps[..] else { panic!("{:?}", heard.gaps) };
    assert!(((end - start) / 16).abs_diff(200) <= 2, "{}", (end - start) / 16);
    assert!(heard.ms().abs_diff(1203 + 2005) <= 2, "{}", heard.ms());
}

#[test]
fn a_reconnect_that_lost_nothing_makes_no_gap() {
    let mut heard = one_second();
    heard.started(2020);
    heard.push(HEADER_48K, 0, 2020);
    heard.frames(47, US, 1003, 2025);
    heard.ended(3500);
    assert_eq!(heard.gaps, []);
    assert_ms(&heard, 2006);
}

#[test]
fn another_publish_stands_where_the_wall_says_less_its_start_burst() {
    for burst in [0u64, 200, 800] {
        let mut heard = one_second();
        heard.ended(2003);
        heard.started(7000);
        heard.push(HEADER_48K, 0, 7000);
        for index in 0..94u64 {
            let at = index * US / 1000;
            heard.push(FRAME, at as u32, 7003 + (at + 21).saturating_sub(burst.max(21)));
        }
        heard.ended(10_000);
        let [(start, end, GapReason::PublisherAway)] = heard.gaps[..] else { panic!("{:?}", heard.gaps) };
        let expected = 7003 - 1982 - burst.max(21);
        assert!((start / 16).abs_diff(1003) <= 2);
        assert!(((end - start) / 16).abs_diff(expected) <= 25, "{burst}: {}", (end - start) / 16);
    }
}

#[test]
fn a_publish_of_a_few_frames_is_placed_when_it_ends_or_is_replaced() {
    let mut heard = one_second();
    heard.ended(2000);
    heard.started(7000);
    heard.push(HEADER_48K, 0, 7000);
    heard.frames(3, US, 0, 7000);
    assert_ms(&heard, 1003);
    heard.ended(7100);
    assert_ms(&heard, 6040);
    heard.started(9000);
    heard.push(HEADER_48K, 0, 9000);
    heard.frames(3, US, 0, 9000);
    heard.started(9100);
    heard.push(HEADER_48K, 0, 9100);
    assert_ms(&heard, 8040);
    assert_eq!(heard.gaps.len(), 2);
    assert_eq!(heard.path.stats().packets, 53);
}

#[test]
fn a_restarted_process_goes_on_where_the_wall_says() {
    let resume = AudioResume {
        next: MediaSamples(160_000),
        idle: Duration::from_secs(2),
        as_of: Duration::from_millis(100),
    };
    let mut heard = Heard::new(AudioPath::new(Some(resume)), 160_000);
    heard.started(4000);
    heard.push(HEADER_48K, 0, 5000);
    heard.frames(47, US, 77_000, 5100);
    heard.ended(6200);
    let [(160_000, end, GapReason::PublisherAway)] = heard.gaps[..] else { panic!("{:?}", heard.gaps) };
    assert!(((end - 160_000) / 16).abs_diff(7000) <= 25, "{}", (end - 160_000) / 16);
}

#[test]
fn a_publisher_that_was_away_for_more_than_a_minute_makes_the_map_jump() {
    let mut heard = one_second();
    heard.ended(2003);
    heard.started(3_602_003);
    heard.push(HEADER_48K, 0, 3_602_003);
    heard.frames(47, US, 0, 3_602_003);
    heard.ended(3_604_000);
    assert_eq!(heard.gaps.len(), 1);
    assert_ms(&heard, 3_602_003);
    assert!(heard.pcm.len() < 3 * 16_000);
}
