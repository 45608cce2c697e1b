//! A channel that hears a script: timed by the audio received, so that a test needs no clock.

use std::sync::Arc;

use crate::script::{Script, ScriptedUtterance};
use crate::track::{TrackEvent, Utterance};
use crate::words::{Word, spread};

/// How often a partial grows, seconds of audio.
const PARTIAL_SECONDS: f64 = 0.5;

/// One channel.
pub(crate) struct ScriptedTrack {
    utterances: Arc<[ScriptedUtterance]>,
    sample_rate: u32,
    endpointing: f64,
    received: u64,
    number: usize,
    started: bool,
    partials: u32,
}

impl ScriptedTrack {
    /// The channel's part of `script`. A final comes `endpointing` seconds of audio after its utterance's end.
    pub(crate) fn new(script: &Script, channel: u16, sample_rate: u32, endpointing: f64) -> Self {
        let utterances = script.utterances.iter().filter(|u| u.channel == channel).cloned().collect();
        Self { utterances, sample_rate, endpointing, received: 0, number: 0, started: false, partials: 0 }
    }

    pub(crate) fn push(&mut self, samples: u64, events: &mut Vec<TrackEvent>) {
        self.received += samples;
        let now = self.received as f64 / f64::from(self.sample_rate);
        while let Some(next) = self.utterances.get(self.number).cloned() {
            if !self.advance(&next, now, now >= next.end + self.endpointing, events) {
                return;
            }
        }
    }

    /// The recording stops: what has begun is ended where it is.
    pub(crate) fn finish(&mut self, events: &mut Vec<TrackEvent>) {
        let now = self.received as f64 / f64::from(self.sample_rate);
        if let Some(next) = self.utterances.get(self.number).cloned().filter(|u| u.start <= now) {
            self.advance(&next, now, true, events);
        }
        self.number = self.utterances.len();
    }

    /// True when the utterance is over and the next one may follow.
    fn advance(
        &mut self,
        next: &ScriptedUtterance,
        now: f64,
        over: bool,
        events: &mut Vec<TrackEvent>,
    ) -> bool {
        if now < next.start {
            return false;
        }
        if !std::mem::replace(&mut self.started, true) {
            events.push(TrackEvent::SpeechStart { time: next.start, channel: next.channel });
        }
        let number = self.number as u64;
        while now.min(next.end) >= next.start + PARTIAL_SECONDS * f64::from(self.partials + 1) {
            self.partials += 1;
            let until = next.start + PARTIAL_SECONDS * f64::from(self.partials);
            if let Some(utterance) = partial(next, until) {
                events.push(TrackEvent::Partial { number, utterance });
            }
        }
        if over {
            events.push(TrackEvent::SpeechEnd { time: next.end, channel: next.channel });
            events.push(TrackEvent::Final { number, utterance: whole(next) });
            (self.number, self.started, self.partials) = (self.number + 1, false, 0);
        }
        over
    }
}

fn whole(said: &ScriptedUtterance) -> Utterance {
    let scripted = |words: &Vec<_>| words.iter().map(word).collect();
    let words = said
        .words
        .as_ref()
        .map_or_else(|| spread(&said.text, &[(said.start, said.end)], Some(said.confidence)), scripted);
    Utterance {
        text: said.text.clone(),
        start: said.start,
        end: said.end,
        language: said.language.clone(),
        confidence: Some(said.confidence),
        channel: said.channel,
        words,
        translations: said.translations.clone(),
    }
}

fn word(w: &crate::script::ScriptedWord) -> Word {
    Word { word: w.word.clone(), start: w.start, end: w.end, confidence: Some(w.confidence) }
}

/// The words said until `until`; `None` before the first.
fn partial(said: &ScriptedUtterance, until: f64) -> Option<Utterance> {
    let mut utterance = whole(said);
    utterance.words.retain(|w| w.end <= until);
    utterance.end = utterance.words.last()?.end;
    utterance.text = utterance.words.iter().map(|w| w.word.as_str()).collect();
    Some(utterance)
}
