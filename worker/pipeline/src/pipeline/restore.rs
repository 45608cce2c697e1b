//! Going on after a crash, with or without the spool.
//!
//! An old speech session is never gone on with: which of its finals were on the way when the process died is unknown. A
//! new session hears what nothing stands for yet, from `covered` on; each old one is stopped (it holds one of the
//! account's places) and asked for what is owed before that, so each sample has exactly one session that speaks for it.

use super::Pipeline;
use super::hear::is_voice;
use super::ledger::Ledger;
use crate::audio::{AudioPath, AudioResume, MediaSamples};
use crate::kept::Kept;
use crate::ranges::Ranges;
use crate::report::Report;
use crate::restored::{MediaRange, Restored, SessionState, SpeechState};
use crate::settings::Settings;
use crate::speech::Speech;
use crate::types::Output;
use crate::words;
use bytes::BytesMut;
use roomscribe_transcript::{Offset, SpeechSessionNote, WriterNote};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

const SAMPLES_PER_MS: u64 = 16;
/// A hole between two workers is longer than this, milliseconds.
const OVERLAP_MS: u64 = 1000;

/// What a crash left, in one form for both cases.
#[derive(Default)]
struct Found {
    covered: u64,
    owed: Ranges,
    resume: Option<AudioResume>,
    zero: Option<u64>,
    heard: u64,
    ordinal: u32,
}

impl Found {
    /// The spool survived: audio stands where it stood.
    fn in_spool(state: &SpeechState, restored: &Restored, now: Duration, wall_ms: u64) -> Self {
        let pcm_end = restored.pcm.last().map_or(0, |(at, pcm)| at + pcm.len() as u64 / 2);
        let heard = state.heard.max(pcm_end);
        // The state is written less often than audio.
        let heard_wall = state.heard_wall_ms + (heard - state.heard) / SAMPLES_PER_MS;
        let mut owed = Ranges::from_list(&state.owed);
        for (at, pcm) in restored.pcm.iter().filter(|(_, pcm)| is_voice(pcm)) {
            owed.add_voice(*at, at + pcm.len() as u64 / 2);
        }
        let resume = (heard > 0).then(|| AudioResume {
            next: MediaSamples(heard),
            idle: Duration::from_millis(wall_ms.saturating_sub(heard_wall)),
            as_of: now,
        });
        let noted = restored.note.as_ref().map_or(0, |note| note.covered_samples);
        let (covered, zero) = (state.covered.max(noted), state.media_zero_wall_ms);
        Self { covered, owed, resume, zero, heard, ordinal: state.ordinal }
    }

    /// Only the log survived, and wall time is the one clock left: everything after its last word is owed, up to now. After a
    /// `handover` nothing is: this worker's audio follows, without a hole unless there was one.
    fn in_log(note: &WriterNote, handed_over: bool, now: Duration, wall_ms: u64) -> Self {
        let zero = note.media_zero_at.as_deref().and_then(words::parse_wall);
        let ordinal = note.speech_ordinal;
        let Some(zero) = zero else { return Self { ordinal, ..Self::default() } };
        let (covered, since_zero) = (note.covered_samples, wall_ms.saturating_sub(zero));
        let mut owed = Ranges::from_list(&note.owed);
        let (here, away) = if handed_over {
            (covered, since_zero.saturating_sub(covered / SAMPLES_PER_MS))
        } else {
            let here = (since_zero * SAMPLES_PER_MS).max(covered);
            owed.insert(covered, here, 0);
            (here, 0)
        };
        // The media clock of the worker before was not wall time, and both had the publisher for a moment.
        let idle = Duration::from_millis(if away < OVERLAP_MS { 0 } else { away });
        let resume = AudioResume { next: MediaSamples(here), idle, as_of: now };
        Self { covered: here, owed, resume: Some(resume), zero: Some(zero), heard: here, ordinal }
    }

    fn new(restored: &Restored, now: Duration, wall_ms: u64) -> Self {
        let mut found = match (&restored.state, &restored.note) {
            (Some(state), _) => Self::in_spool(state, restored, now, wall_ms),
            (None, Some(note)) => Self::in_log(note, restored.handed_over, now, wall_ms),
            (None, None) => Self::default(),
        };
        found.ordinal = found.ordinal.max(restored.note.as_ref().map_or(0, |note| note.speech_ordinal));
        samples(&restored.finals).for_each(|(start, end)| found.owed.answer(start, end));
        samples(&restored.gaps).for_each(|(start, end)| found.owed.remove(start, end));
        found
    }
}

/// Milliseconds were rounded down.
fn samples(ranges: &[MediaRange]) -> impl Iterator<Item = (u64, u64)> {
    ranges.iter().map(|(start, end)| (start.0 * SAMPLES_PER_MS, (end.0 + 1) * SAMPLES_PER_MS))
}

impl Pipeline {
    pub(super) fn restore(
        settings: Settings,
        head: Offset,
        restored: Restored,
        now: Duration,
        wall_ms: u64,
    ) -> Self {
        let found = Found::new(&restored, now, wall_ms);
        let mut kept = Kept::default();
        for (at, pcm) in &restored.pcm {
            kept.push(*at, pcm.clone());
        }
        kept.cover(found.covered);
        let mut finals = Ranges::default();
        samples(&restored.finals).for_each(|(start, end)| finals.insert(start, end, 0));
        let numbers = restored.incarnation << 20;
        let mut pipeline = Self {
            settings,
            audio: AudioPath::new(found.resume),
            block: (0, BytesMut::new()),
            kept,
            speech: Speech::new(found.ordinal, numbers, found.covered, now),
            ledger: Ledger::restored(found.covered, found.owed, finals),
            out: VecDeque::new(),
            heard: found.heard,
            last_audio: now,
            tickets: u64::from(numbers) << 20,
            head,
            revisions: HashMap::new(),
            translatable: VecDeque::new(),
            publisher: None,
            stopping: None,
            exit: None,
            started: now,
            wall_ms_at_zero: wall_ms.saturating_sub(now.as_millis() as u64),
            media_zero_wall_ms: found.zero,
            is_noted: restored.note.as_ref().is_some_and(|note| note.media_zero_at.is_some()),
            // A count over all processes of the session, as far back as the log's tail was read.
            lost_samples: restored.gaps.iter().map(|(start, end)| (end.0 - start.0) * SAMPLES_PER_MS).sum(),
            last_status: "",
            report: Report::default(),
            shown_error: None,
            shown_second: None,
            scratch: Vec::new(),
        };
        pipeline.end_old_sessions(restored.state, restored.note, now);
        if pipeline.kept.oldest().is_some() {
            pipeline.speech.resume();
        }
        pipeline.spool_state(now);
        pipeline
    }

    fn end_old_sessions(&mut self, state: Option<SpeechState>, note: Option<WriterNote>, now: Duration) {
        let covered = self.ledger.covered();
        let end = |to: Option<u64>| to.map_or(covered, |to| to.min(covered));
        let mut owned = Ranges::default();
        match (state, note) {
            (Some(state), _) => {
                for session in state.sessions {
                    let to = end(session.to);
                    owned.insert(session.from, to, 0);
                    self.speech.end_restored(session, to, now);
                }
            }
            (None, Some(note)) => {
                for session in note.speech_sessions {
                    let to = end(session.to);
                    owned.insert(session.from, to, 0);
                    let SpeechSessionNote { ordinal, id, map, from, .. } = session;
                    let state = SessionState { ordinal, id, from, ..SessionState::default() };
                    self.speech.ask_noted(state, &map, to, now);
                }
            }
            (None, None) => return,
        }
        // What no session can be asked for.
        let mut lost = self.ledger.owed().clone();
        owned.list().iter().for_each(|(start, end)| lost.remove(*start, *end));
        for (start, end) in lost.voice_within(0, covered) {
            self.gap(start, end, "WorkerLost");
        }
    }

    pub(super) fn state(&self, now: Duration) -> SpeechState {
        let since = now.saturating_sub(self.last_audio).as_millis() as u64;
        SpeechState {
            ordinal: self.speech.ordinal,
            sessions: self.speech.states(),
            covered: self.ledger.covered(),
            owed: self.ledger.owed().list().to_vec(),
            media_zero_wall_ms: self.media_zero_wall_ms,
            heard: self.heard,
            heard_wall_ms: self.wall(now).saturating_sub(since),
        }
    }

    pub(super) fn spool_state(&mut self, now: Duration) {
        let state = self.state(now);
        self.out.push_back(Output::SpoolState(state));
    }
}
