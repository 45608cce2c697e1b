//! What the speech sessions tell becomes events; what the log answers changes the ledger.

use super::Pipeline;
use super::ledger::Effect;
use crate::ranges::MIN_VOICE;
use crate::speech::{Heard, Over, Told};
use crate::types::{AppendRefused, Exit, Output};
use crate::words::{self, Reading};
use roomscribe_transcript::{
    Event, Gap, Offset, Partial, SegmentId, SpeechSessionNote, Status, Translation, WriterNote,
};
use std::time::Duration;

/// Finals that may still be translated.
const TRANSLATABLE: usize = 256;
/// Open segments; more are never open, but their ids come from the network.
const MAX_OPEN: usize = 64;
/// Noise is shorter than this (1 s); what is longer may be an utterance whose final was on its way.
const MAX_NOISE: u64 = 16_000;
/// What a record carries of a stream's map.
const NOTED_ENTRIES: usize = 48;

impl Pipeline {
    pub(super) fn told(&mut self, told: Told, now: Duration) {
        match told {
            Told::Heard(heard) => self.utterance(*heard, now),
            Told::Translation { ordinal, utterance_id, language, text } => {
                let seg = SegmentId(format!("{ordinal}-{utterance_id}"));
                if self.translatable.contains(&seg) && !text.is_empty() {
                    self.append(Event::Translation(Translation { seg, language, text }), Effect::default());
                }
            }
            Told::Acked { media, quiet } => self.acked(media, quiet, now),
            Told::Over(over) => self.session_over(over, now),
            Told::Live => self.status("Live", "SpeechConnected", ""),
            Told::Failed { reason, detail } => self.speech_failed(reason, detail),
            Told::Complained(detail) => {
                self.report.last_error = Some(format!("the speech service says: {detail}"));
            }
        }
    }

    fn speech_failed(&mut self, reason: &'static str, detail: String) {
        self.report.last_error = Some(detail);
        let message = match reason {
            "CredentialsRejected" => "the speech service refused the key: set GLADIA_API_KEY and start again",
            "SpeechOptionsRejected" => "the speech service refused the session's options: mend spec.speech",
            "RateLimited" => "the speech account's limit of concurrent sessions is reached: trying again",
            _ => "the speech service cannot be reached: trying again",
        };
        let fatal = matches!(reason, "CredentialsRejected" | "SpeechOptionsRejected");
        self.status(if fatal { "Failed" } else { "Recovering" }, reason, message);
    }

    fn utterance(&mut self, heard: Heard, now: Duration) {
        let Heard { ordinal, id, is_final, reading, own, is_current } = heard;
        let seg = SegmentId(format!("{ordinal}-{id}"));
        if !is_final {
            return self.partial(seg, reading, own);
        }
        self.revisions.remove(&seg);
        let Some(reading) = self.only_new(reading, own) else { return };
        if is_current {
            self.speech.final_accepted(reading.start, reading.end);
        }
        if self.translatable.len() >= TRANSLATABLE {
            self.translatable.pop_front();
        }
        self.translatable.push_back(seg.clone());
        let covers = is_current.then_some(reading.end);
        self.append_final(seg, reading, covers, now);
    }

    /// It is this session's to say, and nobody has said it.
    fn only_new(&self, reading: Reading, own: (u64, u64)) -> Option<Reading> {
        reading.only_new(|at| !(own.0..own.1).contains(&at) || self.ledger.has_final(at))
    }

    fn append_final(&mut self, seg: SegmentId, reading: Reading, covers: Option<u64>, now: Duration) {
        let at = (reading.start, reading.end);
        self.ledger.remember_final(at.0, at.1);
        let event = reading.into_final(seg, words::rfc3339(self.wall(now)));
        self.append(Event::Final(event), Effect { covers, answers: Some(at), gives_up: None });
    }

    fn partial(&mut self, seg: SegmentId, reading: Reading, own: (u64, u64)) {
        let open = self.revisions.len() < MAX_OPEN || self.revisions.contains_key(&seg);
        let Some(reading) = self.only_new(reading, own).filter(|_| open) else { return };
        let revision = self.revisions.entry(seg.clone()).or_default();
        *revision += 1;
        let partial = Partial {
            seg,
            rev: *revision,
            after: self.head,
            start_ms: words::ms(reading.start),
            end_ms: words::ms(reading.end),
            speaker: None,
            text: reading.text,
        };
        self.out.push_back(Output::Partial(partial));
    }

    /// The end of a speech session: finals that never came are appended late, under names of their own; voice that the
    /// service did not hear is a gap.
    fn session_over(&mut self, over: Over, now: Duration) {
        let Over { ordinal, own, readings, heard_to, resumed } = over;
        self.revisions.retain(|seg, _| !seg.0.starts_with(&format!("{ordinal}-")));
        for reading in readings {
            if let Some(reading) = self.only_new(reading, own) {
                let seg = SegmentId(format!("{ordinal}-late-{}", reading.stream_ms));
                self.append_final(seg, reading, None, now);
            }
        }
        // A breath or a click before a final of the same connection was heard and had no words.
        let shown = if resumed || heard_to.is_some() { own.0 } else { self.ledger.last_final_within(own) };
        let is_noise = |range: &(u64, u64)| range.1 <= shown && range.1 - range.0 < MAX_NOISE;
        let owed = self.ledger.owed_after_appends().voice_within(own.0.max(heard_to.unwrap_or(0)), own.1);
        for (start, end) in owed.into_iter().filter(|range| !is_noise(range)) {
            self.gap(start, end, "SpeechResultLost");
        }
        self.ledger.end_session(ordinal, own, self.tickets);
    }

    /// Sessions whose last word is stored need not be remembered.
    pub(super) fn settle_ended(&mut self, now: Duration) {
        let mut any = false;
        while let Some((ordinal, own)) = self.ledger.next_over() {
            self.speech.settled(ordinal);
            if (own.0..own.1).contains(&self.ledger.covered()) {
                self.ledger.cover(own.1);
            }
            any = true;
        }
        if any {
            self.covered_moved(now);
        }
    }

    pub(super) fn gap(&mut self, start: u64, end: u64, reason: &str) {
        self.lost_samples += end - start;
        let gap = Gap { start_ms: words::ms(start), end_ms: words::ms(end), reason: reason.to_owned() };
        self.append(Event::Gap(gap), Effect { gives_up: Some((start, end)), ..Effect::default() });
    }

    /// Every stretch of voice that is still owed is given up.
    pub(super) fn give_up_owed(&mut self, reason: &str) {
        for (start, end) in self.ledger.owed_after_appends().voice_within(0, u64::MAX) {
            if end - start >= MIN_VOICE {
                self.gap(start, end, reason);
            }
        }
    }

    /// Appended only when the state changes: a transcript is not a log file.
    pub(super) fn status(&mut self, state: &'static str, reason: &'static str, message: &str) {
        if self.last_status == reason || self.stopping.is_some() {
            return;
        }
        self.last_status = reason;
        let status = Status { state: state.into(), reason: reason.into(), message: message.into() };
        self.append(Event::Status(status), Effect::default());
    }

    pub(super) fn append(&mut self, event: Event, effect: Effect) {
        self.tickets += 1;
        if !self.ledger.append(self.tickets, effect) {
            self.exit(Exit::LogFailed);
            return;
        }
        let note = self.note();
        self.is_noted |= note.media_zero_at.is_some();
        self.out.push_back(Output::Append { ticket: self.tickets, event, note });
    }

    fn note(&self) -> WriterNote {
        let sessions = self.speech.states().into_iter().map(|state| SpeechSessionNote {
            ordinal: state.ordinal,
            map: state.notes(NOTED_ENTRIES),
            id: state.id,
            from: state.from,
            to: state.to,
        });
        WriterNote {
            speech_ordinal: self.speech.ordinal,
            speech_session: self.speech.session_id().map(str::to_owned),
            acked_byte: self.speech.acked(),
            covered_samples: self.ledger.covered_after_appends(),
            media_zero_at: self.media_zero_wall_ms.map(words::rfc3339),
            speech_sessions: sessions.collect(),
            owed: self.ledger.owed_note(),
        }
    }

    pub(super) fn appended(&mut self, ticket: u64, result: Result<Offset, AppendRefused>, now: Duration) {
        let Some(effect) = self.ledger.stored(ticket) else { return };
        match result {
            Ok(head) => {
                self.head = self.head.max(head);
                if let Some(upto) = effect.covers {
                    self.ledger.cover(upto);
                }
                if effect.covers.is_some() || effect.answers.is_some() || effect.gives_up.is_some() {
                    self.covered_moved(now);
                }
            }
            Err(AppendRefused::Fenced) => self.exit(Exit::Fenced),
            Err(AppendRefused::Over) => self.exit(Exit::Done),
            Err(AppendRefused::Failed) => self.exit(Exit::LogFailed),
        }
    }

    fn acked(&mut self, media: u64, quiet: bool, now: Duration) {
        if self.ledger.final_under_way() {
            return;
        }
        let settled = self.ledger.settled_upto(media, quiet);
        if settled >= self.ledger.covered() + 16_000 && self.ledger.cover(settled) {
            self.covered_moved(now);
        }
    }

    pub(super) fn cover(&mut self, upto: u64) {
        if self.ledger.cover(upto) {
            self.kept.cover(upto);
            self.out.push_back(Output::SpoolCovered { upto });
        }
    }

    /// The state first: whatever a crash leaves, voice is in the spooled PCM or in the spooled state.
    fn covered_moved(&mut self, now: Duration) {
        self.spool_state(now);
        let upto = self.ledger.covered();
        self.kept.cover(upto);
        self.out.push_back(Output::SpoolCovered { upto });
    }
}
