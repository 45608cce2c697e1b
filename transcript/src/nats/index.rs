//! Where offsets stand in the stream: a sparse memory of both, so that a reader in the middle need not read from the start.

use crate::model::Offset;
use std::collections::BTreeMap;

/// Records read over at most, when a search may find a nearer place.
pub(super) const NEAR: u64 = 256;
/// Places remembered per session.
const PLACES_MAX: usize = 1024;

/// Sequence numbers of some offsets.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: BTreeMap<u64, u64>,
}

/// Between `low`, whose offset is not after the wanted one, and `high_seq`, which is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Search {
    wanted: u64,
    low: (u64, u64),
    high_seq: u64,
}

impl Index {
    /// `offset` stands at `seq`.
    pub(super) fn note(&mut self, offset: Offset, seq: u64) {
        let slot = offset.0 / NEAR * NEAR;
        if self.places.contains_key(&offset.0) || self.places.range(slot..slot + NEAR).next().is_some() {
            return;
        }
        if self.places.len() >= PLACES_MAX {
            self.thin();
        }
        self.places.insert(offset.0, seq);
    }

    /// Forgets every second place: what is left is as even as it was.
    fn thin(&mut self) {
        let mut keep = false;
        self.places.retain(|_, _| {
            keep = !keep;
            keep
        });
    }

    /// Begins to look for the record after `wanted` in a log whose last message is at `last_seq`.
    pub(super) fn search(&self, wanted: Offset, last_seq: u64) -> Search {
        let below =
            self.places.range(..=wanted.0).next_back().map_or((0, 0), |(offset, seq)| (*offset, *seq));
        let above = self.places.range(wanted.0 + 1..).next().map_or(last_seq, |(_, seq)| *seq);
        Search { wanted: wanted.0, low: below, high_seq: above.max(below.1) }
    }
}

impl Search {
    /// The sequence number to look at next; `None` when the place is near enough.
    pub(super) fn probe(&self) -> Option<u64> {
        let far = self.wanted - self.low.0 > NEAR && self.high_seq - self.low.1 > 1;
        far.then(|| self.low.1 + (self.high_seq - self.low.1) / 2)
    }

    /// At or after `probe` the session's next message is `found` (offset, sequence).
    pub(super) fn narrow(&mut self, probe: u64, found: Option<(Offset, u64)>) {
        match found {
            Some((offset, seq)) if offset.0 <= self.wanted && seq > self.low.1 => self.low = (offset.0, seq),
            _ => self.high_seq = probe,
        }
    }

    /// Messages from there to the wanted place, as far as is known.
    pub(super) fn before(&self) -> usize {
        usize::try_from(self.wanted - self.low.0).unwrap_or(usize::MAX)
    }

    /// Where to begin reading.
    pub(super) fn start(&self) -> u64 {
        self.low.1 + 1
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// A session whose records stand among those of others.
    fn stream(random: &mut fastrand::Rng, records: u64) -> Vec<u64> {
        let mut seq = random.u64(1..1000);
        (0..=records)
            .map(|_| {
                let here = seq;
                seq += random.u64(1..60);
                here
            })
            .collect()
    }

    fn find(index: &mut Index, seqs: &[u64], wanted: u64, learn: bool) -> (u64, usize) {
        let mut search = index.search(Offset(wanted), *seqs.last().unwrap());
        let mut probes = 0;
        while let Some(probe) = search.probe() {
            let at = seqs.partition_point(|seq| *seq < probe);
            let found = seqs.get(at).map(|seq| (Offset(at as u64), *seq));
            if let Some((offset, seq)) = found.filter(|_| learn) {
                index.note(offset, seq);
            }
            search.narrow(probe, found);
            probes += 1;
        }
        (search.start(), probes)
    }

    #[test]
    fn a_reader_in_the_middle_begins_close_before_its_place_and_never_behind_it() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let records = random.u64(0..20_000);
            let seqs = stream(&mut random, records);
            let mut index = Index::default();
            for _ in 0..20 {
                let wanted = random.u64(0..seqs.len() as u64 + 5);
                let (from, probes) = find(&mut index, &seqs, wanted, true);
                let first = seqs.partition_point(|seq| *seq < from) as u64;
                assert!(first <= wanted + 1, "seed {seed}: begins at {first}, behind {wanted}");
                let near = wanted.min(seqs.len() as u64 - 1) - first.min(wanted) <= NEAR;
                assert!(near || wanted >= seqs.len() as u64, "seed {seed}: {first} is far from {wanted}");
                assert!(probes <= 21, "seed {seed}: {probes} probes");
            }
        }
    }

    #[test]
    fn the_memory_of_places_is_bounded() {
        let mut index = Index::default();
        for offset in 0..2_000_000u64 {
            index.note(Offset(offset), offset * 3);
        }
        assert!(index.places.len() <= PLACES_MAX);
        assert_eq!(index.search(Offset(10), 9_000_000).probe(), None);
    }
}
