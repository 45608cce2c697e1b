//! Speech sessions that get no more audio: each is heard to its end and, if that does not work, asked for its result,
//! until it is known what it heard. A session ends by `stop_recording`, by breaking, or with the worker that had it.

use super::{Session, Speech};
use crate::gladia::message::Listing;
use crate::ranges::Ranges;
use crate::speech::told::{Over, Told};
use crate::types::{Output, SpeechResult};
use crate::words::Reading;
use serde_json::Value;
use std::time::Duration;

/// A service says something of its own at least so often between `stop_recording` and the end of a session; measured of
/// Gladia: the whole takes about a second. A recogniser that is behind goes on telling.
const DRAIN: Duration = Duration::from_secs(10);
/// … but not for ever.
const LONGEST_DRAIN: Duration = Duration::from_secs(120);
/// A service that does not know a session says so more than once.
const UNKNOWN_TRIES: u32 = 2;
/// A result is `processing` for some seconds, and for as long as the service waits for a lost connection (about 30 s).
pub(super) const RESULT: Duration = Duration::from_secs(100);
const LONGEST_ASK: Duration = Duration::from_secs(8);
/// Sessions that end at the same time; the oldest is given up for another.
const MAX_ENDING: usize = 8;
const STOP_RECORDING: &str = r#"{"type":"stop_recording"}"#;

/// A session that gets no more audio.
pub(super) struct Ending {
    pub(super) session: Session,
    /// One past its last media sample.
    pub(super) to: u64,
    phase: Phase,
    give_up: Duration,
    /// Connecting again in order to hear the rest has been tried.
    came_back: bool,
    /// Hearing it out ends by then, however much it says.
    latest: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Connecting, in order to stop it.
    Opening { connection: u32 },
    /// Stopped, and heard until.
    Hearing { connection: u32, until: Duration },
    /// Its result is asked for at this time; none: the answer is awaited.
    Asking { at: Option<Duration>, tries: u32 },
}

impl Ending {
    fn connection(&self) -> Option<u32> {
        match self.phase {
            Phase::Opening { connection } | Phase::Hearing { connection, .. } => Some(connection),
            Phase::Asking { .. } => None,
        }
    }

    /// Its result was not there when it was asked for first.
    pub(super) fn is_asked_again(&self) -> bool {
        matches!(self.phase, Phase::Asking { tries: 2.., .. })
    }

    fn ask(&mut self, now: Duration) {
        self.phase = Phase::Asking { at: Some(now), tries: 0 };
    }
}

impl Speech {
    /// `stop_recording`, and listen.
    pub(super) fn stop_and_hear(&mut self, session: Session, to: u64, connection: u32, now: Duration) {
        self.out.push_back(Output::SendText { connection, text: STOP_RECORDING.to_owned() });
        self.push_ending(session, to, Phase::Hearing { connection, until: now + DRAIN }, now);
    }

    /// A session that the service ended, or that cannot be reached: what it heard is its result.
    pub(super) fn ask_result(&mut self, session: Session, to: u64, now: Duration) {
        self.push_ending(session, to, Phase::Asking { at: Some(now), tries: 0 }, now);
    }

    /// A session that may still run, and holds one of the account's places: connect, stop it, hear it.
    pub(super) fn open_to_stop(&mut self, session: Session, to: u64, now: Duration) {
        match session.url.clone() {
            Some(url) => {
                let connection = self.connect(url);
                self.push_ending(session, to, Phase::Opening { connection }, now);
            }
            None => self.ask_result(session, to, now),
        }
    }

    fn push_ending(&mut self, session: Session, to: u64, phase: Phase, now: Duration) {
        let to = to.max(session.from);
        let (give_up, latest) = (now + RESULT, now + LONGEST_DRAIN);
        self.ending.push(Ending { session, to, phase, give_up, came_back: false, latest });
        if self.ending.len() > MAX_ENDING {
            self.over(0, None);
        }
    }

    /// The connection of an ending session is open: was it opened to stop it?
    pub(super) fn ending_opened(&mut self, connection: u32, now: Duration) {
        let opening = Phase::Opening { connection };
        if let Some(ending) = self.ending.iter_mut().find(|ending| ending.phase == opening) {
            ending.phase = Phase::Hearing { connection, until: now + DRAIN };
            self.out.push_back(Output::SendText { connection, text: STOP_RECORDING.to_owned() });
        }
    }

    /// The connection of an ending session broke or was closed; false when it is none of these.
    pub(super) fn ending_closed(&mut self, connection: u32, may_resume: bool, now: Duration) -> bool {
        let Some(index) = self.ending_on(connection) else { return false };
        if let Some(listing) = self.ending[index].session.listing.take() {
            self.over(index, Some(listing));
            return true;
        }
        // The stop may have been lost with the connection.
        let ending = &mut self.ending[index];
        let again = may_resume && !std::mem::replace(&mut ending.came_back, true);
        match ending.session.url.clone() {
            Some(url) if again => {
                let connection = self.connect(url);
                self.ending[index].phase = Phase::Opening { connection };
            }
            _ => ending.ask(now),
        }
        true
    }

    pub(super) fn ending_on(&self, connection: u32) -> Option<usize> {
        self.ending.iter().position(|ending| ending.connection() == Some(connection))
    }

    /// It still tells: a slow one is not a dead one.
    pub(super) fn ending_told(&mut self, index: usize, now: Duration) {
        let ending = &mut self.ending[index];
        if let Phase::Hearing { until, .. } = &mut ending.phase {
            *until = (*until).max(now + DRAIN).min(ending.latest);
        }
    }

    /// The service listed everything, or said that nothing follows.
    pub(super) fn ending_finished(&mut self, index: usize, now: Duration) {
        if let Some(connection) = self.ending[index].connection() {
            self.out.push_back(Output::CloseSpeech { connection, code: Some(1000) });
        }
        match self.ending[index].session.listing.take() {
            Some(listing) => self.over(index, Some(listing)),
            None => self.ending[index].ask(now),
        }
    }

    /// Time passes: drains end, results are asked for.
    pub(super) fn pump_ending(&mut self, owed: &Ranges, now: Duration) {
        let mut index = 0;
        while let Some(ending) = self.ending.get_mut(index) {
            if let Phase::Hearing { connection, until } = ending.phase
                && until <= now
            {
                self.out.push_back(Output::CloseSpeech { connection, code: None });
                ending.ask(now);
            }
            if let Phase::Asking { at: Some(at), tries } = ending.phase
                && at <= now
            {
                if owed.voice_within(ending.session.from, ending.to).is_empty() {
                    // Nothing is missing of it.
                    let listing = Listing { utterances: Vec::new(), heard: Some(f64::MAX) };
                    self.over(index, Some(listing));
                    continue;
                }
                ending.phase = Phase::Asking { at: None, tries: tries + 1 };
                self.out.push_back(Output::FetchResult { id: ending.session.id.clone() });
            }
            index += 1;
        }
    }

    /// Answer to `FetchResult`.
    pub(crate) fn result(&mut self, id: &str, answer: SpeechResult<&Value>, now: Duration) {
        let awaited = |ending: &Ending| {
            ending.session.id == id && matches!(ending.phase, Phase::Asking { at: None, .. })
        };
        let Some(index) = self.ending.iter().position(awaited) else { return };
        let ending = &mut self.ending[index];
        let (done, listing) = match (answer, ending.phase) {
            (SpeechResult::Job(job), _) => {
                self.answered_at = now;
                let done = matches!(job["status"].as_str(), Some("done" | "error"));
                (done, Listing::read(&job["result"]))
            }
            (SpeechResult::Unknown, Phase::Asking { tries, .. }) => (tries >= UNKNOWN_TRIES, None),
            _ => (false, None),
        };
        if done || now >= ending.give_up {
            self.over(index, listing);
        } else if let Phase::Asking { tries, .. } = ending.phase {
            let wait = Duration::from_secs(1 << tries.saturating_sub(1).min(4)).min(LONGEST_ASK);
            ending.phase = Phase::Asking { at: Some(now + wait), tries };
        }
    }

    /// Nothing more will be heard of any of them.
    pub(crate) fn give_up_ending(&mut self) {
        while !self.ending.is_empty() {
            if let Some(connection) = self.ending[0].connection() {
                self.out.push_back(Output::CloseSpeech { connection, code: None });
            }
            let listing = self.ending[0].session.listing.take();
            self.over(0, listing);
        }
    }

    fn over(&mut self, index: usize, listing: Option<Listing>) {
        let Ending { session, to, .. } = self.ending.remove(index);
        let heard = listing.map(|listing| read(&session, &listing));
        let (ordinal, own, resumed) = (session.ordinal, (session.from, to), session.resumed);
        self.settling.push(session.state(Some(to)));
        let (readings, heard_to) = heard.unzip();
        let readings = readings.unwrap_or_default();
        self.told.push_back(Told::Over(Over { ordinal, own, readings, heard_to, resumed }));
    }

    pub(super) fn ending_wake_at(&self) -> Option<Duration> {
        let wake = |ending: &Ending| match ending.phase {
            Phase::Opening { .. } => None,
            Phase::Hearing { until, .. } => Some(until),
            Phase::Asking { at, .. } => at,
        };
        self.ending.iter().filter_map(wake).min()
    }
}

/// Its utterances on the media clock, and how far it heard. What stands before a shortened map cannot be placed: it
/// is hours old, and its finals came while it was new.
fn read(session: &Session, listing: &Listing) -> (Vec<Reading>, u64) {
    let stream = &session.stream;
    let known = listing.utterances.iter().filter(|utterance| stream.knows(utterance.start));
    let heard_to = match listing.heard {
        Some(seconds) if seconds >= f64::MAX => u64::MAX,
        Some(seconds) => stream.media_at(seconds),
        None => stream.media_of(stream.acked),
    };
    (known.map(|utterance| Reading::new(utterance, stream)).collect(), heard_to)
}
