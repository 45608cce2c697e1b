//! What a session's log has seen, and what it answers to an append: pure, the same for every backing.

use crate::log::{Append, Head, LogError};
use crate::model::{Event, Generation, Offset, Record, SegmentId, WriterNote};
use std::collections::HashMap;
use std::sync::Arc;

/// The part of the state that a failed write takes back.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Marks {
    pub(crate) head: Offset,
    pub(crate) generation: Generation,
    pub(crate) ended: Option<Offset>,
    pub(crate) note: Option<WriterNote>,
}

/// Everything needed to answer an append.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) marks: Marks,
    finals: HashMap<SegmentId, Offset>,
    translations: HashMap<(SegmentId, String), Offset>,
}

/// The answer to an append that is not refused.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision {
    /// It is there already.
    Duplicate(Offset),
    /// It gets this place.
    Write(Arc<Record>),
}

impl State {
    /// Fencing comes first: a superseded writer must learn it even when it repeats itself.
    pub(crate) fn decide(&self, append: &Append) -> Result<Decision, LogError> {
        let (own, seen) = (append.generation, self.marks.generation);
        if own < seen {
            return Err(LogError::Fenced { seen, own });
        }
        if let Some(first) = self.first_of(&append.event) {
            return Ok(Decision::Duplicate(first));
        }
        if self.marks.ended.is_some() {
            return Err(LogError::Ended);
        }
        let (head, expected) = (self.marks.head, append.expected_head);
        if head != expected {
            return Err(LogError::Moved { head, expected });
        }
        let record = Record { offset: head.next(), generation: own, event: append.event.clone() };
        Ok(Decision::Write(Arc::new(record)))
    }

    /// Takes a record in; it must follow the head.
    pub(crate) fn apply(&mut self, record: &Record, note: Option<&WriterNote>) {
        self.marks.head = record.offset;
        self.marks.generation = self.marks.generation.max(record.generation);
        if let Some(note) = note {
            self.marks.note = Some(note.clone());
        }
        match &record.event {
            Event::Final(event) => {
                self.finals.entry(event.seg.clone()).or_insert(record.offset);
            }
            Event::Translation(event) => {
                let key = (event.seg.clone(), event.language.clone());
                self.translations.entry(key).or_insert(record.offset);
            }
            Event::End(_) => self.marks.ended = Some(record.offset),
            Event::Relabel(_) | Event::Status(_) | Event::Gap(_) | Event::Handover {} => {}
        }
    }

    /// Forgets everything after `marks`.
    pub(crate) fn roll_back(&mut self, marks: Marks) {
        self.finals.retain(|_, offset| *offset <= marks.head);
        self.translations.retain(|_, offset| *offset <= marks.head);
        self.marks = marks;
    }

    /// The segment has its final, so a partial of it is old news.
    pub(crate) fn has_final(&self, seg: &SegmentId) -> bool {
        self.finals.contains_key(seg)
    }

    fn first_of(&self, event: &Event) -> Option<Offset> {
        match event {
            Event::Final(event) => self.finals.get(&event.seg).copied(),
            Event::Translation(event) => {
                self.translations.get(&(event.seg.clone(), event.language.clone())).copied()
            }
            Event::End(_) => self.marks.ended,
            Event::Relabel(_) | Event::Status(_) | Event::Gap(_) | Event::Handover {} => None,
        }
    }
}

impl Marks {
    /// As readers see it.
    pub(crate) fn head_of(&self, epoch: &str) -> Head {
        Head {
            epoch: epoch.to_owned(),
            oldest: Offset(1),
            head: self.head,
            generation: self.generation,
            ended: self.ended.is_some(),
            note: self.note.clone(),
        }
    }
}

/// A new incarnation's name: 8 random hex digits (contract §2).
pub(crate) fn new_epoch() -> String {
    let mut epoch = uuid::Uuid::new_v4().simple().to_string();
    epoch.truncate(8);
    epoch
}
