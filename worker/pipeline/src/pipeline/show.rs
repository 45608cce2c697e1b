//! The report that the operator reads.

use super::{Pipeline, Publisher, SILENT_AFTER};
use crate::report::{PublisherReport, State};
use crate::words;
use std::time::Duration;

impl Pipeline {
    /// Brings the report up to date; `version` rises only when something that matters changed.
    pub(super) fn refresh(&mut self, now: Duration) {
        let state = self.current_state(now);
        let speech = self.speech.report();
        let attempt = self.publisher.as_ref().map(|publisher| (publisher.attempt, publisher.reason));
        let shown = self.report.publisher.as_ref().map(|publisher| (publisher.attempt, publisher.reason));
        let error_changed = self.report.last_error != self.shown_error;
        let changed =
            self.report.state != state || self.report.speech != speech || shown != attempt || error_changed;
        (self.report.state, self.report.speech) = (state, speech);
        self.report.media_ms = words::ms(self.heard).0;
        self.report.audio_lost_ms = words::ms(self.lost_samples).0;
        self.report.speech_sessions = self.speech.ordinal;
        if error_changed {
            self.shown_error.clone_from(&self.report.last_error);
        }
        self.show_publisher(changed);
        self.report.version += u64::from(changed);
    }

    /// Texts are made anew once a second at most: they are the only allocations of a turn that changed nothing.
    fn show_publisher(&mut self, changed: bool) {
        let Some(Publisher { attempt, since, last_byte, reason }) = &self.publisher else {
            self.report.publisher = None;
            return;
        };
        let second = last_byte.as_secs();
        if changed || self.shown_second != Some(second) {
            self.shown_second = Some(second);
            self.report.publisher = Some(PublisherReport {
                attempt: *attempt,
                since: words::rfc3339(self.wall(*since)),
                last_byte_at: words::rfc3339(self.wall(*last_byte)),
                reason,
            });
        }
    }

    fn current_state(&self, now: Duration) -> State {
        match (&self.exit, &self.stopping, &self.publisher) {
            (Some(_), ..) => State::Done,
            (_, Some(_), _) => State::Draining,
            (_, _, None) => State::Listening,
            (_, _, Some(publisher)) if now.saturating_sub(publisher.last_byte) >= SILENT_AFTER => {
                State::Silent
            }
            _ => State::Publishing,
        }
    }
}
