//! What a session has said, as its viewers got it.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The durable events so far.
#[derive(Debug, Clone)]
pub(crate) struct Transcript {
    events: Vec<Value>,
}

impl Transcript {
    /// Of durable events in the order in which they came.
    pub(crate) fn new(events: Vec<Value>) -> Self {
        Self { events }
    }

    /// The texts of its finals, in order.
    pub(crate) fn finals(&self) -> Vec<&str> {
        self.of("final").filter_map(|event| event["text"].as_str()).collect()
    }

    /// Lengths of the gaps that it tells of.
    pub(crate) fn gaps_ms(&self) -> Vec<u64> {
        self.gaps().map(|(start, end)| end.saturating_sub(start)).collect()
    }

    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["type"] == kind)
    }

    fn gaps(&self) -> impl Iterator<Item = (u64, u64)> {
        self.of("gap").map(span)
    }

    /// Utterances that are missing between others of the same speech session, which numbers them by received audio, and that
    /// no gap tells of (design §1.2); and offsets that are missing.
    pub(crate) fn lost(&self) -> usize {
        let offsets: BTreeSet<u64> = self.offsets().into_iter().collect();
        let holes = offsets.last().map_or(0, |last| *last as usize - offsets.len());
        self.numbered().values().map(|heard| self.missing(heard)).sum::<usize>() + holes
    }

    /// By speech session: number and time of each utterance.
    fn numbered(&self) -> BTreeMap<&str, BTreeMap<u64, (u64, u64)>> {
        let mut heard: BTreeMap<&str, BTreeMap<u64, (u64, u64)>> = BTreeMap::new();
        for event in self.of("final") {
            let session = event["seg"].as_str().and_then(|seg| Some(seg.split_once('-')?.0));
            let digits = event["text"].as_str().map(|text| text.trim_matches(|c: char| !c.is_ascii_digit()));
            // Where an outage cut an utterance, its number may be missing: its gap tells.
            if let (Some(session), Some(Ok(number))) = (session, digits.map(str::parse)) {
                heard.entry(session).or_default().insert(number, span(event));
            }
        }
        heard
    }

    fn missing(&self, heard: &BTreeMap<u64, (u64, u64)>) -> usize {
        let pairs = heard.iter().zip(heard.iter().skip(1));
        let holes = pairs.filter(|((before, (_, from)), (after, (until, _)))| {
            let is_told = self.gaps().any(|(start, end)| start <= *until && end >= *from);
            **after > **before + 1 && !is_told
        });
        holes.map(|((before, _), (after, _))| (after - before - 1) as usize).sum()
    }

    /// Finals that are there again, by segment; and offsets.
    pub(crate) fn doubled(&self) -> usize {
        let mut seen = BTreeSet::new();
        let again = self.of("final").filter(|event| !seen.insert(event["seg"].to_string())).count();
        let offsets = self.offsets();
        again + offsets.len() - offsets.iter().collect::<BTreeSet<_>>().len()
    }

    /// Offsets, which must be 1, 2, 3 …
    pub(crate) fn offsets(&self) -> Vec<u64> {
        self.events.iter().filter_map(|event| event["offset"].as_u64()).collect()
    }
}

/// Media time, ms.
fn span(event: &Value) -> (u64, u64) {
    let time = |name: &str| event[name].as_u64().unwrap_or_default();
    (time("startMs"), time("endMs"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn utterance(offset: u64, seg: &str, number: u64, start: u64) -> Value {
        json!({"type": "final", "offset": offset, "seg": seg, "text": format!("Utterance {number}."), "startMs": start, "endMs": start + 1000})
    }

    #[test]
    fn a_missing_utterance_is_lost_unless_a_gap_tells_of_it_and_a_repeated_one_is_doubled() {
        let mut events = vec![utterance(1, "1-0", 0, 0), utterance(2, "1-2", 2, 3000)];
        assert_eq!(Transcript { events: events.clone() }.lost(), 1);
        events.push(json!({"type": "gap", "offset": 3, "startMs": 1400, "endMs": 2600}));
        let told = Transcript { events: events.clone() };
        assert_eq!((told.lost(), told.doubled(), told.gaps_ms()), (0, 0, vec![1200]));
        events.push(utterance(5, "1-2", 2, 3000));
        let worse = Transcript { events };
        assert_eq!(
            (worse.lost(), worse.doubled()),
            (1, 1),
            "offset 4 is missing, segment 1-2 is there twice"
        );
    }
}
