//! The live speech session as a state machine: create, connect, stream, resume, replace; and what becomes of the old ones.

mod connect;
mod ending;
mod hear;
mod send;
mod told;

pub(crate) use send::SILENCE_AFTER;
pub(crate) use told::{Heard, Over, Told};

use crate::gladia::message::Listing;
use crate::gladia::stream::Stream;
use crate::ranges::Ranges;
use crate::report::SpeechReport;
use crate::restored::SessionState;
use crate::types::{Output, SpeechUrl};
use ending::Ending;
use std::collections::VecDeque;
use std::time::Duration;

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
    /// A connection of it broke and was made again: a final may be missing.
    resumed: bool,
    /// A final was lost.
    suspicious: bool,
    due_since: Option<Duration>,
    /// What it told of itself after its end.
    listing: Option<Listing>,
}

impl Session {
    fn restored(state: SessionState) -> Self {
        let stream = Stream::restored(state.map, state.acked);
        let SessionState { ordinal, id, url, from, resumed, .. } = state;
        Self { ordinal, id, url, stream, from, resumed, ..Self::default() }
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
            resumed: self.resumed,
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
    /// When the service last said anything.
    pub answered_at: Duration,
    pub out: VecDeque<Output>,
    pub told: VecDeque<Told>,
}

impl Speech {
    /// The next session has this ordinal plus one; requests and connections are counted from `numbers`.
    pub(crate) fn new(ordinal: u32, numbers: u32, next: u64, now: Duration) -> Self {
        Self {
            phase: Phase::Idle,
            ordinal,
            current: None,
            ending: Vec::new(),
            settling: Vec::new(),
            next,
            sent_on_connection: 0,
            last_audio: now,
            last_sent: now,
            silence_sent: false,
            send_at: None,
            failures: 0,
            trouble: "",
            numbers,
            stopping: false,
            asking: false,
            answered_at: now,
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
        // The log does not tell whether a connection was resumed.
        (state.url, state.resumed) = (None, true);
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
        self.is_idle() && self.ending.is_empty()
    }

    /// Nothing but results of sessions that are over is awaited, and the service takes its time for them.
    pub(crate) fn only_asks(&self) -> bool {
        self.is_idle() && self.ending.iter().all(Ending::is_asked_again)
    }

    /// No session gets audio, or is about to.
    fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Refused { .. })
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
}
