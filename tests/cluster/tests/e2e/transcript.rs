//! What a session has said, read from its worker's log (contract §5: `RSL1`, then `u32 length ‖ u32 crc32c ‖ JSON`).

use anyhow::Context;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The durable events so far.
#[derive(Debug, Clone)]
pub(crate) struct Transcript {
    events: Vec<Value>,
}

impl Transcript {
    /// From the emptyDir of a pod: the node's kubelet keeps it in the node's folder.
    pub(crate) fn of_pod(node: &Path, pod: &str, session: &str) -> anyhow::Result<Self> {
        let data = node.join(format!("sys/lib/kubelet/pods/{pod}/volumes/kubernetes.io~empty-dir/data"));
        let path = data.join(format!("sessions/{session}/log.rsl"));
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(Self { events: records(bytes.get(4..).unwrap_or_default()) })
    }

    /// The texts of its finals, in order.
    pub(crate) fn finals(&self) -> Vec<&str> {
        let finals = self.events.iter().filter(|event| event["type"] == "final");
        finals.filter_map(|event| event["text"].as_str()).collect()
    }

    /// Lengths of the gaps that it tells of.
    pub(crate) fn gaps_ms(&self) -> Vec<u64> {
        let time = |event: &Value, name: &str| event[name].as_u64().unwrap_or_default();
        let gaps = self.events.iter().filter(|event| event["type"] == "gap");
        gaps.map(|gap| time(gap, "endMs").saturating_sub(time(gap, "startMs"))).collect()
    }

    /// Utterances that are missing between others of the same speech session: the script numbers them, by received audio.
    /// And offsets that are missing.
    pub(crate) fn lost(&self) -> usize {
        let mut heard: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event["type"] == "final") {
            let Some((session, _)) = event["seg"].as_str().and_then(|seg| seg.split_once('-')) else {
                continue;
            };
            let number: Option<u64> = event["text"]
                .as_str()
                .and_then(|text| text.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok());
            heard.entry(session).or_default().extend(number);
        }
        let missing =
            |numbers: &BTreeSet<u64>| numbers.last().map_or(0, |last| *last as usize + 1 - numbers.len());
        let offsets: BTreeSet<u64> = self.offsets().into_iter().collect();
        let holes = offsets.last().map_or(0, |last| *last as usize - offsets.len());
        heard.values().map(missing).sum::<usize>() + holes
    }

    /// Finals that are there again, by segment; and offsets.
    pub(crate) fn doubled(&self) -> usize {
        let mut seen = BTreeSet::new();
        let finals = self.events.iter().filter(|event| event["type"] == "final");
        let again = finals.filter(|event| !seen.insert(event["seg"].to_string())).count();
        let offsets = self.offsets();
        again + offsets.len() - offsets.iter().collect::<BTreeSet<_>>().len()
    }

    /// Offsets, which must be 1, 2, 3 …
    pub(crate) fn offsets(&self) -> Vec<u64> {
        self.events.iter().filter_map(|event| event["offset"].as_u64()).collect()
    }
}

/// Whole records; the last may be half written.
fn records(mut rest: &[u8]) -> Vec<Value> {
    let mut found = Vec::new();
    while let Some((head, tail)) = rest.split_at_checked(8) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some((json, after)) = tail.split_at_checked(length) else { break };
        let Ok(record) = serde_json::from_slice::<Value>(json) else { break };
        found.push(record.get("event").cloned().unwrap_or(record));
        rest = after;
    }
    found
}
