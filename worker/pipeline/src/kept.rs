//! PCM that no final covers yet: at most 120 s, the oldest goes first and is told.
//!
//! Blocks are shared with the spool and the socket: no sample is copied after it was written into its block.

use bytes::Bytes;
use std::collections::VecDeque;

/// 120 s at 16 kHz.
pub(crate) const MAX_KEPT_SAMPLES: u64 = 120 * 16_000;
/// Over the limit so much goes at once: a gap for every block would fill the transcript.
const DROPPED_AT_ONCE: u64 = 20 * 16_000;

/// A run of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    at: u64,
    pcm: Bytes,
}

impl Block {
    fn samples(&self) -> u64 {
        self.pcm.len() as u64 / 2
    }

    fn end(&self) -> u64 {
        self.at + self.samples()
    }
}

/// Ascending blocks of audio.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    blocks: VecDeque<Block>,
    total: u64,
}

impl Kept {
    /// Adds a block of s16le; returns what had to be dropped, as (start, end).
    pub(crate) fn push(&mut self, at: u64, pcm: Bytes) -> Option<(u64, u64)> {
        let block = Block { at, pcm };
        self.total += block.samples();
        self.blocks.push_back(block);
        if self.total <= MAX_KEPT_SAMPLES {
            return None;
        }
        let mut dropped: Option<(u64, u64)> = None;
        while self.total > MAX_KEPT_SAMPLES - DROPPED_AT_ONCE {
            let Some(oldest) = self.blocks.pop_front() else { break };
            self.total -= oldest.samples();
            dropped = Some((dropped.map_or(oldest.at, |(start, _)| start), oldest.end()));
        }
        dropped
    }

    /// Forgets whole blocks before `upto`.
    pub(crate) fn cover(&mut self, upto: u64) {
        while self.blocks.front().is_some_and(|block| block.end() <= upto) {
            if let Some(block) = self.blocks.pop_front() {
                self.total -= block.samples();
            }
        }
    }

    /// The rest of the block at or after `from`; `None` when there is nothing.
    pub(crate) fn read(&self, from: u64) -> Option<(u64, Bytes)> {
        let block = self.blocks.get(self.blocks.partition_point(|block| block.end() <= from))?;
        let at = from.max(block.at);
        Some((at, block.pcm.slice((at - block.at) as usize * 2..)))
    }

    /// Media position of the oldest sample.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.blocks.front().map(|block| block.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcm(samples: usize) -> Bytes {
        vec![1; samples * 2].into()
    }

    #[test]
    fn what_is_read_begins_where_asked_and_is_not_copied() {
        let mut kept = Kept::default();
        let block = pcm(10);
        kept.push(0, block.clone());
        kept.push(100, pcm(10));
        let (at, read) = kept.read(5).unwrap();
        assert_eq!((at, read.as_ptr()), (5, block[10..].as_ptr()));
        assert_eq!(kept.read(10), Some((100, pcm(10))));
        assert_eq!(kept.read(110), None);
    }

    #[test]
    fn over_the_limit_the_oldest_go_and_are_told_once() {
        let mut kept = Kept::default();
        for second in 0..120 {
            assert_eq!(kept.push(second * 16_000, pcm(16_000)), None);
        }
        assert_eq!(kept.push(1_920_000, pcm(16_000)), Some((0, 21 * 16_000)));
        assert_eq!(kept.push(1_936_000, pcm(16_000)), None);
        assert_eq!(kept.oldest(), Some(21 * 16_000));
    }

    #[test]
    fn covered_audio_is_forgotten() {
        let mut kept = Kept::default();
        kept.push(0, pcm(10));
        kept.push(10, pcm(10));
        kept.cover(10);
        assert_eq!(kept.oldest(), Some(10));
    }
}
