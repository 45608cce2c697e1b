//! PCM that no final covers yet: at most 120 s, the oldest goes first and is told.

use std::collections::VecDeque;

/// 120 s at 16 kHz.
pub(crate) const MAX_KEPT_SAMPLES: u64 = 120 * 16_000;

/// A run of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    at: u64,
    samples: Vec<i16>,
}

impl Block {
    fn end(&self) -> u64 {
        self.at + self.samples.len() as u64
    }
}

/// Ascending blocks of audio.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    blocks: VecDeque<Block>,
    total: u64,
}

impl Kept {
    /// Adds audio; returns what had to be dropped, as (start, end).
    pub(crate) fn push(&mut self, at: u64, samples: &[i16]) -> Option<(u64, u64)> {
        self.blocks.push_back(Block { at, samples: samples.to_vec() });
        self.total += samples.len() as u64;
        let mut dropped: Option<(u64, u64)> = None;
        while self.total > MAX_KEPT_SAMPLES {
            let Some(oldest) = self.blocks.pop_front() else { break };
            self.total -= oldest.samples.len() as u64;
            dropped = Some((dropped.map_or(oldest.at, |(start, _)| start), oldest.end()));
        }
        dropped
    }

    /// Forgets whole blocks before `upto`.
    pub(crate) fn cover(&mut self, upto: u64) {
        while self.blocks.front().is_some_and(|block| block.end() <= upto) {
            if let Some(block) = self.blocks.pop_front() {
                self.total -= block.samples.len() as u64;
            }
        }
    }

    /// The next run at or after `from`, at most `max` samples and without a hole; `None` when there is nothing.
    pub(crate) fn read(&self, from: u64, max: usize) -> Option<(u64, Vec<i16>)> {
        let first = self.blocks.partition_point(|block| block.end() <= from);
        let block = self.blocks.get(first)?;
        let at = from.max(block.at);
        let mut run: Vec<i16> = Vec::with_capacity(max);
        let mut next = at;
        for block in self.blocks.range(first..) {
            if block.at > next || run.len() == max {
                break;
            }
            let skip = (next - block.at) as usize;
            let take = (block.samples.len() - skip).min(max - run.len());
            run.extend_from_slice(&block.samples[skip..skip + take]);
            next += take as u64;
        }
        Some((at, run))
    }

    /// Samples without a hole from `from` on, or from the next audio.
    pub(crate) fn available(&self, from: u64) -> u64 {
        let first = self.blocks.partition_point(|block| block.end() <= from);
        let Some(block) = self.blocks.get(first) else { return 0 };
        let mut next = from.max(block.at);
        let begin = next;
        for block in self.blocks.range(first..) {
            if block.at > next {
                break;
            }
            next = block.end();
        }
        next - begin
    }

    /// Media position of the oldest sample.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.blocks.front().map(|block| block.at)
    }

    /// Is there a hole, or an end, right after what `available` counted?
    pub(crate) fn has_more_after_hole(&self, from: u64) -> bool {
        let end = from + self.available(from);
        self.blocks.back().is_some_and(|block| block.end() > end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_has_no_hole_and_begins_where_asked() {
        let mut kept = Kept::default();
        kept.push(0, &[1; 10]);
        kept.push(10, &[2; 10]);
        kept.push(100, &[3; 10]);
        assert_eq!(kept.read(5, 100), Some((5, [vec![1; 5], vec![2; 10]].concat())));
        assert_eq!(kept.read(20, 4), Some((100, vec![3; 4])));
        assert_eq!(kept.read(110, 4), None);
    }

    #[test]
    fn over_the_limit_the_oldest_goes_and_is_told() {
        let mut kept = Kept::default();
        let minute = vec![0i16; 60 * 16_000];
        assert_eq!(kept.push(0, &minute), None);
        assert_eq!(kept.push(960_000, &minute), None);
        assert_eq!(kept.push(1_920_000, &[0; 160]), Some((0, 960_000)));
        assert_eq!(kept.oldest(), Some(960_000));
    }

    #[test]
    fn covered_audio_is_forgotten() {
        let mut kept = Kept::default();
        kept.push(0, &[1; 10]);
        kept.push(10, &[2; 10]);
        kept.cover(10);
        assert_eq!(kept.oldest(), Some(10));
    }
}
