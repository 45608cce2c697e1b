//! The end of a session: what is left is sent, the speech sessions are heard out, what stays owed is given up, `end`.

use super::Pipeline;
use super::ledger::Effect;
use crate::types::Exit;
use roomscribe_transcript::{End, Event};
use std::time::Duration;

/// The whole of a stop: sending what is left, `stop_recording`, the last finals. A speech service that still tells has so
/// long again from each word, up to `Settings::longest_stop`: a recogniser on a busy machine is behind, not dead.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// To leave is only to wait for the log.
const LEAVE_DEADLINE: Duration = Duration::from_secs(2);
/// … of which so much is for hearing the session out.
const HEAR_OUT: Duration = Duration::from_secs(4);
/// A log that takes nothing for this long after the deadline: the next process goes on from the spool.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Stopping {
    reason: Option<String>,
    begun: Duration,
    deadline: Duration,
    /// Nothing is heard out: the next process goes on from the spool.
    leaves: bool,
    speech_stopped: bool,
    /// Its last event, `end` or `handover`, is appended.
    ended: bool,
}

impl Stopping {
    fn new(reason: Option<String>, within: Duration, now: Duration) -> Self {
        let deadline = now + within;
        Self { reason, begun: now, deadline, leaves: false, speech_stopped: false, ended: false }
    }
}

impl Pipeline {
    /// A second stop may turn a suspension into an end, never the reverse.
    pub(super) fn stop(&mut self, reason: Option<String>, now: Duration) {
        match &mut self.stopping {
            Some(stopping) if stopping.leaves => {
                self.stopping = Some(Stopping::new(reason, STOP_DEADLINE, now))
            }
            Some(stopping) => stopping.reason = stopping.reason.take().or(reason),
            None => self.stopping = Some(Stopping::new(reason, STOP_DEADLINE, now)),
        }
    }

    /// What waits for the log is still written; an end that was asked for goes on.
    pub(super) fn leave(&mut self, now: Duration) {
        if self.stopping.is_none() {
            let leaving = Stopping::new(None, LEAVE_DEADLINE, now);
            self.stopping = Some(Stopping { leaves: true, ..leaving });
        }
    }

    pub(super) fn finish_stop(&mut self, now: Duration) {
        let (answered, longest) = (self.speech.answered_at, self.settings.longest_stop);
        let Some(stopping) = &mut self.stopping else { return };
        if stopping.reason.is_some() {
            let latest = stopping.begun + longest.max(STOP_DEADLINE);
            stopping.deadline = stopping.deadline.max((answered + STOP_DEADLINE).min(latest));
        }
        if stopping.leaves {
            let late = now >= stopping.deadline;
            if late || !self.ledger.is_appending() {
                self.spool_state(now);
                self.exit(Exit::Suspended);
            }
            return;
        }
        let (late, deadline) = (now >= stopping.deadline, stopping.deadline);
        if !stopping.speech_stopped {
            stopping.speech_stopped = self.speech.stop(&self.kept, now, now + HEAR_OUT >= deadline);
        }
        let (sent, is_end, ended) = (stopping.speech_stopped, stopping.reason.is_some(), stopping.ended);
        if late && is_end && !ended {
            self.speech.give_up_ending();
        }
        while let Some(told) = self.speech.told.pop_front() {
            self.told(told, now);
        }
        if !is_end && sent && !ended && !late && self.may_hand_over() {
            return self.hand_over();
        }
        let heard = self.speech.is_quiet() && (self.ledger.is_settled() || late);
        if !sent || !(heard || late || ended) {
            return;
        }
        if !is_end {
            if !self.ledger.is_appending() || late {
                self.spool_state(now);
                self.exit(Exit::Suspended);
            }
        } else if !ended {
            self.give_up_owed("SpeechUnavailable");
            self.end();
        } else if !self.ledger.is_appending() {
            self.exit(Exit::Done);
        } else if now >= deadline + LOG_PATIENCE {
            self.exit(Exit::LogFailed);
        }
    }

    /// What has no words yet is the result of sessions that are over: the next worker asks for it as well as this one.
    fn may_hand_over(&self) -> bool {
        self.publisher.is_none() && self.is_noted && self.speech.only_asks() && self.ledger.is_settled()
    }

    /// Everything that was heard has its words, is silent, or is owed by a session that the note tells of: the next worker need
    /// not wait.
    fn hand_over(&mut self) {
        if let Some(stopping) = &mut self.stopping {
            stopping.ended = true;
        }
        self.ledger.cover(self.heard);
        self.append(Event::Handover {}, Effect::default());
    }

    fn end(&mut self) {
        let Some(Stopping { reason: Some(reason), ended, .. }) = &mut self.stopping else { return };
        *ended = true;
        let end = End { reason: reason.clone() };
        self.append(Event::End(end), Effect::default());
    }

    pub(super) fn stop_wake_at(&self, now: Duration) -> Option<Duration> {
        let deadline = self.stopping.as_ref()?.deadline;
        [deadline.saturating_sub(HEAR_OUT), deadline, deadline + LOG_PATIENCE]
            .into_iter()
            .find(|at| *at > now)
    }
}
