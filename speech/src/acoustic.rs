//! A channel heard by the on-device model: finds utterances, asks for their words, puts the answers in order.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::endpoint::{Endpointer, Found};
use crate::pool::{Heard, Job};
use crate::track::{TrackEvent, Utterance};
use crate::words::{millis, spread};

/// Audio between two partials of an utterance, at least.
const PARTIAL_SECONDS: f64 = 0.5;
/// Partials may take this share of one core: the next one waits so many times what the last one took.
const PARTIAL_REST: u32 = 4;

/// One channel.
pub(crate) struct AcousticTrack {
    channel: u16,
    sample_rate: u32,
    ears: Endpointer,
    partials: bool,
    received: u64,
    /// Number of the utterance that is open or comes next.
    number: u64,
    /// When (in received samples) the next partial is due, and whether one is being recognised.
    partial_due: u64,
    partial_open: bool,
    /// Ended utterances whose words have not been given out, in order.
    open: VecDeque<Pending>,
    answers: BTreeMap<u64, Result<String, String>>,
}

struct Pending {
    number: u64,
    /// Voiced spans, seconds; never empty.
    voice: Vec<(f64, f64)>,
}

impl Pending {
    fn span(&self) -> (f64, f64) {
        span(&self.voice)
    }

    fn seconds(&self) -> f64 {
        let (start, end) = self.span();
        end - start
    }
}

/// From the first voice to the last.
fn span(voice: &[(f64, f64)]) -> (f64, f64) {
    (voice.first().map_or(0.0, |v| v.0), voice.last().map_or(0.0, |v| v.1))
}

impl AcousticTrack {
    /// `endpointing` and `max` in seconds, as in a request.
    pub(crate) fn new(channel: u16, sample_rate: u32, endpointing: f64, max: f64, partials: bool) -> Self {
        Self {
            channel,
            sample_rate,
            ears: Endpointer::new(sample_rate, endpointing, max),
            partials,
            received: 0,
            number: 0,
            partial_due: 0,
            partial_open: false,
            open: VecDeque::new(),
            answers: BTreeMap::new(),
        }
    }

    pub(crate) fn push(&mut self, samples: &[f32], events: &mut Vec<TrackEvent>) {
        let mut found = Vec::new();
        self.received += samples.len() as u64;
        self.ears.push(samples, &mut found);
        found.into_iter().for_each(|f| self.found(f, events));
        self.maybe_partial(events);
    }

    pub(crate) fn finish(&mut self, events: &mut Vec<TrackEvent>) {
        let mut found = Vec::new();
        self.ears.finish(&mut found);
        found.into_iter().for_each(|f| self.found(f, events));
    }

    pub(crate) fn heard(&mut self, heard: Heard, events: &mut Vec<TrackEvent>) {
        if heard.is_final {
            self.answers.insert(heard.utterance, heard.text);
            return self.give_out(events);
        }
        self.partial_open = false;
        self.partial_due = self.received + self.samples(heard.took.saturating_mul(PARTIAL_REST));
        // A late partial of an utterance that has ended would follow its speech_end.
        if let (Ok(text), true) = (heard.text, heard.utterance == self.number)
            && let Some((from, _)) = self.ears.so_far().filter(|_| !text.is_empty())
        {
            let utterance = self.utterance(text, &[(self.seconds(from), self.seconds(self.received))]);
            events.push(TrackEvent::Partial { number: heard.utterance, utterance });
        }
    }

    pub(crate) fn backlog(&self) -> f64 {
        self.open.iter().map(Pending::seconds).sum()
    }

    fn found(&mut self, found: Found, events: &mut Vec<TrackEvent>) {
        match found {
            Found::Start(sample) => {
                // The pool drops a partial that a final overtakes: no answer may be left to wait for.
                self.partial_open = false;
                self.partial_due = self.received + (PARTIAL_SECONDS * f64::from(self.sample_rate)) as u64;
                events.push(TrackEvent::SpeechStart { time: self.seconds(sample), channel: self.channel });
            }
            Found::Nothing(sample) => {
                self.number += 1;
                events.push(TrackEvent::SpeechEnd { time: self.seconds(sample), channel: self.channel });
            }
            Found::End { voice, audio, .. } => {
                let number = self.number;
                self.number += 1;
                let voice =
                    voice.into_iter().map(|(from, to)| (self.seconds(from), self.seconds(to))).collect();
                let pending = Pending { number, voice };
                events.push(TrackEvent::SpeechEnd { time: pending.span().1, channel: self.channel });
                self.open.push_back(pending);
                events.push(TrackEvent::Recognise(self.job(number, true, audio)));
            }
        }
    }

    fn maybe_partial(&mut self, events: &mut Vec<TrackEvent>) {
        if !self.partials || self.partial_open || self.received < self.partial_due {
            return;
        }
        if let Some((_, audio)) = self.ears.so_far() {
            self.partial_open = true;
            self.partial_due = self.received + (PARTIAL_SECONDS * f64::from(self.sample_rate)) as u64;
            events.push(TrackEvent::Recognise(self.job(self.number, false, audio)));
        }
    }

    fn job(&self, utterance: u64, is_final: bool, audio: Vec<f32>) -> Job {
        Job { channel: self.channel, utterance, is_final, sample_rate: self.sample_rate, audio }
    }

    /// Two threads may answer out of order; clients get finals in the order of speech.
    fn give_out(&mut self, events: &mut Vec<TrackEvent>) {
        while let Some(next) = self.open.front()
            && let Some(answer) = self.answers.remove(&next.number)
        {
            let Some(pending) = self.open.pop_front() else { return };
            match answer {
                Ok(text) if text.is_empty() => {}
                Ok(text) => {
                    let utterance = self.utterance(text, &pending.voice);
                    events.push(TrackEvent::Final { number: pending.number, utterance });
                }
                Err(_) => {
                    let (start, end) = pending.span();
                    events.push(TrackEvent::Failed { start, end });
                }
            }
        }
    }

    fn utterance(&self, text: String, voice: &[(f64, f64)]) -> Utterance {
        let (start, end) = span(voice);
        // The model tells neither times of words nor how sure it is: times are estimates, confidence is null.
        let words = spread(&text, voice, None);
        Utterance {
            text: format!(" {text}"),
            start: millis(start),
            end: millis(end),
            language: "en".into(),
            confidence: None,
            channel: self.channel,
            words,
            translations: BTreeMap::new(),
        }
    }

    fn seconds(&self, sample: u64) -> f64 {
        millis(sample as f64 / f64::from(self.sample_rate))
    }

    fn samples(&self, time: Duration) -> u64 {
        (time.as_secs_f64().max(PARTIAL_SECONDS) * f64::from(self.sample_rate)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(track: &mut AcousticTrack, seconds: f64, level: f32, events: &mut Vec<TrackEvent>) {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..(seconds * 10.0) as usize {
            let chunk: Vec<f32> = (0..1600).map(|_| (random.f32() - 0.5) * level).collect();
            track.push(&chunk, events);
        }
    }

    fn answer(number: u64, is_final: bool, text: &str) -> Heard {
        Heard {
            channel: 0,
            utterance: number,
            is_final,
            text: Ok(text.into()),
            took: Duration::from_millis(100),
        }
    }

    fn two_utterances() -> (AcousticTrack, Vec<TrackEvent>) {
        let mut track = AcousticTrack::new(0, 16_000, 0.3, 15.0, true);
        let mut events = Vec::new();
        for _ in 0..2 {
            talk(&mut track, 1.0, 0.002, &mut events);
            talk(&mut track, 1.0, 0.3, &mut events);
        }
        talk(&mut track, 1.0, 0.002, &mut events);
        (track, events)
    }

    #[test]
    fn finals_are_given_out_in_the_order_of_speech_whatever_the_order_of_answers() {
        let (mut track, _) = two_utterances();
        assert!((track.backlog() - 2.0).abs() < 0.2, "{}", track.backlog());
        let mut events = Vec::new();
        track.heard(answer(1, true, "second"), &mut events);
        assert!(events.is_empty());
        track.heard(answer(0, true, "first"), &mut events);
        let texts: Vec<_> = events
            .iter()
            .map(|e| match e {
                TrackEvent::Final { utterance, .. } => utterance.text.as_str(),
                _ => "?",
            })
            .collect();
        assert_eq!(texts, [" first", " second"]);
        assert!(track.backlog().abs() < 1e-9);
    }

    #[test]
    fn each_utterance_asks_for_one_partial_at_a_time_though_no_answer_ever_comes() {
        let (_, events) = two_utterances();
        let asked = events.iter().filter_map(|e| match e {
            TrackEvent::Recognise(job) if !job.is_final => Some(job.utterance),
            _ => None,
        });
        assert_eq!(asked.collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_failed_utterance_is_told_and_does_not_hold_up_the_next() {
        let (mut track, _) = two_utterances();
        let mut events = Vec::new();
        let failed = Heard { text: Err("broken".into()), ..answer(0, true, "") };
        track.heard(failed, &mut events);
        track.heard(answer(1, true, "second"), &mut events);
        assert!(matches!(events[..], [TrackEvent::Failed { .. }, TrackEvent::Final { .. }]));
    }
}
