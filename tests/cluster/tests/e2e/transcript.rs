//! What a session has said, as its viewers got it, held to account: every tone of the room is there once, or a gap tells
//! that it is not.

use roomscribe_sims::tones::{LENGTH, PERIOD, TONES};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Media milliseconds from one tone to the next, and of one tone.
const STEP: f64 = PERIOD * 1000.0;
const SOUND: f64 = LENGTH * 1000.0;
/// Milliseconds that a word may be off: frames of the detector, the encoder's delay.
const TOLERANCE: f64 = 150.0;
/// … and more after an accident: across publishes wall time is the clock (contract §4).
const JUMP: f64 = 500.0;
/// Milliseconds.
const FRESH: f64 = 1000.0;

/// The durable events so far.
#[derive(Debug, Clone)]
pub(crate) struct Transcript {
    events: Vec<Value>,
}

/// One tone that was heard: which since the first, and from when to when, media milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Word {
    pub(crate) index: u64,
    pub(crate) start: f64,
    pub(crate) end: f64,
}

impl Transcript {
    /// Of durable events in the order in which they came.
    pub(crate) fn new(events: Vec<Value>) -> Self {
        Self { events }
    }

    /// For messages: a line for each event.
    pub(crate) fn brief(&self) -> String {
        let line = |event: &Value| {
            let text =
                ["text", "reason"].into_iter().find_map(|name| event[name].as_str()).unwrap_or_default();
            let (start, end) = span(event);
            format!(
                "{} {} gen {} {} {start}–{end} {text} {}\n",
                event["offset"], event["type"], event["gen"], event["seg"], event["at"]
            )
        };
        self.events.iter().map(line).collect()
    }

    /// Lengths of the gaps that it tells of.
    pub(crate) fn gaps_ms(&self) -> Vec<u64> {
        self.gaps().map(|(start, end)| (end - start) as u64).collect()
    }

    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["type"] == kind)
    }

    /// Media milliseconds.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = (f64, f64)> {
        self.of("gap").map(span)
    }

    /// All words by their time. A tone's pitch tells which of sixty it is, its time which round.
    pub(crate) fn words(&self) -> Vec<Word> {
        let mut heard: Vec<(u64, f64, f64)> = Vec::new();
        for word in self.of("final").filter_map(|event| event["words"].as_array()).flatten() {
            let number = word["w"].as_str().and_then(|word| word.strip_prefix("tone")?.parse().ok());
            let (start, end) = span(word);
            heard.extend(number.map(|number: u64| (number, start, end)));
        }
        heard.sort_by(|one, other| one.1.total_cmp(&other.1));
        let Some(&(first, begun, _)) = heard.first() else { return Vec::new() };
        let index = |number: u64, start: f64| {
            let (round, ahead) = (u64::from(TONES), (number + u64::from(TONES) - first) % u64::from(TONES));
            let rounds = ((start - begun) / STEP - ahead as f64) / round as f64;
            ahead + round * rounds.round().max(0.0) as u64
        };
        heard.iter().map(|&(number, start, end)| Word { index: index(number, start), start, end }).collect()
    }

    /// When they sounded, the tones that are not there and of which no gap tells (design §1.2), and those before the first word;
    /// 0 for each offset that is missing.
    pub(crate) fn lost(&self) -> Vec<f64> {
        let offsets: BTreeSet<u64> = self.offsets().into_iter().collect();
        let holes = offsets.last().map_or(0, |last| *last as usize - offsets.len());
        let words = self.words();
        let before = words.first().map_or(0, |first| ((first.start - TOLERANCE) / STEP).max(0.0) as usize);
        let between = words.windows(2).flat_map(|pair| self.missing(pair[0], pair[1]));
        vec![0.0; before + holes].into_iter().chain(between).collect()
    }

    fn missing(&self, before: Word, after: Word) -> impl Iterator<Item = f64> {
        // Where it must have sounded, by either neighbour.
        let sounded = move |index: u64| {
            let start = before.start + (index - before.index) as f64 * STEP;
            let other = after.start - (after.index - index) as f64 * STEP;
            (start.min(other), start.max(other))
        };
        let is_told = move |(start, other): &(f64, f64)| {
            let (from, to) = (start - TOLERANCE, other + SOUND + TOLERANCE);
            self.gaps().any(|gap| gap.0 < to && gap.1 > from)
        };
        let between = (before.index + 1..after.index).map(sounded);
        between.filter(move |sound| !is_told(sound)).map(|(start, _)| start)
    }

    /// Where tones stand again, but for the other half of one that was cut; segments and offsets that do.
    pub(crate) fn doubled(&self) -> Vec<f64> {
        let mut sounded: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
        let mut again = Vec::new();
        for word in self.words() {
            let (end, length) = sounded.get(&word.index).copied().unwrap_or((f64::MIN, 0.0));
            let length = length + word.end - word.start;
            let is_again = word.start < end - TOLERANCE || length > SOUND + 2.0 * TOLERANCE;
            again.extend(is_again.then_some(word.start));
            sounded.insert(word.index, (word.end, length));
        }
        let (mut segments, mut offsets) = (BTreeSet::new(), BTreeSet::new());
        for event in &self.events {
            let twice = !offsets.insert(event["offset"].as_u64())
                || (event["type"] == "final" && !segments.insert(event["seg"].to_string()));
            again.extend(twice.then_some(span(event).0));
        }
        again
    }

    /// The longest time without a word since this moment, by the clock of whoever wrote them.
    pub(crate) fn longest_silence(&self, since: jiff::Timestamp) -> Duration {
        let said = self.of("final").filter_map(|event| event["at"].as_str()?.parse().ok());
        let said: Vec<jiff::Timestamp> = said.filter(|at| *at > since).collect();
        let begins = [since].into_iter().chain(said.iter().copied());
        let silences = begins.zip(&said).map(|(one, other)| other.duration_since(one).unsigned_abs());
        silences.max().unwrap_or_default()
    }

    /// Words that are not where the one before says: their time is not the room's.
    pub(crate) fn displaced(&self) -> usize {
        let is_off = |pair: &&[Word]| {
            let (before, after) = (pair[0], pair[1]);
            let steps = after.index as f64 - before.index as f64;
            // The other half of a tone begins where its gap ends.
            steps != 0.0 && (after.start - before.start - steps * STEP).abs() > TOLERANCE + JUMP
        };
        self.words().windows(2).filter(|pair| is_off(pair)).count()
    }

    /// Its last event is `end`.
    pub(crate) fn has_ended(&self) -> bool {
        self.events.last().is_some_and(|event| event["type"] == "end")
    }

    /// The newest words are as fresh as the freshest: nothing is being caught up with.
    pub(crate) fn is_current(&self) -> bool {
        let lag = |event: &Value| {
            let at: Option<jiff::Timestamp> = event["at"].as_str()?.parse().ok();
            Some(at?.as_millisecond() as f64 - span(event).1)
        };
        let lags: Vec<f64> = self.of("final").filter_map(lag).collect();
        let least = lags.iter().copied().fold(f64::INFINITY, f64::min);
        lags.last().is_some_and(|last| *last < least + FRESH)
    }

    /// Offsets, which must be 1, 2, 3 …
    pub(crate) fn offsets(&self) -> Vec<u64> {
        self.events.iter().filter_map(|event| event["offset"].as_u64()).collect()
    }
}

/// Media time, ms.
fn span(event: &Value) -> (f64, f64) {
    let time = |name: &str| event[name].as_f64().unwrap_or_default();
    (time("startMs"), time("endMs"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tone(offset: u64, number: u64, start: u64, length: u64) -> Value {
        let word = json!({"w": format!("tone{number}"), "startMs": start, "endMs": start + length});
        json!({"type": "final", "offset": offset, "seg": format!("1-{offset}"), "words": [word], "startMs": start, "endMs": start + length})
    }

    fn gap(offset: u64, start: u64, end: u64) -> Value {
        json!({"type": "gap", "offset": offset, "startMs": start, "endMs": end})
    }

    fn counts(events: &[Value]) -> (usize, usize, usize) {
        let transcript = Transcript::new(events.to_vec());
        (transcript.lost().len(), transcript.doubled().len(), transcript.displaced())
    }

    #[test]
    fn a_room_that_was_heard_whole_has_nothing_to_tell_over_many_rounds() {
        let events: Vec<Value> = (0..150).map(|n| tone(n + 1, (57 + n) % 60, 200 + n * 1500, 800)).collect();
        assert_eq!(counts(&events), (0, 0, 0));
    }

    #[test]
    fn a_tone_that_is_missing_is_lost_unless_a_gap_covers_that_very_tone() {
        let events = [tone(1, 0, 0, 800), tone(2, 3, 4500, 800)];
        assert_eq!(counts(&events), (2, 0, 0));
        let told = [events[0].clone(), events[1].clone(), gap(3, 1400, 2400)];
        assert_eq!(counts(&told), (1, 0, 0), "a gap over tone 1 does not tell of tone 2");
        let told = [events[0].clone(), events[1].clone(), gap(3, 1400, 3500)];
        assert_eq!(counts(&told), (0, 0, 0));
    }

    #[test]
    fn tones_before_the_first_word_and_missing_offsets_are_lost() {
        assert_eq!(counts(&[tone(1, 9, 3200, 800)]), (2, 0, 0));
        assert_eq!(counts(&[tone(1, 9, 100, 800), tone(3, 10, 1600, 800)]), (1, 0, 0));
    }

    #[test]
    fn a_tone_that_comes_again_is_doubled_and_the_other_half_of_a_cut_one_is_not() {
        let halves = [tone(1, 0, 0, 400), gap(2, 400, 500), tone(3, 0, 500, 400), tone(4, 1, 1500, 800)];
        assert_eq!(counts(&halves), (0, 0, 0));
        let again = [tone(1, 0, 0, 800), tone(2, 0, 20, 800), tone(3, 1, 1500, 800)];
        assert_eq!(counts(&again), (0, 1, 0));
        let later = [tone(1, 0, 0, 800), tone(2, 1, 1500, 800), tone(3, 1, 2400, 800)];
        assert_eq!(counts(&later), (0, 1, 0));
    }

    #[test]
    fn the_longest_silence_is_between_two_words_or_before_the_first() {
        let at = |offset: u64, at: &str| json!({"type": "final", "offset": offset, "at": at});
        let said =
            [at(1, "2026-11-26T22:00:00Z"), at(2, "2026-11-26T22:00:02Z"), at(3, "2026-11-26T22:00:09Z")];
        let transcript = Transcript::new(said.to_vec());
        let silence = |since: &str| transcript.longest_silence(since.parse().unwrap()).as_secs();
        assert_eq!(silence("2026-11-26T22:00:01Z"), 7);
        assert_eq!(silence("2026-11-26T21:59:00Z"), 60);
        assert_eq!(silence("2026-11-26T22:00:10Z"), 0);
    }

    #[test]
    fn a_word_that_is_not_where_it_sounded_is_displaced() {
        assert_eq!(counts(&[tone(1, 0, 0, 800), tone(2, 1, 2300, 800)]), (0, 0, 1));
    }
}
