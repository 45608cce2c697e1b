//! Headers, bad packets and foreign formats through the audio path.

mod common;

use common::{FRAME, HEADER_44K, HEADER_48K, Heard};
use roomscribe_sims::adts;
use std::path::Path;

const MEETING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/meeting/meeting.aac");

/// Real speech: its header and 300 frames.
fn speech() -> (Vec<u8>, Vec<Vec<u8>>, u64) {
    let recording = adts::parse(&std::fs::read(Path::new(MEETING)).expect("fixture")).expect("ADTS");
    let frames = recording.frames.iter().skip(100).take(300).map(|frame| [&[0xaf, 1], &frame[..]].concat());
    (
        [&[0xaf, 0], &recording.config[..]].concat(),
        frames.collect(),
        1_024_000_000 / u64::from(recording.rate),
    )
}

fn play(heard: &mut Heard, frames: &[Vec<u8>], frame_us: u64) {
    for (index, frame) in frames.iter().enumerate() {
        let ms = index as u64 * frame_us / 1000;
        heard.push(frame, ms as u32, ms);
    }
}

fn published(header: &[u8], frames: &[Vec<u8>], frame_us: u64) -> Heard {
    let mut heard = Heard::fresh();
    heard.started(0);
    heard.push(header, 0, 0);
    play(&mut heard, frames, frame_us);
    heard.ended(60_000);
    heard
}

#[test]
fn a_header_sent_again_changes_not_one_sample() {
    let (header, frames, us) = speech();
    let plain = published(&header, &frames, us);
    let mut heard = Heard::fresh();
    heard.started(0);
    for (index, frame) in frames.iter().enumerate() {
        let ms = index as u64 * us / 1000;
        heard.push(&header, 0, ms);
        heard.push(frame, ms as u32, ms);
    }
    heard.ended(60_000);
    assert!(plain.pcm.iter().any(|sample| sample.abs() > 1000), "the fixture is silent");
    assert_eq!(plain.pcm, heard.pcm);
}

#[test]
fn another_rate_in_mid_stream_goes_on_without_a_hole() {
    let mut heard = Heard::fresh();
    heard.started(0);
    heard.push(HEADER_48K, 0, 0);
    heard.frames(94, 21_333, 0, 0);
    heard.push(HEADER_44K, 2005, 2005);
    assert_eq!(heard.path.stats().sample_rate, 44_100);
    heard.frames(86, 23_220, 2005, 2005);
    heard.ended(5000);
    assert_eq!(heard.gaps, []);
    assert!(heard.ms().abs_diff(2005 + 1996) <= 2, "{}", heard.ms());
}

#[test]
fn a_bad_packet_is_silence_of_the_same_length_and_is_counted() {
    let (header, mut frames, us) = speech();
    let whole = published(&header, &frames, us);
    for index in (7..300).step_by(16) {
        frames[index].truncate(3);
    }
    let heard = published(&header, &frames, us);
    let stats = heard.path.stats();
    assert_eq!((heard.end, &heard.gaps[..]), (whole.end, &[][..]));
    assert_eq!((stats.concealed, stats.rebuilds), (19, 0));
    assert!(stats.concealed_samples > 19 * 300);
}

#[test]
fn a_first_packet_of_another_layout_costs_three_packets_not_the_session() {
    let (header, mut frames, us) = speech();
    frames[0] = vec![0xaf, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let heard = published(&header, &frames, us);
    let stats = heard.path.stats();
    assert!(stats.concealed <= 4, "{stats:?}");
    assert!(heard.pcm.iter().any(|sample| sample.abs() > 1000), "all is silent");
}

#[test]
fn six_thousand_mutated_packets_keep_the_clock() {
    let (header, frames, us) = speech();
    let mut random = fastrand::Rng::with_seed(11);
    let mutated: Vec<Vec<u8>> = (0..6000)
        .map(|index| {
            let mut frame = frames[index % frames.len()].clone();
            for _ in 0..random.usize(0..4) {
                let at = random.usize(2..frame.len());
                frame[at] = random.u8(..);
            }
            frame.truncate(random.usize(3..=frame.len() * 3).min(frame.len()));
            frame
        })
        .collect();
    let heard = published(&header, &mutated, us);
    assert_eq!(heard.gaps, []);
    assert!(heard.ms().abs_diff(6000 * us / 1000) <= 60);
    assert!(heard.path.stats().concealed > 100);
}

#[test]
fn frames_that_never_decode_are_told_once_and_stay_silence() {
    let (header, frames, us) = speech();
    let bad: Vec<Vec<u8>> = (0..500).map(|index| frames[index % 300][..5].to_vec()).collect();
    let heard = published(&header, &bad, us);
    assert_eq!(heard.unsupported, ["AAC frames that cannot be decoded"]);
    assert_eq!(heard.path.stats().concealed, 500);
    assert!(heard.ms().abs_diff(500 * us / 1000) <= 2);
}

#[test]
fn what_is_not_aac_is_told_once_per_publish() {
    let mut heard = Heard::fresh();
    for publish in 0..2u64 {
        heard.started(publish);
        for _ in 0..100 {
            heard.push(&[0x2f, 0xff, 0xfb], 0, publish);
        }
    }
    assert_eq!(heard.unsupported, ["MP3", "MP3"]);
    assert_eq!(heard.path.stats().unsupported, 200);
}

#[test]
fn frames_before_their_header_are_told_and_cost_only_themselves() {
    let mut heard = Heard::fresh();
    heard.started(0);
    heard.frames(47, 21_333, 0, 0);
    heard.push(HEADER_48K, 1003, 1003);
    heard.frames(47, 21_333, 1003, 1003);
    heard.ended(3000);
    assert_eq!(heard.unsupported.len(), 1);
    assert!(heard.ms().abs_diff(1003) <= 2);
}

#[test]
fn a_header_that_cannot_be_decoded_ends_the_old_one_and_the_hole_is_told_when_audio_comes_back() {
    let mut heard = Heard::fresh();
    heard.started(0);
    heard.push(HEADER_48K, 0, 0);
    heard.frames(47, 21_333, 0, 0);
    heard.push(&[0xaf, 0, 0x11, 0xb0], 1003, 1003);
    heard.frames(47, 21_333, 1003, 1003);
    heard.push(HEADER_48K, 2006, 2006);
    heard.frames(47, 21_333, 2006, 2006);
    heard.ended(4000);
    assert_eq!(heard.unsupported, ["AAC with channel configuration 6"]);
    assert_eq!(heard.gaps.len(), 1);
    assert!(heard.ms().abs_diff(3009) <= 60, "{}", heard.ms());
}

#[test]
fn every_standard_rate_comes_out_at_16_khz_and_nothing_else_is_taken() {
    for (index, rate) in
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350]
            .into_iter()
            .enumerate()
    {
        let bits = 2u16 << 11 | (index as u16) << 7 | 2 << 3;
        let header = [&[0xaf, 0], &bits.to_be_bytes()[..]].concat();
        let heard = published(&header, &vec![FRAME.to_vec(); 200], 1_024_000_000 / rate);
        assert_eq!(heard.path.stats().concealed, 0, "{rate} Hz");
        assert!(heard.ms().abs_diff(200 * 1_024_000 / rate) <= 2, "{rate} Hz: {} ms", heard.ms());
    }
}

#[test]
fn explicit_he_aac_plays_its_core() {
    // Object 5, 24 kHz core, stereo, 48 kHz extension, object 2: the core's frames have 42⅔ ms.
    let bits = (5u32 << 27) | (6 << 23) | (2 << 19) | (3 << 15) | (2 << 10);
    let header = [&[0xaf, 0], &bits.to_be_bytes()[..]].concat();
    let heard = published(&header, &vec![FRAME.to_vec(); 50], 42_667);
    assert_eq!((&heard.unsupported[..], heard.path.stats().concealed), (&[][..], 0));
    assert!(heard.ms().abs_diff(2133) <= 2, "{}", heard.ms());
}
