//! The report of a played worker: the shape of the real one's `/status` (contract §6). Pure.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// Without a byte for so long a publisher is silent.
const SILENT_AFTER: SignedDuration = SignedDuration::from_secs(5);

/// What `/status` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    v: u32,
    /// Rises when anything but counters changes.
    pub version: u64,
    /// `listening|publishing|silent|draining|done`.
    pub state: &'static str,
    reason: String,
    /// Who publishes.
    pub publisher: Option<Publisher>,
    speech: Speech,
    /// Media heard.
    pub media_ms: u64,
    audio_lost_ms: u64,
    last_error: Option<String>,
}

/// Who publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Publisher {
    /// Attempt of its stream key.
    pub attempt: u32,
    since: String,
    last_byte_at: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Speech {
    state: String,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Publish {
    attempt: u32,
    connection: u64,
    since: Timestamp,
    last_byte: Timestamp,
}

/// The worker's process behind the report.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    version: u64,
    /// Older attempts are refused.
    attempt: u32,
    publish: Option<Publish>,
    is_silent: bool,
    is_draining: bool,
    media_ms: u64,
    /// The last timestamp of the connection that publishes.
    heard: u32,
    /// State and reason of the speech service, when a test says so.
    speech: Option<(String, String)>,
}

impl Worker {
    /// Made for `attempt`; `run` is the number of the process: versions of an earlier one differ.
    pub(super) fn new(attempt: u32, run: u32) -> Self {
        Self {
            version: u64::from(run) * 1_000_000 + 1,
            attempt,
            publish: None,
            is_silent: false,
            is_draining: false,
            media_ms: 0,
            heard: 0,
            speech: None,
        }
    }

    /// A publisher with a true key. `false`: its attempt is over, or nobody is taken any more.
    pub(super) fn publish(&mut self, attempt: u32, connection: u64, now: Timestamp) -> bool {
        if attempt < self.attempt || self.is_draining {
            return false;
        }
        self.attempt = attempt;
        self.publish = Some(Publish { attempt, connection, since: now, last_byte: now });
        (self.is_silent, self.heard) = (false, 0);
        self.version += 1;
        true
    }

    /// Audio of a connection. `false`: another one has taken over.
    pub(super) fn hear(&mut self, connection: u64, timestamp: u32, now: Timestamp) -> bool {
        let Some(publish) = self.publish.as_mut().filter(|publish| publish.connection == connection) else {
            return false;
        };
        publish.last_byte = now;
        let before = self.media_ms;
        self.media_ms += u64::from(timestamp.saturating_sub(self.heard));
        self.heard = timestamp.max(self.heard);
        let is_first = before == 0 && self.media_ms > 0;
        let was_silent = std::mem::replace(&mut self.is_silent, false);
        self.version += u64::from(is_first || was_silent);
        true
    }

    /// A connection is over.
    pub(super) fn leave(&mut self, connection: u64) {
        if self.publish.is_some_and(|publish| publish.connection == connection) {
            self.publish = None;
            self.version += 1;
        }
    }

    /// SIGTERM.
    pub(super) fn drain(&mut self) {
        self.version += u64::from(!std::mem::replace(&mut self.is_draining, true));
    }

    /// What the speech service says from now on.
    pub(super) fn say(&mut self, state: String, reason: String) {
        self.speech = Some((state, reason));
        self.version += 1;
    }

    /// When the publisher will have been silent for too long.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let publish = self.publish.filter(|_| !self.is_silent)?;
        publish.last_byte.checked_add(SILENT_AFTER).ok()
    }

    /// Notices silence.
    pub(super) fn tick(&mut self, now: Timestamp) {
        if self.due().is_some_and(|due| due <= now) {
            self.is_silent = true;
            self.version += 1;
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn report(&self) -> Report {
        let state = match (self.is_draining, self.publish, self.is_silent) {
            (true, ..) => "draining",
            (_, None, _) => "listening",
            (_, Some(_), true) => "silent",
            (_, Some(_), false) => "publishing",
        };
        let own = if self.publish.is_some() { "live" } else { "idle" };
        let (speech, reason) = self.speech.clone().unwrap_or_else(|| (own.into(), String::new()));
        Report {
            v: 1,
            version: self.version,
            state,
            reason: String::new(),
            publisher: self.publish.map(|publish| Publisher {
                attempt: publish.attempt,
                since: milliseconds(publish.since),
                last_byte_at: milliseconds(publish.last_byte),
                reason: "",
            }),
            speech: Speech { state: speech, reason },
            media_ms: self.media_ms,
            audio_lost_ms: 0,
            last_error: None,
        }
    }
}

fn milliseconds(at: Timestamp) -> String {
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::life::after;

    fn at(seconds: f64) -> Timestamp {
        after(Timestamp::UNIX_EPOCH, seconds)
    }

    #[test]
    fn the_report_follows_what_arrives() {
        let mut worker = Worker::new(2, 0);
        assert!(!worker.publish(1, 1, at(0.0)), "an older attempt is refused");
        assert!(worker.publish(2, 2, at(0.0)));
        let before = worker.version();
        assert!(worker.hear(2, 20, at(0.1)));
        assert!(worker.hear(2, 2_000, at(2.0)));
        assert_eq!(worker.version(), before + 1, "the first audio");
        assert_eq!(worker.due(), Some(at(7.0)));
        let before = worker.version();
        worker.tick(at(6.9));
        assert_eq!(worker.version(), before);
        worker.tick(at(7.0));
        assert_eq!((worker.report().state, worker.version()), ("silent", before + 1));
        assert!(worker.hear(2, 2_020, at(8.0)));
        assert_eq!((worker.report().state, worker.report().media_ms), ("publishing", 2_020));

        assert!(worker.publish(3, 3, at(9.0)), "a newer attempt takes over");
        assert!(!worker.hear(2, 3_000, at(9.0)));
        worker.leave(2);
        assert_eq!(worker.report().publisher.map(|publisher| publisher.attempt), Some(3));
        worker.leave(3);
        assert_eq!(worker.report().state, "listening");
        worker.drain();
        assert!(!worker.publish(3, 4, at(10.0)));
        assert_eq!(worker.report().state, "draining");
    }

    #[test]
    fn the_report_has_the_shape_of_the_real_worker() {
        let mut worker = Worker::new(1, 1);
        worker.publish(1, 1, at(1.5));
        let expected = serde_json::json!({
            "v": 1, "version": 1_000_002, "state": "publishing", "reason": "",
            "publisher": {"attempt": 1, "since": "1970-01-01T00:00:01.500Z", "lastByteAt": "1970-01-01T00:00:01.500Z", "reason": ""},
            "speech": {"state": "live", "reason": ""}, "mediaMs": 0, "audioLostMs": 0, "lastError": null,
        });
        assert_eq!(serde_json::to_value(worker.report()).ok(), Some(expected));
    }
}
