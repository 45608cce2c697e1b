//! The audio path beside ffmpeg: the same AAC, decoded, mixed down and resampled by both.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use roomscribe_pipeline::audio::{AudioOut, AudioPath};
use roomscribe_sims::adts;
use std::process::Command;
use std::time::Duration;

/// Tones from 150 Hz to 6.5 kHz: all inside the band in which both resamplers are flat, so that plain subtraction
/// measures the error.
const TONES: &str = "0.12*sin(2*PI*150*t)+0.1*sin(2*PI*440*t)+0.1*sin(2*PI*997*t)+0.08*sin(2*PI*2310*t)+0.06*sin(2*PI*4100*t)+0.04*sin(2*PI*6500*t)";

fn ffmpeg(args: &[&str]) -> Vec<u8> {
    let output = Command::new("ffmpeg").args(["-nostdin", "-loglevel", "error"]).args(args).output();
    let output = output.expect("ffmpeg is missing; on Debian: apt-get install ffmpeg");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn encode(rate: u32, channels: u32, folder: &std::path::Path) -> String {
    let path = folder.join(format!("{rate}-{channels}.aac")).to_string_lossy().into_owned();
    let source = format!("aevalsrc='{TONES}':s={rate}:d=6");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        &source,
        "-ac",
        &channels.to_string(),
        "-c:a",
        "aac",
        "-b:a",
        "192k",
        "-f",
        "adts",
        "-y",
        &path,
    ]);
    path
}

fn reference(path: &str) -> Vec<f64> {
    let pcm = ffmpeg(&["-i", path, "-ac", "1", "-ar", "16000", "-f", "s16le", "pipe:1"]);
    pcm.chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]]))).collect()
}

fn ours(path: &str) -> Vec<f64> {
    let recording = adts::parse(&std::fs::read(path).unwrap()).unwrap();
    let (mut audio, mut out) = (AudioPath::new(None), Vec::new());
    audio.publish_started(Duration::ZERO);
    audio.push(&[&[0xaf, 0], &recording.config[..]].concat(), 0, Duration::ZERO, &mut out);
    for (index, frame) in recording.frames.iter().enumerate() {
        let ms = index as u64 * 1024 * 1000 / u64::from(recording.rate);
        audio.push(&[&[0xaf, 1], &frame[..]].concat(), ms as u32, Duration::from_millis(ms), &mut out);
    }
    audio.publish_ended(Duration::from_secs(7), &mut out);
    let mut samples = Vec::new();
    for item in out {
        let AudioOut::Pcm { at, samples: block } = item else { panic!("{item:?}") };
        assert_eq!(at.0 as usize, samples.len(), "a hole in the output");
        samples.extend(block.into_iter().map(f64::from));
    }
    samples
}

/// Signal to noise in dB at a lag, over the middle of the recording.
fn snr(reference: &[f64], ours: &[f64], lag: i64) -> f64 {
    let middle = 16_000..reference.len().min(ours.len()) - 16_000;
    let (mut signal, mut noise) = (0.0, 0.0);
    for index in middle {
        let ours = ours[(index as i64 + lag) as usize];
        signal += reference[index] * reference[index];
        noise += (reference[index] - ours) * (reference[index] - ours);
    }
    10.0 * (signal / noise.max(1e-9)).log10()
}

#[test]
fn decoded_mixed_and_resampled_audio_is_ffmpegs_within_50_db_and_one_sample() {
    let folder = tempfile::tempdir().unwrap();
    for (rate, channels) in [(48_000, 2), (48_000, 1), (44_100, 2), (44_100, 1)] {
        let path = encode(rate, channels, folder.path());
        let (reference, ours) = (reference(&path), ours(&path));
        let length = reference.len().abs_diff(ours.len());
        assert!(length <= 2, "{rate} Hz, {channels} channels: lengths differ by {length}");
        let best = (-4..=4)
            .max_by(|a, b| snr(&reference, &ours, *a).total_cmp(&snr(&reference, &ours, *b)))
            .unwrap();
        assert!((-1..=1).contains(&best), "{rate} Hz, {channels} channels: lag {best}");
        let snr = snr(&reference, &ours, best);
        assert!(snr > 50.0, "{rate} Hz, {channels} channels: {snr:.1} dB at lag {best}");
    }
}
