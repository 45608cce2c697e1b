//! A publisher in simulated time in front of an `AudioPath`, and what came out of it.
#![allow(dead_code)] // Each test binary uses its part.

use roomscribe_pipeline::audio::{AudioOut, AudioPath, GapReason};
use std::time::Duration;

/// AAC-LC headers as publishers send them.
pub(crate) const HEADER_48K: &[u8] = &[0xaf, 0, 0x11, 0x90];
pub(crate) const HEADER_44K: &[u8] = &[0xaf, 0, 0x12, 0x10];
/// Digital silence, stereo, as ffmpeg encodes it.
pub(crate) const FRAME: &[u8] = &[0xaf, 1, 0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c];

/// Everything that came out, checked as it came.
pub(crate) struct Heard {
    pub(crate) path: AudioPath,
    out: Vec<AudioOut>,
    /// Where the map begins, and the sample after the last that came out.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// (start, end, reason) in samples.
    pub(crate) gaps: Vec<(u64, u64, GapReason)>,
    pub(crate) unsupported: Vec<String>,
    pub(crate) pcm: Vec<i16>,
    /// Samples of silence that a gap has promised.
    owed: u64,
}

impl Heard {
    pub(crate) fn new(path: AudioPath, start: u64) -> Self {
        let (gaps, unsupported, pcm) = (Vec::new(), Vec::new(), Vec::new());
        Self { path, out: Vec::new(), start, end: start, gaps, unsupported, pcm, owed: 0 }
    }

    pub(crate) fn fresh() -> Self {
        Self::new(AudioPath::new(None), 0)
    }

    pub(crate) fn started(&mut self, now_ms: u64) {
        self.path.publish_started(Duration::from_millis(now_ms));
    }

    pub(crate) fn push(&mut self, body: &[u8], timestamp_ms: u32, now_ms: u64) {
        self.path.push(body, timestamp_ms, Duration::from_millis(now_ms), &mut self.out);
        self.check();
    }

    pub(crate) fn ended(&mut self, now_ms: u64) {
        self.path.publish_ended(Duration::from_millis(now_ms), &mut self.out);
        self.check();
    }

    /// Frames from `first` on, paced in real time, at stream time `ms` and wall time `now`.
    pub(crate) fn frames(&mut self, count: u64, frame_us: u64, ms: u64, now: u64) {
        for index in 0..count {
            let at = index * frame_us / 1000;
            self.push(FRAME, (ms + at) as u32, now + at);
        }
    }

    /// Milliseconds that came out, long gaps included.
    pub(crate) fn ms(&self) -> u64 {
        (self.end - self.start) / 16
    }

    /// Output never overlaps, never has a hole without a gap, and a gap of up to 60 s is followed by its silence.
    fn check(&mut self) {
        for out in self.out.drain(..) {
            match out {
                AudioOut::Pcm { at, samples } => {
                    assert_eq!(at.0, self.end, "a block that does not follow the last one");
                    self.end += samples.len() as u64;
                    let silence = self.owed.min(samples.len() as u64);
                    assert!(
                        samples[..silence as usize].iter().all(|sample| *sample == 0),
                        "a gap is not silent"
                    );
                    self.owed -= silence;
                    self.pcm.extend_from_slice(&samples);
                }
                AudioOut::Gap { start, end, reason } => {
                    assert_eq!(
                        (start.0, self.owed),
                        (self.end, 0),
                        "a gap that does not follow the last block"
                    );
                    assert!(end > start);
                    self.gaps.push((start.0, end.0, reason));
                    if end.0 - start.0 > 60 * 16_000 {
                        self.end = end.0;
                    } else {
                        self.owed = end.0 - start.0;
                    }
                }
                AudioOut::Unsupported { what } => self.unsupported.push(what),
            }
        }
        assert_eq!(self.owed, 0, "a gap without its silence");
    }
}
