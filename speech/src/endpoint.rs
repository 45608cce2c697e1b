//! Finds utterances in one channel: an energy detector with an adaptive noise floor and hysteresis.
//!
//! Pure: samples in, events out; positions are samples since the session's start. Measured (crate README): with a
//! second opinion of the recogniser's own voice detector on each utterance it equals that detector's segmentation,
//! and unlike that one it honours `endpointing` and keeps bounded state.

use std::collections::VecDeque;

/// Frame length, seconds. Every allowed sample rate has a whole number of samples in it.
const FRAME: f64 = 0.02;
/// Audio kept before the first voiced frame and after the last: soft onsets and endings carry words.
const PAD: f64 = 0.2;
/// Silence shorter than this cannot be told from a stop consonant; smaller `endpointing` values act like it.
const RELEASE: f64 = 0.2;
/// An utterance with less voiced time is a click.
const MIN_VOICED: f64 = 0.08;
/// dB above the noise floor at which speech begins, and below which it pauses.
const ON_DB: f32 = 9.0;
const OFF_DB: f32 = 6.0;
/// The floor is the minimum of the smoothed level over this many frames (10 s), never below [`QUIET_DB`].
const FLOOR_FRAMES: u64 = 500;
const QUIET_DB: f32 = -65.0;
/// What is louder than this in a stream's first frames (1 s) is voice, not the room: a stream may begin in mid-word.
const FIRST_DB: f32 = -45.0;
const FIRST_FRAMES: u64 = 50;
/// Anything so far below the recent peak is room, not voice; the peak fades 0.5 dB per second.
const RANGE_DB: f32 = 35.0;
/// A cut by length is put at the quietest frame of this last share of the utterance.
const SPLIT_SHARE: f64 = 0.3;

/// What the detector found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// Speech begins at this sample.
    Start(u64),
    /// An utterance is over; its audio begins at sample `from`, voice is in these spans, in order, at least one.
    End { from: u64, voice: Vec<(u64, u64)>, audio: Vec<f32> },
    /// What had begun was a click.
    Nothing(u64),
}

/// The detector of one channel.
pub(crate) struct Endpointer {
    frame: usize,
    endpointing: u64,
    max_frames: u64,
    pad: u64,
    /// Samples of an unfinished frame, then the frames kept, oldest first.
    partial: Vec<f32>,
    kept: VecDeque<f32>,
    /// Index of the first kept frame; index of the next frame.
    kept_from: u64,
    next: u64,
    floor: Floor,
    peak: f32,
    before: f32,
    open: Option<Open>,
    /// First frame that no earlier utterance has used.
    free: u64,
}

struct Open {
    first: u64,
    last: u64,
    /// Of each frame since `first`: is it voice.
    voiced: Vec<bool>,
    /// Smoothed level of each frame since `first`, for a cut by length.
    levels: Vec<f32>,
}

impl Endpointer {
    /// `endpointing` and `max` in seconds, as `endpointing` and `maximum_duration_without_endpointing` of a request.
    pub(crate) fn new(sample_rate: u32, endpointing: f64, max: f64) -> Self {
        let frames = |seconds: f64| (seconds / FRAME).round().max(1.0) as u64;
        Self {
            frame: (f64::from(sample_rate) * FRAME).round() as usize,
            endpointing: frames(endpointing.max(RELEASE)),
            max_frames: frames(max),
            pad: frames(PAD),
            partial: Vec::new(),
            kept: VecDeque::new(),
            kept_from: 0,
            next: 0,
            floor: Floor::default(),
            peak: QUIET_DB,
            before: QUIET_DB,
            open: None,
            free: 0,
        }
    }

    /// Takes samples; appends what they reveal.
    pub(crate) fn push(&mut self, samples: &[f32], found: &mut Vec<Found>) {
        let mut rest = samples;
        while self.partial.len() + rest.len() >= self.frame {
            let (now, later) = rest.split_at(self.frame - self.partial.len());
            self.partial.extend(now);
            rest = later;
            let frame = std::mem::take(&mut self.partial);
            self.frame_in(&frame, found);
            self.partial = frame;
            self.partial.clear();
        }
        self.partial.extend(rest);
    }

    /// The recording is over: ends an open utterance.
    pub(crate) fn finish(&mut self, found: &mut Vec<Found>) {
        if let Some(open) = self.open.take() {
            self.close(&open, open.last, found);
        }
    }

    /// Audio of the utterance so far, from its padded start, with the sample it starts at; `None` in silence.
    pub(crate) fn so_far(&self) -> Option<(u64, Vec<f32>)> {
        let open = self.open.as_ref()?;
        let from = self.padded_start(open.first);
        Some((from * self.frame as u64, self.audio(from, self.next)))
    }

    fn frame_in(&mut self, frame: &[f32], found: &mut Vec<Found>) {
        let level = level(frame);
        let smooth = self.floor.push(self.next, level);
        self.peak = level.max(self.peak - 0.5 * FRAME as f32);
        self.kept.extend(frame);
        let index = self.next;
        self.next += 1;
        let learned =
            if index < FIRST_FRAMES { self.floor.value().min(FIRST_DB) } else { self.floor.value() };
        let quiet = learned.max(QUIET_DB);
        let on = (quiet + ON_DB).max(self.peak - RANGE_DB);
        let off = (quiet + OFF_DB).max(self.peak - RANGE_DB - 3.0);
        match &mut self.open {
            None if level > on && self.before > on => self.begin(index, smooth, found),
            None => self.forget(),
            Some(open) => {
                open.levels.push(smooth);
                open.voiced.push(level > off);
                if level > off {
                    open.last = index;
                }
                self.maybe_end(index, found);
            }
        }
        self.before = level;
    }

    fn begin(&mut self, index: u64, level: f32, found: &mut Vec<Found>) {
        let first = index.saturating_sub(1).max(self.free);
        let frames = (index - first + 1) as usize;
        self.open =
            Some(Open { first, last: index, voiced: vec![true; frames], levels: vec![level; frames] });
        found.push(Found::Start(first * self.frame as u64));
    }

    fn maybe_end(&mut self, index: u64, found: &mut Vec<Found>) {
        let Some(open) = self
            .open
            .take_if(|o| index - o.last >= self.endpointing || index - o.first + 1 >= self.max_frames)
        else {
            return;
        };
        if index - open.last >= self.endpointing {
            return self.close(&open, open.last, found);
        }
        let cut = quietest(&open.levels);
        let at = open.first + cut as u64;
        self.close(&open, at, found);
        // The talk goes on: the next utterance begins at once.
        let (levels, voiced) = (open.levels[cut + 1..].to_vec(), open.voiced[cut + 1..].to_vec());
        let first = at + 1;
        self.open = Some(Open { first, last: open.last.max(first), voiced, levels });
        found.push(Found::Start(first * self.frame as u64));
    }

    fn close(&mut self, open: &Open, last: u64, found: &mut Vec<Found>) {
        let frame = self.frame as u64;
        let from = self.padded_start(open.first);
        let to = (last + 1 + self.pad.min(self.endpointing)).min(self.next);
        let to = if last < open.last { last + 1 } else { to };
        self.free = last + 1;
        let frames = &open.voiced[..((last - open.first + 1) as usize).min(open.voiced.len())];
        if (frames.iter().filter(|v| **v).count() as f64) * FRAME < MIN_VOICED {
            found.push(Found::Nothing((last + 1) * frame));
        } else {
            let voice =
                spans(frames).map(|(a, b)| ((open.first + a) * frame, (open.first + b) * frame)).collect();
            found.push(Found::End { from: from * frame, voice, audio: self.audio(from, to) });
        }
    }

    fn padded_start(&self, first: u64) -> u64 {
        first.saturating_sub(self.pad).max(self.free).max(self.kept_from)
    }

    fn audio(&self, from: u64, to: u64) -> Vec<f32> {
        let at = |index: u64| ((index - self.kept_from) as usize * self.frame).min(self.kept.len());
        self.kept.range(at(from)..at(to)).copied().collect()
    }

    /// In silence: keeps only the pad before what may still become an utterance.
    fn forget(&mut self) {
        let keep_from = self.next.saturating_sub(self.pad + 2).max(self.kept_from);
        let frames = (keep_from - self.kept_from) as usize;
        self.kept.drain(..(frames * self.frame).min(self.kept.len()));
        self.kept_from = keep_from;
    }
}

/// Runs of voiced frames, half-open.
fn spans(voiced: &[bool]) -> impl Iterator<Item = (u64, u64)> {
    let mut at = 0;
    voiced.chunk_by(|a, b| a == b).filter_map(move |run| {
        let from = at;
        at += run.len() as u64;
        run[0].then_some((from, at))
    })
}

/// Sliding minimum of the smoothed level (a monotonic queue).
#[derive(Default)]
struct Floor {
    smooth: Option<f32>,
    minima: VecDeque<(u64, f32)>,
}

impl Floor {
    fn push(&mut self, index: u64, level: f32) -> f32 {
        let smooth = self.smooth.map_or(level, |s| 0.6 * s + 0.4 * level);
        self.smooth = Some(smooth);
        while self.minima.back().is_some_and(|(_, m)| *m >= smooth) {
            self.minima.pop_back();
        }
        self.minima.push_back((index, smooth));
        while self.minima.front().is_some_and(|(i, _)| i + FLOOR_FRAMES <= index) {
            self.minima.pop_front();
        }
        smooth
    }

    fn value(&self) -> f32 {
        self.minima.front().map_or(QUIET_DB, |(_, m)| *m)
    }
}

/// Mean power, dB of full scale.
fn level(frame: &[f32]) -> f32 {
    let power = frame.iter().map(|s| s * s).sum::<f32>() / frame.len().max(1) as f32;
    10.0 * (power + 1e-10).log10()
}

/// Index of the quietest frame in the last share of an utterance, never the very last.
fn quietest(levels: &[f32]) -> usize {
    let from = ((levels.len() as f64) * (1.0 - SPLIT_SHARE)) as usize;
    let to = levels.len().saturating_sub(1).max(from + 1).min(levels.len());
    (from..to).min_by(|a, b| levels[*a].total_cmp(&levels[*b])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 16_000;

    /// Seconds of room noise at `level`; when loud, with syllables: 80 ms of every 240 ms are nearly quiet.
    fn noise(random: &mut fastrand::Rng, seconds: f64, level: f32) -> Vec<f32> {
        let syllable = |n: usize| if level >= LOUD && n % 3840 > 2560 { QUIET } else { level };
        (0..(seconds * f64::from(RATE)) as usize).map(|n| (random.f32() - 0.5) * syllable(n)).collect()
    }

    fn run(parts: &[(f64, f32)], endpointing: f64, max: f64) -> Vec<Found> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut ears = Endpointer::new(RATE, endpointing, max);
        let mut found = Vec::new();
        for (seconds, level) in parts {
            // An odd chunk size: frames never line up with chunks.
            for chunk in noise(&mut random, *seconds, *level).chunks(777) {
                ears.push(chunk, &mut found);
            }
        }
        ears.finish(&mut found);
        found
    }

    fn voices(found: &[Found]) -> Vec<(f64, f64)> {
        let seconds = |s: u64| s as f64 / f64::from(RATE);
        let voice = |f: &Found| match f {
            Found::End { voice, .. } => Some((seconds(voice.first()?.0), seconds(voice.last()?.1))),
            _ => None,
        };
        found.iter().filter_map(voice).collect()
    }

    const QUIET: f32 = 0.002;
    const LOUD: f32 = 0.3;

    #[test]
    fn a_pause_as_long_as_endpointing_ends_an_utterance_and_a_shorter_one_does_not() {
        let talk = [(1.0, QUIET), (1.0, LOUD), (0.4, QUIET), (1.0, LOUD), (1.0, QUIET)];
        assert_eq!(voices(&run(&talk, 0.3, 15.0)).len(), 2);
        assert_eq!(voices(&run(&talk, 0.5, 15.0)).len(), 1);
    }

    #[test]
    fn voice_times_are_right_to_within_a_syllables_dip() {
        let found = voices(&run(&[(1.0, QUIET), (2.0, LOUD), (1.0, QUIET)], 0.3, 15.0));
        let [(start, end)] = found[..] else { panic!("one utterance expected: {found:?}") };
        assert!((start - 1.0).abs() <= 0.04 && (end - 3.0).abs() <= 0.12, "{start} {end}");
    }

    #[test]
    fn no_utterance_is_longer_than_the_maximum_and_no_sample_is_in_none_or_two() {
        let found = run(&[(1.0, QUIET), (14.0, LOUD), (1.0, QUIET)], 0.3, 5.0);
        let spans = voices(&found);
        assert!(spans.len() >= 3 && spans.iter().all(|(s, e)| e - s <= 5.0), "{spans:?}");
        assert!(spans.windows(2).all(|w| w[0].1 <= w[1].0 && w[1].0 - w[0].1 < 0.2), "{spans:?}");
    }

    #[test]
    fn a_stream_that_begins_in_mid_word_is_heard_from_its_first_sample() {
        let mut ears = Endpointer::new(RATE, 0.3, 15.0);
        let mut found = Vec::new();
        let tone = (0..8800).map(|at| (at as f32 * 0.2).sin() * LOUD);
        let samples: Vec<f32> = tone.chain((0..16_000).map(|_| 0.0)).collect();
        ears.push(&samples, &mut found);
        let [(start, end)] = voices(&found)[..] else { panic!("one utterance expected: {found:?}") };
        assert!(start <= 0.02 && (end - 0.55).abs() <= 0.04, "{start} {end}");
    }

    #[test]
    fn a_click_is_nothing() {
        let found = run(&[(1.0, QUIET), (0.05, LOUD), (1.0, QUIET)], 0.3, 15.0);
        assert!(voices(&found).is_empty(), "{:?}", voices(&found));
        assert!(found.iter().any(|f| matches!(f, Found::Nothing(_))));
    }

    #[test]
    fn a_noisy_room_is_learned_as_silence() {
        let found = voices(&run(&[(8.0, 0.02), (1.0, LOUD), (2.0, 0.02)], 0.3, 15.0));
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn an_hour_of_silence_keeps_less_than_a_second() {
        let mut ears = Endpointer::new(RATE, 0.3, 15.0);
        let mut found = Vec::new();
        for _ in 0..3600 {
            ears.push(&[0.0; RATE as usize], &mut found);
        }
        assert!(found.is_empty() && ears.kept.len() < RATE as usize);
    }

    #[test]
    fn the_audio_of_an_utterance_starts_before_its_voice() {
        let found = run(&[(1.0, QUIET), (1.0, LOUD), (1.0, QUIET)], 0.3, 15.0);
        let Some(Found::End { from, voice, audio }) = found.last() else { panic!("no end") };
        assert!(voice[0].0 - from >= 3_000 && audio.len() as u64 >= voice[0].1 - from);
    }
}
