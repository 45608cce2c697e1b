//! The whole session: audio on the media clock, the speech sessions, the events, what is owed and what is reported.
//!
//! The ledger: voice that was heard is *owed* until a final or a gap stands for it, or a speech session that heard all of
//! it ended without words for it. Whatever breaks, what is owed is spooled and stored, and asked for afterwards.

mod events;
mod hear;
mod ledger;
mod restore;
mod show;
mod stop;

use crate::audio::{AudioOut, AudioPath};
use crate::kept::Kept;
use crate::report::Report;
use crate::restored::Restored;
use crate::settings::Settings;
use crate::speech::Speech;
use crate::types::{Exit, Input, Output};
use bytes::BytesMut;
use ledger::Ledger;
use roomscribe_transcript::{MediaMs, Offset, SegmentId};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use stop::Stopping;

/// No RTMP byte for so long is silence worth reporting (design §5).
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// Of a second of voice there must be a trace, even if the speech service has not answered yet (design §1.2).
const NOTED_AFTER: u64 = 16_000;

struct Publisher {
    attempt: u32,
    since: Duration,
    last_byte: Duration,
    /// What is wrong with its audio; empty while all is well.
    reason: &'static str,
}

/// See the crate's documentation.
pub struct Pipeline {
    settings: Settings,
    audio: AudioPath,
    /// The block that is being filled, and where it stands.
    block: (u64, BytesMut),
    kept: Kept,
    speech: Speech,
    ledger: Ledger,
    out: VecDeque<Output>,
    heard: u64,
    last_audio: Duration,
    tickets: u64,
    head: Offset,
    revisions: HashMap<SegmentId, u32>,
    /// Segments that translations may still come for.
    translatable: VecDeque<SegmentId>,
    publisher: Option<Publisher>,
    stopping: Option<Stopping>,
    exit: Option<Exit>,
    started: Duration,
    wall_ms_at_zero: u64,
    media_zero_wall_ms: Option<u64>,
    /// A record of the log tells media zero: without one, a worker that is lost leaves no trace of what it heard.
    is_noted: bool,
    lost_samples: u64,
    last_status: &'static str,
    report: Report,
    /// What the report's version has counted, and the second that its publisher was written for.
    shown_error: Option<String>,
    shown_second: Option<u64>,
    scratch: Vec<AudioOut>,
}

impl Pipeline {
    /// A session that begins, or goes on with what was restored. `wall_ms` is the wall time at `now`.
    pub fn new(settings: Settings, head: Offset, restored: Restored, now: Duration, wall_ms: u64) -> Self {
        let mut pipeline = Self::restore(settings, head, restored, now, wall_ms);
        pipeline.settle(now);
        pipeline
    }

    /// Takes one input; then `poll` until it gives `None`.
    pub fn handle(&mut self, input: Input<'_>, now: Duration) {
        match input {
            Input::PublishStarted { attempt } => {
                self.audio.publish_started(now);
                self.publisher = Some(Publisher { attempt, since: now, last_byte: now, reason: "" });
            }
            Input::Audio { timestamp_ms, body } => self.hear(timestamp_ms, body, now),
            Input::PublishEnded { .. } => self.publish_ended(now),
            Input::SpeechCreated { request, id, url } => self.speech.created(request, id, url, now),
            Input::SpeechRefused { request, status, retry_after, detail } => {
                self.speech.refused(request, Some(status), retry_after, detail, now);
            }
            Input::SpeechUnreachable { request, detail } => {
                self.speech.refused(request, None, None, detail, now);
            }
            Input::SpeechOpened { connection } => {
                self.speech.opened(connection, now, self.kept.oldest());
                self.spool_state(now);
            }
            Input::SpeechText { connection, text } => self.speech.text(connection, text, now),
            Input::SpeechClosed { connection, code, http_status } => {
                let ledger = (&self.ledger.owed_after_appends(), self.ledger.covered_after_appends());
                self.speech.closed(connection, code, http_status, now, ledger);
                self.spool_state(now);
            }
            Input::SpeechResult { id, result } => self.speech.result(id, result, now),
            Input::Timer => {}
            Input::Appended { ticket, result } => self.appended(ticket, result, now),
            Input::Stop { reason } => self.stop(reason, now),
            Input::Leave => self.leave(now),
        }
        self.settle(now);
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to come back with `Input::Timer`; sooner, if something else happens.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        if self.exit.is_some() {
            return None;
        }
        let silent = self.publisher.as_ref().map(|publisher| publisher.last_byte + SILENT_AFTER);
        let longest = Some(self.started + self.settings.max_duration);
        let block = (!self.block.1.is_empty()).then(|| self.last_audio + crate::speech::SILENCE_AFTER);
        let later = [silent, longest, block].into_iter().flatten().filter(|at| *at > now);
        let due = [self.speech.wake_at(&self.settings), self.stop_wake_at(now)].into_iter().flatten();
        later.chain(due).min()
    }

    /// The operator's report.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Media time heard so far.
    pub fn media(&self) -> MediaMs {
        crate::words::ms(self.heard)
    }

    /// Everything that follows from what is known: sends, tells, ends.
    fn settle(&mut self, now: Duration) {
        if self.exit.is_some() {
            return;
        }
        if self.stopping.is_none() && now.saturating_sub(self.started) >= self.settings.max_duration {
            self.stop(Some("MaxDurationReached".to_owned()), now);
        }
        if self.stopping.is_some() || now.saturating_sub(self.last_audio) >= crate::speech::SILENCE_AFTER {
            self.close_block();
        }
        if !self.is_noted && self.heard >= NOTED_AFTER {
            self.status("Starting", "SpeechConnecting", "audio arrives; the speech service is being asked");
        }
        loop {
            self.speech.pump(&self.kept, &self.settings, self.ledger.owed(), now);
            let Some(told) = self.speech.told.pop_front() else { break };
            self.told(told, now);
        }
        self.settle_ended(now);
        self.finish_stop(now);
        self.out.append(&mut self.speech.out);
        self.refresh(now);
    }

    fn exit(&mut self, exit: Exit) {
        if self.exit.is_none() {
            self.exit = Some(exit);
            self.out.append(&mut self.speech.out);
            self.out.push_back(Output::Done(exit));
        }
    }

    fn wall(&self, now: Duration) -> u64 {
        self.wall_ms_at_zero + now.as_millis() as u64
    }
}
