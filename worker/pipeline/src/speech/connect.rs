//! A session's connections: asked for, opened, broken, tried again with growing waits.

use super::{Phase, Session, Speech, Told, send};
use crate::gladia::classify::{self, AfterClose, Failure};
use crate::ranges::Ranges;
use crate::types::{Output, SpeechUrl};
use std::time::Duration;

/// The SDKs' number of tries on one URL.
const MAX_RESUMES: u32 = 5;
/// A connection that lived this long was a good one: failures before it do not count any more.
const STABLE: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const QUOTA_WAIT: Duration = Duration::from_secs(30);
/// … while one of our own sessions is ending: its place is free in a moment.
const QUOTA_WAIT_OWN: Duration = Duration::from_secs(2);

impl Speech {
    pub(super) fn create(&mut self) {
        self.numbers += 1;
        self.phase = Phase::Creating { request: self.numbers };
        self.asking = true;
    }

    pub(super) fn connect(&mut self, url: SpeechUrl) -> u32 {
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
            current.resumed = true;
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
}
