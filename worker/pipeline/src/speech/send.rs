//! What goes to the current speech session and when: audio, keep-alive silence, its replacement.

use super::{Phase, Speech};
use crate::gladia::request;
use crate::kept::Kept;
use crate::ranges::Ranges;
use crate::settings::Settings;
use crate::types::Output;
use bytes::Bytes;
use std::time::Duration;

const SAMPLES_PER_SECOND: f64 = 16_000.0;
/// A backlog is sent at most this much faster than real time, after a head start.
const CATCH_UP: f64 = 4.0;
const HEAD_START_SECONDS: f64 = 2.0;
/// After a stall, true silence lets the service end the utterance …
pub(crate) const SILENCE_AFTER: Duration = Duration::from_millis(600);
/// … and then so often that its idle limit of about 30 s is never met.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// A second of silence; keep-alive is a tenth of it.
static SILENCE: [u8; 32_000] = [0; 32_000];
const KEEP_ALIVE_BYTES: usize = 3_200;
/// A roll-over waits this long for a pause in the speech; the service cuts utterances after 15 s.
const PATIENCE: Duration = Duration::from_secs(20);
/// After a resume, an utterance that was lost with the old connection has so long to get its final.
pub(super) const SUSPICION: Duration = Duration::from_secs(10);

impl Speech {
    /// Sends what may be sent now.
    pub(crate) fn pump(&mut self, kept: &Kept, settings: &Settings, owed: &Ranges, now: Duration) {
        self.pump_ending(owed, now);
        if let Phase::Waiting { until, new_session } = self.phase
            && until <= now
        {
            match self.current.as_ref().and_then(|current| current.url.clone()) {
                Some(url) if !new_session => {
                    let connection = self.connect(url);
                    self.phase = Phase::Opening { connection };
                }
                _ => self.create(),
            }
        }
        if let Phase::Creating { request } = self.phase
            && std::mem::take(&mut self.asking)
        {
            self.out.push_back(Output::CreateSpeech { request, body: request::body(settings) });
        }
        let Phase::Live { connection, since } = self.phase else { return };
        self.send_kept(kept, connection, since, now);
        self.keep_alive(connection, now);
        self.maybe_replace(settings, owed, now);
    }

    fn send_kept(&mut self, kept: &Kept, connection: u32, since: Duration, now: Duration) {
        self.send_at = None;
        while let Some((at, pcm)) = kept.read(self.next) {
            let allowed = HEAD_START_SECONDS + now.saturating_sub(since).as_secs_f64() * CATCH_UP;
            let over = self.sent_on_connection as f64 / SAMPLES_PER_SECOND - allowed;
            if over >= 0.0 {
                self.send_at = Some(now + Duration::from_secs_f64((over + 0.4) / CATCH_UP));
                return;
            }
            let samples = pcm.len() as u64 / 2;
            self.next = at + samples;
            self.sent_on_connection += samples;
            self.last_sent = now;
            if let Some(current) = &mut self.current {
                current.stream.send(at, pcm.len() as u64);
            }
            self.out.push_back(Output::SendAudio { connection, pcm });
        }
    }

    /// Silence, when nothing else is there to be sent.
    fn keep_alive(&mut self, connection: u32, now: Duration) {
        let quiet = now.saturating_sub(self.last_audio);
        if self.send_at.is_some() || quiet < SILENCE_AFTER {
            return;
        }
        let bytes = match std::mem::replace(&mut self.silence_sent, true) {
            false => SILENCE.len(),
            true if now.saturating_sub(self.last_sent) >= KEEP_ALIVE => KEEP_ALIVE_BYTES,
            true => return,
        };
        self.last_sent = now;
        let next = self.next;
        if let Some(current) = &mut self.current {
            current.stream.send_silence(next, bytes as u64);
        }
        self.out.push_back(Output::SendAudio { connection, pcm: Bytes::from_static(&SILENCE[..bytes]) });
    }

    /// Replaces a session before the service's cap, or because a final was lost, in a pause if there is one; ends an idle
    /// one, because it bills.
    fn maybe_replace(&mut self, settings: &Settings, owed: &Ranges, now: Duration) {
        let Some(current) = &mut self.current else { return };
        let late = current.suspect_until.is_some_and(|until| until <= now);
        if late {
            current.suspect_until = None;
            let missing = |range: &(u64, u64)| !owed.voice_within(range.0, range.1).is_empty();
            current.suspicious |= current.suspects.list().iter().any(missing);
        }
        let sent = Duration::from_secs_f64(current.stream.sent as f64 / (2.0 * SAMPLES_PER_SECOND));
        let old = sent.max(now.saturating_sub(current.begun)) >= settings.speech.rollover_after;
        let since = match (old || current.suspicious, current.due_since) {
            (true, since) => *current.due_since.insert(since.unwrap_or(now)),
            (false, _) => Duration::MAX,
        };
        let due =
            (old || current.suspicious) && (!current.open_utterance || now.saturating_sub(since) >= PATIENCE);
        // A backlog that is still being sent is no idleness, however long ago it came.
        let idle =
            self.send_at.is_none() && now.saturating_sub(self.last_audio) >= settings.speech.idle_close_after;
        if due || idle {
            self.stop_current(now);
            if due && !idle {
                self.create();
            }
        }
    }

    fn stop_current(&mut self, now: Duration) {
        let Phase::Live { connection, .. } = self.phase else { return };
        self.phase = Phase::Idle;
        if let Some(session) = self.current.take() {
            self.stop_and_hear(session, self.next, connection, now);
        }
    }

    /// All audio has been given: stop the session and hear it out. False while audio still waits to be sent.
    pub(crate) fn stop(&mut self, kept: &Kept, now: Duration, give_up: bool) -> bool {
        self.stopping = true;
        let all_sent = kept.read(self.next).is_none();
        match self.phase {
            Phase::Live { .. } if all_sent || give_up => self.stop_current(now),
            Phase::Live { .. } => return false,
            Phase::Idle | Phase::Refused { .. } => {}
            _ if give_up => {
                self.phase = Phase::Idle;
                if let Some(session) = self.current.take() {
                    self.ask_result(session, self.next, now);
                }
            }
            _ => return false,
        }
        true
    }

    /// When something is due of itself.
    pub(crate) fn wake_at(&self, settings: &Settings) -> Option<Duration> {
        let phase = match (&self.phase, &self.current) {
            (Phase::Waiting { until, .. }, _) => Some(*until),
            (Phase::Live { .. }, Some(current)) => {
                let silence = match self.silence_sent {
                    true => self.last_sent.max(self.last_audio) + KEEP_ALIVE,
                    false => self.last_audio + SILENCE_AFTER,
                };
                let idle = self.last_audio + settings.speech.idle_close_after;
                let sends = self.send_at.is_some();
                let (silence, idle) = ((!sends).then_some(silence), (!sends).then_some(idle));
                let age = current.begun + settings.speech.rollover_after;
                let old = current.due_since.map_or(age, |since| since + PATIENCE);
                [silence, idle, Some(old), self.send_at, current.suspect_until].into_iter().flatten().min()
            }
            _ => None,
        };
        [phase, self.ending_wake_at()].into_iter().flatten().min()
    }
}
