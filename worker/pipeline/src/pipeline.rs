//! The whole session: audio on the media clock, the speech session, the events, what is kept and what is reported.

use crate::audio::{AudioOut, AudioPath, AudioResume, MediaSamples};
use crate::kept::Kept;
use crate::speech::{Heard, Speech, Told};
use crate::types::{AppendRefused, Exit, Input, Output, PublisherReport, Report, Restored, Settings, State};
use crate::words;
use roomscribe_transcript::{
    End, Event, Gap, MediaMs, Offset, Partial, SegmentId, Status, Translation, WriterNote,
};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// No RTMP byte for so long is silence worth reporting (design §5).
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// Audio this far behind an acknowledgement is settled even while an utterance seems open: the longest has 15 s.
const SETTLED_OPEN: u64 = 45 * 16_000;
/// … and while none is open.
const SETTLED_QUIET: u64 = 3 * 16_000;
/// The whole of a stop: sending what is left, `stop_recording`, the last finals.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// Finals whose audio must not come a second time.
const REMEMBERED_FINALS: usize = 256;
/// Appends under way or waiting; the speech service makes far fewer in the 120 s that are kept.
const MAX_APPENDS: usize = 1024;

struct Stopping {
    reason: Option<String>,
    deadline: Duration,
    speech_stopped: bool,
    ended: bool,
}

struct Publisher {
    attempt: u32,
    since: Duration,
    last_byte: Duration,
}

/// See the crate's documentation.
pub struct Pipeline {
    settings: Settings,
    audio: AudioPath,
    kept: Kept,
    speech: Speech,
    out: VecDeque<Output>,
    /// Media sample before which finals or silence cover everything.
    covered: u64,
    heard: u64,
    appends: VecDeque<(u64, Option<u64>)>,
    tickets: u64,
    head: Offset,
    finals: VecDeque<(u64, u64)>,
    revisions: HashMap<SegmentId, u32>,
    publisher: Option<Publisher>,
    stopping: Option<Stopping>,
    exit: Option<Exit>,
    started: Duration,
    wall_ms_at_zero: u64,
    media_zero_wall_ms: Option<u64>,
    lost_samples: u64,
    last_status: &'static str,
    report: Report,
    scratch: Vec<AudioOut>,
}

impl Pipeline {
    /// A session that begins, or goes on with what was restored. `wall_ms` is the wall time at `now`.
    pub fn new(settings: Settings, head: Offset, restored: Restored, now: Duration, wall_ms: u64) -> Self {
        let Restored { state, pcm, note } = restored;
        let covered = note
            .as_ref()
            .map_or(0, |note| note.covered_samples)
            .max(state.as_ref().map_or(0, |state| state.covered));
        let ordinal = note.as_ref().map_or(0, |note| note.speech_ordinal);
        let zero = state.as_ref().and_then(|state| state.media_zero_wall_ms);
        let zero = zero.or_else(|| note.as_ref()?.media_zero_at.as_deref().and_then(words::parse_wall));
        let resume = state.as_ref().filter(|state| state.heard > 0).map(|state| AudioResume {
            next: MediaSamples(state.heard),
            idle: Duration::from_millis(wall_ms.saturating_sub(state.heard_wall_ms)),
            as_of: now,
        });
        let resume = resume.or_else(|| Some(words::resume_from(covered, zero?, wall_ms, now)));
        let mut kept = Kept::default();
        for (at, bytes) in &pcm {
            let samples: Vec<i16> =
                bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
            kept.push(*at, &samples);
        }
        kept.cover(covered);
        let mut speech = Speech::new(state.as_ref(), ordinal);
        if kept.oldest().is_some() {
            speech.resume(now);
        }
        let heard = resume.as_ref().map_or(0, |resume| resume.next.0);
        let mut pipeline = Self {
            settings,
            audio: AudioPath::new(resume),
            kept,
            speech,
            out: VecDeque::new(),
            covered,
            heard,
            appends: VecDeque::new(),
            tickets: 0,
            head,
            finals: VecDeque::new(),
            revisions: HashMap::new(),
            publisher: None,
            stopping: None,
            exit: None,
            started: now,
            wall_ms_at_zero: wall_ms.saturating_sub(now.as_millis() as u64),
            media_zero_wall_ms: zero,
            lost_samples: 0,
            last_status: "",
            report: Report::default(),
            scratch: Vec::new(),
        };
        pipeline.settle(now);
        pipeline
    }

    /// Takes one input; then `poll` until it gives `None`.
    pub fn handle(&mut self, input: Input<'_>, now: Duration) {
        match input {
            Input::PublishStarted { attempt } => {
                self.audio.publish_started(now);
                self.publisher = Some(Publisher { attempt, since: now, last_byte: now });
            }
            Input::Audio { timestamp_ms, body } => self.hear(timestamp_ms, body, now),
            Input::PublishEnded { .. } => {
                let mut outs = std::mem::take(&mut self.scratch);
                self.audio.publish_ended(now, &mut outs);
                self.take_audio(&mut outs, now);
                self.scratch = outs;
                self.publisher = None;
            }
            Input::SpeechCreated { request, id, url } => {
                self.speech.created(request, id, url, self.uncovered_start())
            }
            Input::SpeechRefused { request, status, retry_after, detail } => {
                self.speech.refused(request, Some(status), retry_after, detail, now);
            }
            Input::SpeechUnreachable { request, detail } => {
                self.speech.refused(request, None, None, detail, now)
            }
            Input::SpeechOpened { connection } => {
                self.speech.opened(connection, now, self.kept.oldest());
                self.out.push_back(Output::SpoolState(self.state(now)));
            }
            Input::SpeechText { connection, text } => self.speech.text(connection, text),
            Input::SpeechClosed { connection, code, http_status } => {
                self.speech.closed(connection, code, http_status, now)
            }
            Input::SpeechResult { .. } | Input::Timer => {}
            Input::Appended { ticket, result } => self.appended(ticket, result, now),
            Input::Stop { reason } => self.stop(reason, now),
        }
        self.settle(now);
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to come back with `Input::Timer`.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        let stop = self.stopping.as_ref().map(|stopping| stopping.deadline);
        let silent = self
            .publisher
            .as_ref()
            .map(|publisher| publisher.last_byte + SILENT_AFTER)
            .filter(|at| *at > now);
        let longest = Some(self.started + self.settings.max_duration).filter(|at| *at > now);
        [self.speech.wake_at(now), stop, silent, longest].into_iter().flatten().min()
    }

    /// The operator's report.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn hear(&mut self, timestamp_ms: u32, body: &[u8], now: Duration) {
        if let Some(publisher) = &mut self.publisher {
            publisher.last_byte = now;
        }
        let mut outs = std::mem::take(&mut self.scratch);
        self.audio.push(body, timestamp_ms, now, &mut outs);
        self.take_audio(&mut outs, now);
        self.scratch = outs;
    }

    fn take_audio(&mut self, outs: &mut Vec<AudioOut>, now: Duration) {
        for out in outs.drain(..) {
            match out {
                AudioOut::Pcm { at, samples } => {
                    self.keep(at.0, &samples, now);
                    self.audio.recycle(samples);
                }
                AudioOut::Gap { start, end, reason } => self.gap(start.0, end.0, reason.as_str()),
                AudioOut::Unsupported { what } => {
                    self.report.last_error = Some(format!("the publisher sends {what}: send AAC-LC"));
                    self.status(
                        "WaitingForAudio",
                        "UnsupportedAudio",
                        "the publisher's audio is not AAC-LC: change its encoder",
                    );
                }
            }
        }
    }

    fn keep(&mut self, at: u64, samples: &[i16], now: Duration) {
        if self.media_zero_wall_ms.is_none() {
            let wall = self.wall(now);
            self.media_zero_wall_ms = Some(wall.saturating_sub((at + samples.len() as u64) / 16));
        }
        self.heard = at + samples.len() as u64;
        let pcm = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        self.out.push_back(Output::SpoolPcm { at, pcm });
        if let Some((start, end)) = self.kept.push(at, samples) {
            self.lost_samples += end - start;
            self.gap(start, end, "SpeechUnavailable");
            self.cover(end);
        }
        self.speech.audio(now);
    }

    fn gap(&mut self, start: u64, end: u64, reason: &str) {
        let gap = Gap { start_ms: words::ms(start), end_ms: words::ms(end), reason: reason.to_owned() };
        self.append(Event::Gap(gap), None);
    }

    /// Everything that follows from what is known: sends, tells, ends.
    fn settle(&mut self, now: Duration) {
        if self.stopping.is_none() && now.saturating_sub(self.started) >= self.settings.max_duration {
            self.stop(Some("MaxDurationReached".to_owned()), now);
        }
        let flush = self.publisher.is_none() || self.stopping.is_some();
        self.speech.pump(&self.kept, &self.settings, flush, now);
        while let Some(told) = self.speech.told.pop_front() {
            self.told(told, now);
        }
        self.finish_stop(now);
        self.out.append(&mut self.speech.out);
        self.refresh(now);
    }

    fn told(&mut self, told: Told, now: Duration) {
        match told {
            Told::Heard(heard) => self.utterance(*heard, now),
            Told::Translation { ordinal, utterance_id, language, text } => {
                let seg = SegmentId(format!("{ordinal}-{utterance_id}"));
                self.append(Event::Translation(Translation { seg, language, text }), None);
            }
            Told::Acked { media, quiet } => self.acked(media, quiet, now),
            Told::Live => self.status("Live", "SpeechConnected", ""),
            Told::Failed { reason, detail } => self.speech_failed(reason, detail),
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
        self.status(if reason == "CredentialsRejected" { "Failed" } else { "Recovering" }, reason, message);
    }

    fn utterance(&mut self, heard: Heard, now: Duration) {
        let seg = SegmentId(format!("{}-{}", heard.ordinal, heard.id));
        let (start, end) =
            (heard.stream.media_at(heard.utterance.start), heard.stream.media_at(heard.utterance.end));
        let middle = start + end.saturating_sub(start) / 2;
        if self.finals.iter().any(|(from, to)| (*from..*to).contains(&middle)) {
            return;
        }
        if heard.is_final {
            self.revisions.remove(&seg);
            let event =
                words::to_final(seg, &heard.utterance, &heard.stream, &words::rfc3339(self.wall(now)));
            if event.text.is_empty() {
                return;
            }
            self.finals.push_back((start, end.max(start + 1)));
            if self.finals.len() > REMEMBERED_FINALS {
                self.finals.pop_front();
            }
            self.append(Event::Final(event), Some(end));
        } else {
            let revision = self.revisions.entry(seg.clone()).or_default();
            *revision += 1;
            let partial = Partial {
                seg,
                rev: *revision,
                after: self.head,
                start_ms: words::ms(start),
                end_ms: words::ms(end),
                speaker: None,
                text: heard.utterance.text.trim().to_owned(),
            };
            self.out.push_back(Output::Partial(partial));
        }
    }

    fn append(&mut self, event: Event, covers: Option<u64>) {
        if self.appends.len() >= MAX_APPENDS {
            self.exit(Exit::LogFailed);
            return;
        }
        self.tickets += 1;
        self.appends.push_back((self.tickets, covers));
        let note = WriterNote {
            speech_ordinal: self.speech.ordinal,
            speech_session: self.speech.session_id().map(str::to_owned),
            acked_byte: self.speech.acked(),
            covered_samples: self.covered.max(covers.unwrap_or(0)),
            media_zero_at: self.media_zero_wall_ms.map(words::rfc3339),
        };
        self.out.push_back(Output::Append { ticket: self.tickets, event, note });
    }

    fn appended(&mut self, ticket: u64, result: Result<Offset, AppendRefused>, now: Duration) {
        let Some(index) = self.appends.iter().position(|(waiting, _)| *waiting == ticket) else { return };
        let covers = self.appends.remove(index).and_then(|(_, covers)| covers);
        match result {
            Ok(head) => {
                self.head = self.head.max(head);
                if let Some(upto) = covers
                    && !self.speech.is_draining()
                {
                    self.cover(upto);
                    self.out.push_back(Output::SpoolState(self.state(now)));
                }
            }
            Err(AppendRefused::Fenced) => self.exit(Exit::Fenced),
            Err(AppendRefused::Over) => self.exit(Exit::Done),
            Err(AppendRefused::Failed) => self.exit(Exit::LogFailed),
        }
    }

    fn acked(&mut self, media: u64, quiet: bool, now: Duration) {
        let waiting = self.appends.iter().any(|(_, covers)| covers.is_some());
        if waiting || self.speech.is_draining() {
            return;
        }
        let settled = media.saturating_sub(if quiet { SETTLED_QUIET } else { SETTLED_OPEN });
        if settled >= self.covered + 16_000 {
            self.cover(settled);
            self.out.push_back(Output::SpoolState(self.state(now)));
        }
    }

    fn cover(&mut self, upto: u64) {
        if upto > self.covered {
            self.covered = upto;
            self.kept.cover(upto);
            self.out.push_back(Output::SpoolCovered { upto });
        }
    }

    /// Where a new speech session begins: after the last final, or where the one being heard out stopped.
    fn uncovered_start(&self) -> u64 {
        if self.speech.is_draining() { self.speech.next_sample() } else { self.covered }
    }

    fn stop(&mut self, reason: Option<String>, now: Duration) {
        if self.stopping.is_none() {
            let deadline = now + STOP_DEADLINE;
            self.stopping = Some(Stopping { reason, deadline, speech_stopped: false, ended: false });
        }
    }

    fn finish_stop(&mut self, now: Duration) {
        let Some(stopping) = &mut self.stopping else { return };
        let late = now >= stopping.deadline;
        if !stopping.speech_stopped {
            // A fifth of the deadline is left for hearing the session out.
            let give_up = now + STOP_DEADLINE / 5 >= stopping.deadline;
            stopping.speech_stopped = self.speech.stop(&self.kept, now, give_up);
        }
        if !stopping.speech_stopped || !(self.speech.is_quiet() || late) || !self.speech.told.is_empty() {
            return;
        }
        match (&stopping.reason, stopping.ended) {
            (Some(reason), false) => {
                let end = End { reason: reason.clone() };
                stopping.ended = true;
                self.append(Event::End(end), None);
            }
            (None, _) if self.appends.is_empty() || late => self.exit(Exit::Suspended),
            (Some(_), true) if self.appends.is_empty() => self.exit(Exit::Done),
            _ => {}
        }
    }

    fn exit(&mut self, exit: Exit) {
        if self.exit.is_none() {
            self.exit = Some(exit);
            self.out.append(&mut self.speech.out);
            self.out.push_back(Output::Done(exit));
        }
    }

    /// Appended only when the state changes: a transcript is not a log file.
    fn status(&mut self, state: &'static str, reason: &'static str, message: &str) {
        if self.last_status == reason || self.stopping.is_some() {
            return;
        }
        self.last_status = reason;
        let status = Status { state: state.into(), reason: reason.into(), message: message.into() };
        self.append(Event::Status(status), None);
    }

    fn state(&self, now: Duration) -> crate::types::SpeechState {
        crate::types::SpeechState {
            media_zero_wall_ms: self.media_zero_wall_ms,
            heard: self.heard,
            heard_wall_ms: self.wall(now),
            ..self.speech.state(self.covered)
        }
    }

    fn wall(&self, now: Duration) -> u64 {
        self.wall_ms_at_zero + now.as_millis() as u64
    }

    fn refresh(&mut self, now: Duration) {
        let state = match (&self.exit, &self.stopping, &self.publisher) {
            (Some(_), ..) => State::Done,
            (_, Some(_), _) => State::Draining,
            (_, _, None) => State::Listening,
            (_, _, Some(publisher)) if now.saturating_sub(publisher.last_byte) >= SILENT_AFTER => {
                State::Silent
            }
            _ => State::Publishing,
        };
        let publisher = self.publisher.as_ref().map(|publisher| PublisherReport {
            attempt: publisher.attempt,
            since: words::rfc3339(self.wall(publisher.since)),
            last_byte_at: words::rfc3339(self.wall(publisher.last_byte)),
        });
        let before = self.report.clone();
        self.report.state = state;
        self.report.speech = self.speech.report();
        self.report.media_ms = words::ms(self.heard).0;
        self.report.audio_lost_ms = words::ms(self.lost_samples).0;
        let attempt =
            |publisher: &Option<PublisherReport>| publisher.as_ref().map(|publisher| publisher.attempt);
        let changed = before.state != state
            || before.speech != self.report.speech
            || attempt(&before.publisher) != attempt(&publisher)
            || before.last_error != self.report.last_error;
        self.report.publisher = publisher;
        self.report.version += u64::from(changed);
    }

    /// Media time heard so far.
    pub fn media(&self) -> MediaMs {
        words::ms(self.heard)
    }
}
