//! The log and the spool: what survives.

use roomscribe_pipeline::{MediaRange, SpeechState};
use roomscribe_transcript::{Event, Final, Gap, WriterNote};
use std::collections::VecDeque;

/// Idempotent finals, contiguous offsets by construction, nothing after `end`.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) events: Vec<Event>,
    pub(crate) note: Option<WriterNote>,
}

impl Log {
    pub(crate) fn append(&mut self, event: Event, note: WriterNote) -> u64 {
        assert!(!matches!(self.events.last(), Some(Event::End(_))), "an append after the end");
        let again = |new: &Final| self.finals().any(|old| old.seg == new.seg);
        if !matches!(&event, Event::Final(new) if again(new)) {
            self.events.push(event);
            self.note = Some(note);
        }
        self.events.len() as u64
    }

    pub(crate) fn finals(&self) -> impl Iterator<Item = &Final> {
        self.events.iter().filter_map(|event| match event {
            Event::Final(event) => Some(event),
            _ => None,
        })
    }

    pub(crate) fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.events.iter().filter_map(|event| match event {
            Event::Gap(gap) => Some(gap),
            _ => None,
        })
    }

    pub(crate) fn final_ranges(&self) -> Vec<MediaRange> {
        self.finals().map(|event| (event.start_ms, event.end_ms)).collect()
    }

    pub(crate) fn gap_ranges(&self) -> Vec<MediaRange> {
        self.gaps().map(|gap| (gap.start_ms, gap.end_ms)).collect()
    }
}

/// As `worker/src/spool.rs`: at most 120 s of PCM, and the newest state.
#[derive(Default)]
pub(crate) struct Spool {
    pub(crate) pcm: VecDeque<(u64, bytes::Bytes)>,
    pub(crate) state: Option<SpeechState>,
}

impl Spool {
    pub(crate) fn cover(&mut self, upto: u64) {
        while self.pcm.front().is_some_and(|(at, pcm)| at + pcm.len() as u64 / 2 <= upto) {
            self.pcm.pop_front();
        }
    }

    pub(crate) fn samples(&self) -> u64 {
        self.pcm.iter().map(|(_, pcm)| pcm.len() as u64 / 2).sum()
    }
}
