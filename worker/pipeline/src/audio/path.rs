//! The path itself: which body is what, and in which order the stages run.

use super::clock::{Clock, MAX_FILL, Place};
use super::decode::{Decoded, Decoder, FRAME};
use super::resample::Resample;
use super::{AudioOut, AudioResume, GapReason, MediaSamples, SAMPLE_RATE, asc};
use std::time::Duration;

/// SoundFormat of AAC in the upper half of an FLV audio body's first byte.
const AAC: u8 = 10;
/// Silence is made in pieces, so that no single block is large.
const SILENCE_BLOCK: u64 = SAMPLE_RATE as u64;

/// Counters of one session's audio.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudioStats {
    /// AAC frames.
    pub packets: u64,
    /// Frames that became silence.
    pub concealed: u64,
    /// Decoders rebuilt after errors.
    pub rebuilds: u64,
    /// Samples of silence for holes.
    pub filled: u64,
    /// Samples of holes that were not filled.
    pub skipped: u64,
    /// Bodies that were not AAC.
    pub unsupported: u64,
}

/// FLV audio bodies in, PCM on the media clock out.
pub struct AudioPath {
    decoder: Option<(Decoder, Resample)>,
    clock: Clock,
    /// Media position of the next sample that comes out.
    next: u64,
    complained: bool,
    stats: AudioStats,
    floats: Vec<f32>,
}

impl AudioPath {
    /// From media 0, or from where an earlier process stood.
    pub fn new(resume: Option<AudioResume>) -> Self {
        let next = resume.map_or(0, |resume| resume.next.0);
        let clock = resume
            .filter(|resume| resume.next.0 > 0)
            .map_or_else(Clock::default, |resume| Clock::restored(resume.idle));
        Self {
            decoder: None,
            clock,
            next,
            complained: false,
            stats: AudioStats::default(),
            floats: Vec::with_capacity(4096),
        }
    }

    /// Another publish begins; its AAC header will come.
    pub fn publish_started(&mut self, now: Duration) {
        self.clock.publish(now);
        self.complained = false;
    }

    /// Takes one FLV audio body with its RTMP time.
    pub fn push(&mut self, body: &[u8], timestamp_ms: u32, now: Duration, out: &mut Vec<AudioOut>) {
        match body {
            [first, 0, config @ ..] if first >> 4 == AAC => self.configure(config, out),
            [first, 1, frame @ ..] if first >> 4 == AAC => self.frame(frame, timestamp_ms, now, out),
            [first, ..] if first >> 4 != AAC => self.unsupported(format!("audio format {}", first >> 4), out),
            _ => self.unsupported("an empty audio message".to_owned(), out),
        }
    }

    /// The publisher left: what the resampler holds comes out.
    pub fn publish_ended(&mut self, _now: Duration, out: &mut Vec<AudioOut>) {
        self.flush(out);
    }

    /// Counters.
    pub fn stats(&self) -> &AudioStats {
        &self.stats
    }

    fn configure(&mut self, config: &[u8], out: &mut Vec<AudioOut>) {
        let config = match asc::parse(config) {
            Ok(config) => config,
            Err(what) => return self.unsupported(what, out),
        };
        if self.decoder.as_ref().is_some_and(|(decoder, _)| *decoder.config() == config) {
            return;
        }
        self.flush(out);
        let rate = config.rate;
        match Decoder::new(config).and_then(|decoder| Ok((decoder, Resample::new(rate)?))) {
            Ok(stages) => self.decoder = Some(stages),
            Err(what) => self.unsupported(what, out),
        }
    }

    fn frame(&mut self, frame: &[u8], timestamp_ms: u32, now: Duration, out: &mut Vec<AudioOut>) {
        let Some((_, resample)) = &self.decoder else {
            return self.unsupported("AAC frames without an AAC header".to_owned(), out);
        };
        self.stats.packets += 1;
        let expected = self.next + resample.held();
        if let Place::After { hole, new_publish } = self.clock.place(timestamp_ms, expected, now) {
            self.hole(hole, new_publish, out);
        }
        let Some((decoder, resample)) = &mut self.decoder else { return };
        self.floats.clear();
        if let Decoded::Concealed { rebuilt } = decoder.decode(frame, &mut self.floats) {
            self.stats.concealed += 1;
            self.stats.rebuilds += u64::from(rebuilt);
        }
        let mut samples = Vec::with_capacity(FRAME);
        resample.push(&mut self.floats, &mut samples);
        self.emit(samples, out);
    }

    fn hole(&mut self, hole: u64, new_publish: bool, out: &mut Vec<AudioOut>) {
        self.flush(out);
        let (start, end) = (self.next, self.next + hole);
        let reason = if new_publish { GapReason::PublisherAway } else { GapReason::StreamGap };
        out.push(AudioOut::Gap { start: MediaSamples(start), end: MediaSamples(end), reason });
        if hole > MAX_FILL {
            self.stats.skipped += hole;
            self.next = end;
            return;
        }
        self.stats.filled += hole;
        while self.next < end {
            self.emit(vec![0; SILENCE_BLOCK.min(end - self.next) as usize], out);
        }
    }

    fn flush(&mut self, out: &mut Vec<AudioOut>) {
        let Some((_, resample)) = &mut self.decoder else { return };
        let mut samples = Vec::new();
        resample.flush(&mut samples);
        self.emit(samples, out);
    }

    fn emit(&mut self, samples: Vec<i16>, out: &mut Vec<AudioOut>) {
        if samples.is_empty() {
            return;
        }
        let at = MediaSamples(self.next);
        self.next += samples.len() as u64;
        out.push(AudioOut::Pcm { at, samples });
    }

    fn unsupported(&mut self, what: String, out: &mut Vec<AudioOut>) {
        self.stats.unsupported += 1;
        if !std::mem::replace(&mut self.complained, true) {
            out.push(AudioOut::Unsupported { what });
        }
    }
}
