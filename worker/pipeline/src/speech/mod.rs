//! The live speech session as a state machine: create, connect, stream, resume, replace; and what becomes of the old ones.

mod ending;
mod send;
mod told;

pub(crate) use send::SILENCE_AFTER;
pub(crate) use told::{Heard, Over, Told};

use crate::gladia::classify::{self, AfterClose, Failure};
use crate::gladia::message::{self, Listing, Message};
use crate::gladia::stream::Stream;
use crate::ranges::Ranges;
use crate::report::SpeechReport;
use crate::restored::SessionState;
use crate::types::{Output, SpeechUrl};
use crate::words::Reading;
use ending::Ending;
use std::collections::VecDeque;
use std::time::Duration;

/// The SDKs' number of tries on one URL.
const MAX_RESUMES: u32 = 5;
/// A connection that lived this long was a good one: failures before it do not count any more.
const STABLE: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const QUOTA_WAIT: Duration = Duration::from_secs(30);
/// … while one of our own sessions is ending: its place is free in a moment.
const QUOTA_WAIT_OWN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Idle,
    Creating { request: u32 },
    Opening { connection: u32 },
    Live { connection: u32, since: Duration },
    Waiting { until: Duration, new_session: bool },
    Refused { reason: &'static str },
}

/// One session at the service.
#[derive(Debug, Default)]
struct Session {
    ordinal: u32,
    id: String,
    url: Option<SpeechUrl>,
    stream: Stream,
    /// First media sample that is its own.
    from: u64,
    begun: Duration,
    resumed_at: Option<u64>,
    resumes: u32,
    open_utterance: bool,
    /// Voice that had been acknowledged when a connection broke: its finals may be lost.
    suspects: Ranges,
    suspect_until: Option<Duration>,
    /// A final was lost.
    suspicious: bool,
    due_since: Option<Duration>,
    /// What it told of itself after its end.
    listing: Option<Listing>,
}

impl Session {
    fn restored(state: SessionState) -> Self {
        let stream = Stream::restored(state.map, state.acked);
        let SessionState { ordinal, id, url, from, .. } = state;
        Self { ordinal, id, url, stream, from, ..Self::default() }
    }

    fn into_state(self, to: Option<u64>) -> SessionState {
        let Self { ordinal, id, url, stream, from, .. } = self;
        SessionState { ordinal, id, url, acked: stream.acked, map: stream.map().to_vec(), from, to }
    }

    fn state(&self, to: Option<u64>) -> SessionState {
        SessionState {
            ordinal: self.ordinal,
            id: self.id.clone(),
            url: self.url.clone(),
            acked: self.stream.acked,
            map: self.stream.map().to_vec(),
            from: self.from,
            to,
        }
    }
}

pub(crate) struct Speech {
    phase: Phase,
    /// Of the newest session.
    pub ordinal: u32,
    current: Option<Session>,
    ending: Vec<Ending>,
    /// Sessions that are over, but what they told is not stored yet.
    settling: Vec<SessionState>,
    /// Media sample that is sent next.
    next: u64,
    sent_on_connection: u64,
    last_audio: Duration,
    last_sent: Duration,
    silence_sent: bool,
    /// A backlog waits for this.
    send_at: Option<Duration>,
    failures: u32,
    /// What `Phase::Waiting` waits for.
    trouble: &'static str,
    numbers: u32,
    stopping: bool,
    /// The request of `Phase::Creating` has not gone out yet.
    asking: bool,
    pub out: VecDeque<Output>,
    pub told: VecDeque<Told>,
}

impl Speech {
    /// The next session has this ordinal plus one; requests and connections are counted from `numbers`.
    pub(crate) fn new(ordinal: u32, numbers: u32, next: u64) -> Self {
        Self {
            phase: Phase::Idle,
            ordinal,
            current: None,
            ending: Vec::new(),
            settling: Vec::new(),
            next,
            sent_on_connection: 0,
            last_audio: Duration::ZERO,
            last_sent: Duration::ZERO,
            silence_sent: false,
            send_at: None,
            failures: 0,
            trouble: "",
            numbers,
            stopping: false,
            asking: false,
            out: VecDeque::new(),
            told: VecDeque::new(),
        }
    }

    /// A session of an earlier process: never gone on with, because its finals between the crash and the log are
    /// unknown; stopped, and asked for what is missing.
    pub(crate) fn end_restored(&mut self, state: SessionState, to: u64, now: Duration) {
        self.ordinal = self.ordinal.max(state.ordinal);
        self.open_to_stop(Session::restored(state), to, now);
    }

    /// A session that only the log remembers.
    pub(crate) fn ask_noted(
        &mut self,
        mut state: SessionState,
        notes: &[(u64, u64, bool)],
        to: u64,
        now: Duration,
    ) {
        self.ordinal = self.ordinal.max(state.ordinal);
        state.url = None;
        let session = Session { stream: Stream::noted(notes), ..Session::restored(state) };
        self.ask_result(session, to, now);
    }

    pub(crate) fn session_id(&self) -> Option<&str> {
        let newest = self.ending.last().map(|ending| &ending.session);
        self.current.as_ref().or(newest).map(|session| session.id.as_str())
    }

    /// Every session whose last word is not stored yet, oldest first.
    pub(crate) fn states(&self) -> Vec<SessionState> {
        let ending = self.ending.iter().map(|ending| ending.session.state(Some(ending.to)));
        let current = self.current.iter().map(|current| current.state(None));
        self.settling.iter().cloned().chain(ending).chain(current).collect()
    }

    /// What the session of this ordinal told is stored.
    pub(crate) fn settled(&mut self, ordinal: u32) {
        self.settling.retain(|state| state.ordinal != ordinal);
    }

    pub(crate) fn acked(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.stream.acked)
    }

    /// Media sample up to which the current session has heard.
    pub(crate) fn acked_media(&self) -> u64 {
        self.current
            .as_ref()
            .map_or(0, |current| current.stream.media_of(current.stream.acked).min(self.next))
    }

    pub(crate) fn report(&self) -> SpeechReport {
        let (state, reason) = match self.phase {
            Phase::Idle => ("idle", ""),
            Phase::Creating { .. } | Phase::Opening { .. } => ("connecting", ""),
            Phase::Live { .. } => ("live", ""),
            Phase::Waiting { .. } => ("retrying", self.trouble),
            Phase::Refused { reason } => ("refused", reason),
        };
        SpeechReport { state, reason }
    }

    /// Nothing is on its way any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.ending.is_empty() && matches!(self.phase, Phase::Idle | Phase::Refused { .. })
    }

    /// Audio came.
    pub(crate) fn audio(&mut self, now: Duration) {
        self.last_audio = now;
        self.silence_sent = false;
        self.resume();
    }

    /// Audio waits: ask for a session.
    pub(crate) fn resume(&mut self) {
        if self.phase == Phase::Idle && !self.stopping {
            self.create();
        }
    }

    fn create(&mut self) {
        self.numbers += 1;
        self.phase = Phase::Creating { request: self.numbers };
        self.asking = true;
    }

    fn connect(&mut self, url: SpeechUrl) -> u32 {
        self.numbers += 1;
        self.out.push_back(Output::OpenSpeech { connection: self.numbers, url });
        self.numbers
    }

    pub(crate) fn created(&mut self, request: u32, id: String, url: SpeechUrl, now: Duration) {
        let session =
            Session { id, url: Some(url.clone()), from: self.next, begun: now, ..Session::default() };
        if self.phase != (Phase::Creating { request }) {
            // Asked for before a stop: it holds a place at the service until it is stopped.
            self.ordinal += 1;
            return self.open_to_stop(Session { ordinal: self.ordinal, ..session }, self.next, now);
        }
        self.ordinal += 1;
        self.current = Some(Session { ordinal: self.ordinal, ..session });
        let connection = self.connect(url);
        self.phase = Phase::Opening { connection };
    }

    pub(crate) fn refused(
        &mut self,
        request: u32,
        status: Option<u16>,
        retry_after: Option<Duration>,
        detail: String,
        now: Duration,
    ) {
        if self.phase != (Phase::Creating { request }) {
            return;
        }
        self.failures += 1;
        let reason = match status.map_or(Failure::TryAgain, classify::http) {
            Failure::FatalConfiguration(reason) => {
                self.phase = Phase::Refused { reason };
                reason
            }
            Failure::Quota => {
                self.wait_for_quota(retry_after, true, now);
                "RateLimited"
            }
            Failure::TryAgain => {
                self.wait(now, true);
                "SpeechUnreachable"
            }
        };
        self.told.push_back(Told::Failed { reason, detail });
    }

    pub(crate) fn opened(&mut self, connection: u32, now: Duration, oldest: Option<u64>) {
        self.ending_opened(connection, now);
        let (true, Some(current)) = (self.phase == (Phase::Opening { connection }), &mut self.current) else {
            return;
        };
        self.phase = Phase::Live { connection, since: now };
        self.sent_on_connection = 0;
        self.last_sent = now;
        if let Some(media) = current.stream.rewind() {
            self.next = media.max(oldest.unwrap_or(media));
            current.resumed_at = Some(current.stream.acked);
            current.open_utterance = false;
            current.suspect_until = (current.suspects.len() > 0).then(|| now + send::SUSPICION);
        }
        self.told.push_back(Told::Live);
    }

    /// `owed`: voice without a final; `resend_from`: where a new session takes over.
    pub(crate) fn closed(
        &mut self,
        connection: u32,
        code: Option<u16>,
        http_status: Option<u16>,
        now: Duration,
        (owed, resend_from): (&Ranges, u64),
    ) {
        let after = classify::close(code, http_status);
        if self.ending_closed(connection, after == AfterClose::Resume, now) {
            return;
        }
        let stable = match self.phase {
            Phase::Live { connection: live, since } if live == connection => {
                now.saturating_sub(since) >= STABLE
            }
            Phase::Opening { connection: opening } if opening == connection => false,
            _ => return,
        };
        self.failures = if stable { 1 } else { self.failures + 1 };
        let lost = self.current.as_mut().is_none_or(|current| {
            current.resumes = if stable { 1 } else { current.resumes + 1 };
            let acked = current.stream.media_of(current.stream.acked);
            current.suspects = Ranges::from_list(&owed.voice_within(current.from, acked));
            // Broken again before an acknowledgement told what the service made of the bytes that were sent twice: where
            // its next words stand could not be known.
            let unsure = current.resumed_at.is_some() && matches!(self.phase, Phase::Live { .. });
            after == AfterClose::NewSession || current.resumes > MAX_RESUMES || unsure
        });
        if self.failures > 1 {
            let detail = format!("the speech socket ended (code {code:?}, HTTP {http_status:?})");
            self.told.push_back(Told::Failed { reason: "SpeechUnreachable", detail });
        }
        if lost {
            self.lose_current(after, resend_from, now);
        }
        match http_status {
            Some(429) => self.wait_for_quota(None, lost, now),
            _ => self.wait(now, lost),
        }
    }

    /// What follows `resend_from` is another session's now.
    fn lose_current(&mut self, after: AfterClose, resend_from: u64, now: Duration) {
        let Some(session) = self.current.take() else { return };
        let to = resend_from.max(session.from).min(self.next.max(session.from));
        self.next = to;
        match after {
            AfterClose::NewSession => self.ask_result(session, to, now),
            AfterClose::Resume => self.open_to_stop(session, to, now),
        }
    }

    fn wait(&mut self, now: Duration, new_session: bool) {
        let steps = self.failures.saturating_sub(2).min(6);
        let wait = (Duration::from_millis(300) * 2u32.pow(steps)).min(LONGEST_WAIT).mul_f64(self.jitter());
        let until = if self.failures <= 1 { now } else { now + wait };
        self.trouble = "SpeechUnreachable";
        self.phase = Phase::Waiting { until, new_session };
    }

    /// Never sooner than the service asks.
    fn wait_for_quota(&mut self, retry_after: Option<Duration>, new_session: bool, now: Duration) {
        let usual = if self.ending.is_empty() { QUOTA_WAIT } else { QUOTA_WAIT_OWN };
        let wait = retry_after.unwrap_or(usual).clamp(Duration::from_secs(1), Duration::from_secs(300));
        self.trouble = "RateLimited";
        self.phase = Phase::Waiting { until: now + wait.mul_f64(self.jitter()), new_session };
    }

    /// 1 … 1.5, the same for the same history: simulations repeat.
    fn jitter(&self) -> f64 {
        let mixed =
            (u64::from(self.numbers) << 32 | u64::from(self.failures)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        1.0 + (mixed >> 40) as f64 / f64::from(1u32 << 24) / 2.0
    }

    pub(crate) fn text(&mut self, connection: u32, text: &str, now: Duration) {
        let ending = self.ending_on(connection);
        let is_live = matches!(self.phase, Phase::Live { connection: live, .. } if live == connection);
        let (session, to) = match (ending, &mut self.current) {
            (Some(index), _) => {
                let ending = &mut self.ending[index];
                (&mut ending.session, ending.to)
            }
            (None, Some(current)) if is_live => (current, u64::MAX),
            _ => return,
        };
        match message::parse(text) {
            Message::Ack { from, to: acked } => {
                session.stream.ack(from, acked, &mut session.resumed_at);
                let media = session.stream.media_of(session.stream.acked).min(self.next);
                if is_live {
                    self.told.push_back(Told::Acked { media, quiet: !session.open_utterance });
                }
            }
            Message::Transcript { id, is_final, utterance } => {
                session.open_utterance = !is_final;
                self.told.push_back(Told::Heard(Box::new(Heard {
                    ordinal: session.ordinal,
                    id,
                    is_final,
                    reading: Reading::new(&utterance, &session.stream),
                    own: (session.from, to),
                    is_current: is_live,
                })));
            }
            Message::Translation { utterance_id, language, text } => {
                let ordinal = session.ordinal;
                self.told.push_back(Told::Translation { ordinal, utterance_id, language, text });
            }
            Message::SpeechStart => session.open_utterance = true,
            Message::Listing { is_last, listing } => {
                session.listing = Some(listing);
                if let (Some(index), true) = (ending, is_last) {
                    self.ending_finished(index, now);
                }
            }
            Message::Ended => {
                if let Some(index) = ending {
                    self.ending_finished(index, now);
                }
            }
            Message::Error(detail) => self.told.push_back(Told::Complained(detail)),
            Message::SpeechEnd | Message::Other => {}
        }
    }

    /// A final of the current session was accepted: one that should have come before it, and had no chance but on a
    /// broken connection, was lost.
    pub(crate) fn final_accepted(&mut self, start: u64, end: u64) {
        let Some(current) = &mut self.current else { return };
        current.suspects.answer(start, end);
        current.suspicious |= !current.suspects.voice_within(0, start).is_empty();
        if current.suspects.len() == 0 {
            current.suspect_until = None;
        }
    }
}
