//! The path itself: which body is what, and in which order the stages run.

use super::clock::{Clock, MAX_FILL, Place, SAMPLES_PER_MS, TOLERANCE};
use super::decode::{Decoded, Decoder, FRAME};
use super::rejoin::Rejoin;
use super::resample::Resample;
use super::stats::AudioStats;
use super::{AudioOut, AudioResume, GapReason, MediaSamples, SAMPLE_RATE, asc, flv};
use std::time::Duration;

/// Silence is made in pieces, so that no single block is large.
const SILENCE_BLOCK: u64 = SAMPLE_RATE as u64;
/// Blocks kept for reuse: a 100 ms read makes five.
const SPARE_BLOCKS: usize = 16;
/// About three seconds of frames, all bad: the header promised something that the frames are not.
const HOPELESS: u32 = 128;

struct Stages {
    decoder: Decoder,
    resample: Resample,
}

/// FLV audio bodies in, PCM on the media clock out.
///
/// ```
/// # use roomscribe_pipeline::audio::{AudioOut, AudioPath};
/// # use std::time::Duration;
/// let (mut audio, mut out) = (AudioPath::new(None), Vec::new());
/// audio.publish_started(Duration::ZERO);
/// audio.push(&[0x2f, 0xff, 0xfb], 0, Duration::ZERO, &mut out);
/// assert_eq!(out, [AudioOut::Unsupported { what: "MP3".to_owned() }]);
/// ```
pub struct AudioPath {
    stages: Option<Stages>,
    clock: Clock,
    /// Media position of the next sample that comes out.
    next: u64,
    /// A publish began, and what is left of the earlier one has not come out yet.
    began: bool,
    /// No frame of this publish has been placed yet.
    joining: bool,
    rejoin: Rejoin,
    complained: bool,
    stats: AudioStats,
    floats: Vec<f32>,
    spare: Vec<Vec<i16>>,
}

impl AudioPath {
    /// From media 0, or from where an earlier process stood.
    pub fn new(resume: Option<AudioResume>) -> Self {
        let resume = resume.filter(|resume| resume.next.0 > 0);
        Self {
            stages: None,
            clock: resume.map_or_else(Clock::default, |resume| Clock::restored(resume.idle, resume.as_of)),
            next: resume.map_or(0, |resume| resume.next.0),
            began: false,
            joining: true,
            rejoin: Rejoin::default(),
            complained: false,
            stats: AudioStats::default(),
            floats: Vec::with_capacity(FRAME),
            spare: Vec::new(),
        }
    }

    /// Another publish begins; its AAC header will come. One that was not ended before is over.
    pub fn publish_started(&mut self, _now: Duration) {
        self.began = true;
    }

    /// Takes one FLV audio body with its RTMP time.
    pub fn push(&mut self, body: &[u8], timestamp_ms: u32, now: Duration, out: &mut Vec<AudioOut>) {
        self.begin(out);
        match flv::read(body) {
            flv::Body::Header(config) => self.configure(config, out),
            flv::Body::Frame(frame) => self.frame(frame, timestamp_ms, now, out),
            flv::Body::Nothing => self.stats.ignored += 1,
            flv::Body::Other(what) => self.unsupported(what.to_owned(), out),
        }
    }

    /// The publisher left: what waits and what the resampler holds comes out.
    pub fn publish_ended(&mut self, _now: Duration, out: &mut Vec<AudioOut>) {
        self.begin(out);
        self.rejoin(out);
        self.flush(out);
    }

    /// Gives a block's memory back, so that none is asked for while audio flows.
    pub fn recycle(&mut self, mut samples: Vec<i16>) {
        if self.spare.len() < SPARE_BLOCKS && samples.capacity() <= SILENCE_BLOCK as usize {
            samples.clear();
            self.spare.push(samples);
        }
    }

    /// Counters, and what the decoder runs at.
    pub fn stats(&self) -> AudioStats {
        let config = self.stages.as_ref().map(|stages| stages.decoder.config());
        AudioStats {
            reanchors: self.clock.reanchors,
            sample_rate: config.map_or(0, |config| config.rate),
            channels: config.map_or(0, |config| config.channels),
            ..self.stats
        }
    }

    /// Nothing of an earlier publish is taken over but the clock: the next one brings its own header.
    fn begin(&mut self, out: &mut Vec<AudioOut>) {
        if std::mem::take(&mut self.began) {
            self.rejoin(out);
            self.flush(out);
            self.stages = None;
            self.joining = true;
            self.complained = false;
        }
    }

    /// A header that is sent again changes nothing; another one begins a decoder, and one that cannot be decoded ends it.
    fn configure(&mut self, config: &[u8], out: &mut Vec<AudioOut>) {
        let parsed = asc::parse(config);
        if let (Some(stages), Ok(config)) = (&self.stages, &parsed)
            && stages.decoder.config() == config
        {
            return;
        }
        self.rejoin(out);
        self.flush(out);
        self.stages = None;
        match parsed.and_then(|config| Ok((Resample::new(config.rate)?, Decoder::new(config)?))) {
            Ok((resample, decoder)) => self.stages = Some(Stages { decoder, resample }),
            Err(what) => self.unsupported(what, out),
        }
    }

    fn frame(&mut self, frame: &[u8], raw: u32, now: Duration, out: &mut Vec<AudioOut>) {
        let Some(stages) = &self.stages else {
            return self.unsupported("AAC frames without an AAC header that can be decoded".to_owned(), out);
        };
        self.stats.packets += 1;
        if self.joining {
            let frame_ms = FRAME as i64 * 1000 / i64::from(stages.decoder.config().rate);
            return self.join(frame, frame_ms, raw, now, out);
        }
        self.clock.heard(now);
        if let Place::After(hole) = self.clock.place(raw, self.expected()) {
            self.hole(hole, GapReason::StreamGap, out);
        }
        self.decode(frame, out);
    }

    /// A publish's first frames. The session's first audio is media 0; later publishes stand where the clock says.
    fn join(&mut self, frame: &[u8], frame_ms: i64, raw: u32, now: Duration, out: &mut Vec<AudioOut>) {
        if self.rejoin.is_empty() && self.clock.away_ms(now).is_none() {
            self.clock.begin(raw, self.expected());
        } else if self.rejoin.is_empty() && self.clock.continues(raw, self.expected(), now) {
            if let Place::After(hole) = self.clock.place(raw, self.expected()) {
                self.hole(hole, GapReason::PublisherAway, out);
            }
        } else {
            if self.rejoin.push(frame, frame_ms, raw, now) {
                self.rejoin(out);
            }
            return;
        }
        self.joining = false;
        self.clock.heard(now);
        self.decode(frame, out);
    }

    /// Places the publish whose first frames wait, if any do.
    fn rejoin(&mut self, out: &mut Vec<AudioOut>) {
        let Some((raw, first, burst_ms)) = self.rejoin.decide() else { return };
        let away = self.clock.away_ms(first).map_or(0, |away| away - burst_ms) * SAMPLES_PER_MS;
        if away > TOLERANCE {
            self.hole(away as u64, GapReason::PublisherAway, out);
        }
        self.clock.begin(raw, self.expected());
        self.joining = false;
        for waiting in self.rejoin.take() {
            self.stats.packets -= 1;
            self.frame(&waiting.frame, waiting.raw, waiting.now, out);
        }
    }

    /// The media position after everything that was decoded.
    fn expected(&self) -> u64 {
        self.next + self.stages.as_ref().map_or(0, |stages| stages.resample.held())
    }

    fn decode(&mut self, frame: &[u8], out: &mut Vec<AudioOut>) {
        let Some(Stages { decoder, resample }) = &mut self.stages else { return };
        self.floats.clear();
        let decoded = decoder.decode(frame, &mut self.floats);
        let mut samples = self.spare.pop().unwrap_or_default();
        resample.push(&self.floats, &mut samples);
        let (rate, hopeless) = (decoder.config().rate, decoder.errors_in_a_row() == HOPELESS);
        self.emit(samples, out);
        if let Decoded::Concealed { rebuilt } = decoded {
            self.stats.concealed += 1;
            self.stats.concealed_samples += FRAME as u64 * u64::from(SAMPLE_RATE) / u64::from(rate);
            self.stats.rebuilds += u64::from(rebuilt);
            if hopeless {
                self.unsupported("AAC frames that cannot be decoded".to_owned(), out);
            }
        }
    }

    fn hole(&mut self, hole: u64, reason: GapReason, out: &mut Vec<AudioOut>) {
        self.flush(out);
        let (start, end) = (self.next, self.next + hole);
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
        let Some(stages) = &mut self.stages else { return };
        let mut samples = self.spare.pop().unwrap_or_default();
        stages.resample.flush(&mut samples);
        self.emit(samples, out);
    }

    fn emit(&mut self, samples: Vec<i16>, out: &mut Vec<AudioOut>) {
        if samples.is_empty() {
            return self.recycle(samples);
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
