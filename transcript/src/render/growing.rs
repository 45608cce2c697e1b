//! WebVTT that grows while the session lives: what is written never changes.

use super::Meta;
use super::cues::Cue;
use super::script::turns_of;
use super::vtt::{cues_of_turn, write_cue, write_header};
use crate::model::{Event, Final, Offset, Record, SegmentId};
use std::collections::VecDeque;
use std::io::{self, Write};

/// Finals that wait for their translation at most; then the oldest goes out in its own language.
pub(super) const WAITING_FINALS_MAX: usize = 64;

/// Takes the log's records in order and writes each caption once.
///
/// A caption whose start lies before the last written one (two people at once) starts with that one: WebVTT allows no
/// step back. A later `relabel` does not change what is written.
#[derive(Debug)]
pub struct GrowingVtt {
    language: Option<String>,
    waiting: VecDeque<(Offset, Final)>,
    last_start: u64,
}

impl GrowingVtt {
    /// Writes the header.
    pub fn begin(meta: &Meta, out: &mut impl Write) -> io::Result<Self> {
        write_header(&meta.session, &meta.epoch, out)?;
        Ok(Self { language: meta.language.clone(), waiting: VecDeque::new(), last_start: 0 })
    }

    /// Writes what `record` adds, which may be nothing yet.
    pub fn push(&mut self, record: &Record, out: &mut impl Write) -> io::Result<()> {
        match &record.event {
            Event::Final(event) => self.take(record.offset, event, out),
            Event::Translation(event) if self.language.as_deref() == Some(&event.language) => {
                self.translated(&event.seg, &event.text, out)
            }
            Event::End(_) => self.flush(out),
            _ => Ok(()),
        }
    }

    /// Writes what still waits for a translation, in its own language.
    pub fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        while let Some((offset, event)) = self.waiting.pop_front() {
            self.write(offset, &event, None, out)?;
        }
        Ok(())
    }

    fn take(&mut self, offset: Offset, event: &Final, out: &mut impl Write) -> io::Result<()> {
        if self.language.is_none() || self.language == event.language {
            return self.write(offset, event, None, out);
        }
        self.waiting.push_back((offset, event.clone()));
        match self.waiting.len() > WAITING_FINALS_MAX {
            true => {
                let oldest = self.waiting.pop_front();
                oldest.map_or(Ok(()), |(offset, event)| self.write(offset, &event, None, out))
            }
            false => Ok(()),
        }
    }

    fn translated(&mut self, seg: &SegmentId, text: &str, out: &mut impl Write) -> io::Result<()> {
        let Some(at) = self.waiting.iter().position(|(_, event)| event.seg == *seg) else { return Ok(()) };
        let Some((offset, event)) = self.waiting.remove(at) else { return Ok(()) };
        self.write(offset, &event, Some(text), out)
    }

    fn write(
        &mut self,
        at: Offset,
        event: &Final,
        text: Option<&str>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let language = self.language.clone().unwrap_or_default();
        let translation = text.map(|text| (language.as_str(), text));
        let turns = turns_of(at, event, &[], translation);
        let cues: Vec<Cue> = turns.iter().flat_map(cues_of_turn).collect();
        for mut cue in cues {
            let late = self.last_start.saturating_sub(cue.start);
            cue.start += late;
            cue.end += late;
            self.last_start = cue.start;
            write_cue(&cue, out)?;
        }
        Ok(())
    }
}
