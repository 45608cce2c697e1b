//! One speech session's stream: which of its bytes stand where on the media clock.

use crate::audio::SAMPLE_RATE;
use serde::{Deserialize, Serialize};

const BYTES_PER_SAMPLE: u64 = 2;
/// 40 ms: a recogniser's idea of where a cut word begins or ends.
const NEAR_SEAM: u64 = 1_280;
/// Each hole longer than a minute or each resume adds one entry.
const MAX_ENTRIES: usize = 1024;

/// From `byte` on, the stream stands at `media`; keep-alive silence does not move the media clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    byte: u64,
    media: u64,
    silence: bool,
}

impl Entry {
    fn media_at(&self, byte: u64) -> u64 {
        match self.silence {
            true => self.media,
            false => self.media + byte.saturating_sub(self.byte) / BYTES_PER_SAMPLE,
        }
    }
}

/// The piecewise map of a stream, and what was acknowledged of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    map: Vec<Entry>,
    /// Entries of bytes that were sent but not acknowledged when a connection broke.
    unacked: Vec<Entry>,
    /// Bytes sent, counted over all connections.
    pub sent: u64,
    /// Bytes acknowledged.
    pub acked: u64,
}

impl Stream {
    /// A stream as it was spooled: what follows the last acknowledged byte will be sent again.
    pub fn restored(map: Vec<Entry>, acked: u64) -> Self {
        Self { map, sent: acked, acked, ..Self::default() }
    }

    /// For the spool.
    pub fn map(&self) -> &[Entry] {
        &self.map
    }

    /// For the log: at most the newest `most` entries.
    pub fn notes(&self, most: usize) -> Vec<(u64, u64, bool)> {
        let skip = self.map.len().saturating_sub(most);
        self.map.iter().skip(skip).map(|entry| (entry.byte, entry.media, entry.silence)).collect()
    }

    /// A stream as the log knows it. What stands before its first entry is not known any more.
    pub fn noted(notes: &[(u64, u64, bool)]) -> Self {
        let map = notes.iter().map(|(byte, media, silence)| Entry {
            byte: *byte,
            media: *media,
            silence: *silence,
        });
        Self { map: map.collect(), ..Self::default() }
    }

    /// Does the map reach back to this time in the stream, in seconds?
    pub fn knows(&self, seconds: f64) -> bool {
        self.map
            .first()
            .is_some_and(|entry| entry.byte as f64 <= (seconds + 0.001) * 2.0 * f64::from(SAMPLE_RATE))
    }

    /// The next chunk begins at this media sample.
    pub fn send(&mut self, media: u64, bytes: u64) {
        if self.map.last().is_none_or(|entry| entry.silence) || self.media_of(self.sent) != media {
            self.begin(media, false);
        }
        self.sent += bytes;
    }

    /// The next chunk is silence that keeps the session alive while the media clock stands at `media`.
    pub fn send_silence(&mut self, media: u64, bytes: u64) {
        if self.map.last().is_none_or(|entry| !entry.silence) {
            self.begin(media, true);
        }
        self.sent += bytes;
    }

    fn begin(&mut self, media: u64, silence: bool) {
        self.map.retain(|entry| entry.byte < self.sent);
        if self.map.len() >= MAX_ENTRIES {
            self.map.remove(0);
        }
        self.map.push(Entry { byte: self.sent, media, silence });
    }

    /// Goes back to what follows the last acknowledged byte; returns its media sample.
    pub fn rewind(&mut self) -> Option<u64> {
        self.sent = self.acked;
        if self.map.is_empty() {
            return None;
        }
        // An entry of its own: the first acknowledgement may show that the service counts from elsewhere.
        let media = self.media_of(self.acked);
        self.unacked = self.map.iter().filter(|entry| entry.byte >= self.acked).copied().collect();
        self.begin(media, false);
        Some(media)
    }

    /// An acknowledgement. The first one after a resume tells where the service put the bytes that were sent again: a
    /// service that kept unacknowledged bytes counts them twice, and every later time stands that much later.
    pub fn ack(&mut self, from: u64, to: u64, resumed_at: &mut Option<u64>) {
        if let Some(expected) = resumed_at.take()
            && from > expected
        {
            let shift = from - expected;
            self.map.iter_mut().filter(|entry| entry.byte >= expected).for_each(|entry| entry.byte += shift);
            // The first copy stands where it stood when it was sent.
            let place = self.map.partition_point(|entry| entry.byte < expected);
            let first = self.unacked.drain(..).filter(|entry| entry.byte < from);
            self.map.splice(place..place, first.collect::<Vec<_>>());
            self.sent += shift;
        }
        self.acked = self.acked.max(to.min(self.sent));
    }

    /// False for what is only the head of one word, the tail of one, or both as one: where the second copy of bytes that
    /// a service heard twice begins. The whole of it stands in the other copy.
    pub fn is_whole(&self, from: f64, to: f64) -> bool {
        let byte =
            |seconds: f64| (seconds.max(0.0) * f64::from(SAMPLE_RATE)).round() as u64 * BYTES_PER_SAMPLE;
        let (start, end) = (byte(from), byte(to));
        self.map.windows(2).all(|pair| {
            let (seam, first_copy_end) = (pair[1], pair[0].media_at(pair[1].byte));
            if seam.media >= first_copy_end {
                return true;
            }
            if start >= seam.byte {
                let is_tail = start <= seam.byte + NEAR_SEAM && {
                    // What ends so near the first copy's end is dropped there, as a head.
                    self.media_of(end) + NEAR_SEAM / BYTES_PER_SAMPLE < first_copy_end
                };
                return !is_tail;
            }
            if end > seam.byte {
                return self.media_of(end) > self.media_of(start);
            }
            let is_head = end + NEAR_SEAM >= seam.byte && self.media_of(start) >= seam.media;
            !is_head
        })
    }

    /// Media sample of a stream byte.
    pub fn media_of(&self, byte: u64) -> u64 {
        let entry = self.map.iter().rev().find(|entry| entry.byte <= byte).or_else(|| self.map.first());
        entry.map_or(0, |entry| entry.media_at(byte))
    }

    /// Media sample of a time in the stream, in seconds.
    pub fn media_at(&self, seconds: f64) -> u64 {
        let samples = (seconds.max(0.0) * f64::from(SAMPLE_RATE)).round() as u64;
        self.media_of(samples * BYTES_PER_SAMPLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_in_the_audio_jumps_the_map() {
        let mut stream = Stream::default();
        stream.send(0, 3200);
        stream.send(100_000, 3200);
        assert_eq!(stream.media_at(0.05), 800);
        assert_eq!(stream.media_at(0.15), 100_800);
    }

    #[test]
    fn a_service_that_dropped_unacknowledged_bytes_hears_them_again_at_the_same_time() {
        let mut stream = Stream::default();
        stream.send(0, 6400);
        stream.ack(0, 3200, &mut None);
        assert_eq!(stream.rewind(), Some(1600));
        let mut resumed = Some(3200);
        stream.send(1600, 3200);
        stream.ack(3200, 6400, &mut resumed);
        assert_eq!((stream.acked, stream.media_at(0.15)), (6400, 2400));
    }

    #[test]
    fn a_service_that_kept_unacknowledged_bytes_stands_later_by_what_it_counts_twice() {
        let mut stream = Stream::default();
        stream.send(0, 6400);
        stream.ack(0, 3200, &mut None);
        stream.rewind();
        stream.send(1600, 3200);
        let mut resumed = Some(3200);
        stream.ack(6400, 9600, &mut resumed);
        assert_eq!(stream.acked, 9600);
        assert_eq!(stream.media_at(0.25), 2400, "the second copy of the bytes stands where the first did");
    }

    #[test]
    fn halves_of_words_at_the_second_copy_are_not_whole_and_a_word_that_holds_it_is() {
        let mut stream = Stream::default();
        // 0.5 s, of which 0.2 s are acknowledged; then the service counts 0.3 s twice.
        stream.send(0, 16_000);
        stream.ack(0, 6_400, &mut None);
        stream.rewind();
        stream.send(3_200, 16_000);
        stream.ack(16_000, 25_600, &mut Some(6_400));
        assert!(stream.is_whole(0.1, 0.35), "before the cut");
        assert!(!stream.is_whole(0.4, 0.5), "a head: the second copy has it whole");
        assert!(!stream.is_whole(0.5, 0.6), "a tail: the first copy has it whole");
        assert!(!stream.is_whole(0.4, 0.6), "a head and another word's tail");
        assert!(stream.is_whole(0.1, 0.9), "one word, from before both cuts to after them");
        assert!(stream.is_whole(0.6, 0.75), "after the cut");
    }
}
