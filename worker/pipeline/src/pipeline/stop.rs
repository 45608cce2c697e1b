//! The end of a session: what is left is sent, the speech sessions are heard out, what stays owed is given up, `end`.

use super::Pipeline;
use super::ledger::Effect;
use crate::types::Exit;
use roomscribe_transcript::{End, Event};
use std::time::Duration;

/// The whole of a stop: sending what is left, `stop_recording`, the last finals.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// … of which so much is for hearing the session out.
const HEAR_OUT: Duration = Duration::from_secs(4);
/// A log that takes nothing for this long after the deadline: the next process goes on from the spool.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Stopping {
    reason: Option<String>,
    deadline: Duration,
    speech_stopped: bool,
    ended: bool,
}

impl Pipeline {
    /// A second stop may turn a suspension into an end, never the reverse.
    pub(super) fn stop(&mut self, reason: Option<String>, now: Duration) {
        match &mut self.stopping {
            Some(stopping) => stopping.reason = stopping.reason.take().or(reason),
            None => {
                let deadline = now + STOP_DEADLINE;
                self.stopping = Some(Stopping { reason, deadline, speech_stopped: false, ended: false });
            }
        }
    }

    pub(super) fn finish_stop(&mut self, now: Duration) {
        let Some(stopping) = &mut self.stopping else { return };
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
        let heard = self.speech.is_quiet() && (self.ledger.is_settled() || late);
        if !sent || !(heard || late) {
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

    fn end(&mut self) {
        let Some(Stopping { reason: Some(reason), ended, .. }) = &mut self.stopping else { return };
        *ended = true;
        let end = End { reason: reason.clone() };
        self.append(Event::End(end), Effect::default());
    }

    pub(super) fn stop_wake_at(&self, now: Duration) -> Option<Duration> {
        let deadline = self.stopping.as_ref()?.deadline;
        [deadline - HEAR_OUT, deadline, deadline + LOG_PATIENCE].into_iter().find(|at| *at > now)
    }
}
