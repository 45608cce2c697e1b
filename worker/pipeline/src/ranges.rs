//! Stretches of media time, in samples.

/// Voice with a shorter pause inside is one stretch.
const JOIN: u64 = 6_400;
/// Speech is not shorter than this (0.2 s).
pub(crate) const MIN_VOICE: u64 = 3_200;
/// So near is beside.
const BESIDE: u64 = 8_000;
/// Over this, the two nearest stretches become one: rather too much is called lost than too little.
const MAX_RANGES: usize = 1024;

/// Ascending, disjoint (start, end).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Restored ones.
    pub(crate) fn from_list(list: &[(u64, u64)]) -> Self {
        let mut ranges = Self::default();
        list.iter().for_each(|(start, end)| ranges.insert(*start, *end, 0));
        ranges
    }

    pub(crate) fn list(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Voice was heard.
    pub(crate) fn add_voice(&mut self, start: u64, end: u64) {
        self.insert(start, end, JOIN);
        self.bound(MAX_RANGES);
    }

    /// Adds a stretch, joined with those nearer than `join`.
    pub(crate) fn insert(&mut self, start: u64, end: u64, join: u64) {
        if end <= start {
            return;
        }
        let first = self.0.partition_point(|range| range.1 + join < start);
        let last = self.0.partition_point(|range| range.0 <= end + join);
        let (mut start, mut end) = (start, end);
        for range in &self.0[first..last.max(first)] {
            (start, end) = (start.min(range.0), end.max(range.1));
        }
        self.0.splice(first..last.max(first), [(start, end)]);
    }

    /// At most `most` stretches, by joining the nearest.
    pub(crate) fn bound(&mut self, most: usize) {
        while self.0.len() > most.max(1) {
            let hole = |index: &usize| self.0[index + 1].0 - self.0[*index].1;
            let Some(nearest) = (0..self.0.len() - 1).min_by_key(hole) else { return };
            self.0[nearest].1 = self.0[nearest + 1].1;
            self.0.remove(nearest + 1);
        }
    }

    pub(crate) fn remove(&mut self, start: u64, end: u64) {
        if self.0.iter().all(|range| range.1 <= start || range.0 >= end) {
            return;
        }
        let pieces = self.0.iter().flat_map(|range| {
            [(range.0, range.1.min(start)), (range.0.max(end), range.1)]
                .into_iter()
                .filter(|piece| piece.0 < piece.1)
        });
        let mut pieces: Vec<_> = pieces.collect();
        pieces.dedup();
        self.0 = pieces;
    }

    /// A final stands here: so do the edges of its voice.
    pub(crate) fn answer(&mut self, start: u64, end: u64) {
        self.remove(start, end);
        self.0.retain(|range| {
            let beside = range.0.abs_diff(end) <= BESIDE || range.1.abs_diff(start) <= BESIDE;
            !(beside && range.1 - range.0 < MIN_VOICE)
        });
    }

    /// The stretches inside, cut to it, that are long enough to be speech.
    pub(crate) fn voice_within(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let cut = self.0.iter().map(|range| (range.0.max(start), range.1.min(end)));
        cut.filter(|(start, end)| end.saturating_sub(*start) >= MIN_VOICE).collect()
    }

    /// The stretch that holds this sample.
    pub(crate) fn holding(&self, at: u64) -> Option<(u64, u64)> {
        let index = self.0.partition_point(|range| range.1 <= at);
        self.0.get(index).copied().filter(|range| range.0 <= at)
    }

    /// The first stretch that ends after this sample.
    pub(crate) fn first_after(&self, at: u64) -> Option<(u64, u64)> {
        self.0.get(self.0.partition_point(|range| range.1 <= at)).copied()
    }

    /// Where the last stretch that begins inside ends, at most `end`.
    pub(crate) fn last_end_within(&self, start: u64, end: u64) -> Option<u64> {
        let last = self.0[..self.0.partition_point(|range| range.0 < end)].last()?;
        (last.1 > start).then(|| last.1.min(end))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn pop_first(&mut self) -> Option<(u64, u64)> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voice_with_short_pauses_is_one_stretch() {
        let mut owed = Ranges::default();
        owed.add_voice(0, 1600);
        owed.add_voice(4800, 6400);
        owed.add_voice(20_000, 21_600);
        assert_eq!(owed.list(), [(0, 6400), (20_000, 21_600)]);
    }

    #[test]
    fn a_final_takes_its_edges_and_leaves_its_neighbours() {
        let mut owed = Ranges::from_list(&[(0, 40_000), (60_000, 90_000)]);
        owed.answer(1_000, 39_000);
        assert_eq!(owed.list(), [(60_000, 90_000)]);
        owed.answer(70_000, 75_000);
        assert_eq!(owed.list(), [(60_000, 70_000), (75_000, 90_000)]);
    }

    #[test]
    fn over_the_limit_the_nearest_become_one() {
        let mut owed = Ranges::from_list(&[(0, 10), (100, 110), (120, 130)]);
        owed.bound(2);
        assert_eq!(owed.list(), [(0, 10), (100, 130)]);
    }

    #[test]
    fn a_stretch_may_join_several() {
        let mut owed = Ranges::from_list(&[(0, 10), (20, 30), (40, 50)]);
        owed.insert(5, 45, 0);
        assert_eq!(owed.list(), [(0, 50)]);
        owed.remove(10, 20);
        assert_eq!(
            (owed.list(), owed.holding(25), owed.holding(15)),
            (&[(0, 10), (20, 50)][..], Some((20, 50)), None)
        );
        assert_eq!(owed.first_after(12), Some((20, 50)));
    }
}
