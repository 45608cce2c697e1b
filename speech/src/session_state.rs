//! What a session says of its own state: a backlog, and faults at a moment of received audio.

use std::time::Duration;

use serde_json::json;

use crate::session::Session;
use crate::session_io::{Class, Clock, Output};

/// Backlog at which the client is told that recognition is behind, and at which that it has caught up, seconds.
const BEHIND: f64 = 10.0;
const CAUGHT_UP: f64 = 2.0;

impl Session {
    /// Faults that come at a moment of received audio.
    pub(crate) fn planned_faults(&mut self, clock: &Clock) {
        let seconds = self.seconds();
        if let Some(stall) = self.faults.stall.clone().filter(|s| seconds >= s.at_seconds && !self.stalled) {
            self.stalled = true;
            self.out.push_back(Output::Stall(Duration::from_millis(stall.for_ms)));
        }
        if let Some(fault) = self.faults.error.clone().filter(|e| seconds >= e.at_seconds && !self.error_sent)
        {
            self.error_sent = true;
            self.error(clock, &fault.code, &fault.message);
        }
        if let Some(how) =
            self.faults.cuts.get(self.cuts_done).filter(|c| seconds >= c.at_seconds).map(|c| c.how)
        {
            self.cuts_done += 1;
            self.out.push_back(Output::Break(how));
        }
    }

    pub(crate) fn tell_backlog(&mut self, clock: &Clock) {
        let backlog = self.backlog();
        let (code, message) = match (self.behind, backlog) {
            (false, b) if b > BEHIND => {
                ("recognition_behind", "recognition is slower than the audio; nothing is lost")
            }
            (true, b) if b < CAUGHT_UP => {
                ("recognition_caught_up", "recognition has caught up with the audio")
            }
            _ => return,
        };
        self.behind = !self.behind;
        let data = json!({"code": code, "message": message, "backlog_seconds": backlog});
        self.send(clock, Class::Other, self.request.flags.errors, "warning", json!({ "data": data }));
    }
}
