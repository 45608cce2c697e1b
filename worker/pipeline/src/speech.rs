//! The live speech session as a state machine: create, connect, stream, resume, replace, drain.

use crate::gladia::classify::{self, AfterClose, Failure};
use crate::gladia::message::{self, Message, Utterance};
use crate::gladia::{request, stream::Stream};
use crate::kept::Kept;
use crate::types::{Output, Settings, SpeechReport, SpeechState, SpeechUrl};
use std::collections::VecDeque;
use std::time::Duration;

/// 100 ms: what Gladia recommends.
const CHUNK_SAMPLES: usize = 1600;
const BYTES_PER_SAMPLE: u64 = 2;
const SAMPLES_PER_SECOND: f64 = 16_000.0;
/// A backlog is sent at most this much faster than real time, after a head start.
const CATCH_UP: f64 = 4.0;
const HEAD_START_SECONDS: f64 = 2.0;
/// The SDKs' number of tries on one URL.
const MAX_RESUMES: u32 = 5;
/// A connection that lived this long was a good one: failures before it do not count any more.
const STABLE: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const QUOTA_WAIT: Duration = Duration::from_secs(30);
/// After a stall, true silence for so long lets the service end the utterance …
const SILENCE_AFTER: Duration = Duration::from_millis(600);
const SILENCE_FOR: Duration = Duration::from_secs(2);
/// … and then so often that its idle limit of about 30 s is never met.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// From `stop_recording` to the end of a session.
const DRAIN: Duration = Duration::from_secs(15);
/// A roll-over waits this long for a pause in the speech.
const ROLLOVER_PATIENCE: f64 = 30.0;

/// A reading of an utterance, with the stream it belongs to.
pub(crate) struct Heard {
    /// Ordinal of the speech session.
    pub ordinal: u32,
    /// Utterance id.
    pub id: String,
    /// Final?
    pub is_final: bool,
    /// Words, times in seconds of the stream.
    pub utterance: Utterance,
    /// The stream's clock at this moment.
    pub stream: Stream,
}

/// What the client tells the pipeline.
pub(crate) enum Told {
    Heard(Box<Heard>),
    Translation {
        ordinal: u32,
        utterance_id: String,
        language: String,
        text: String,
    },
    /// Acknowledged up to this media sample; `quiet`: no utterance is open.
    Acked {
        media: u64,
        quiet: bool,
    },
    /// The service answered again after a failure, or for the first time.
    Live,
    /// It failed; the pipeline decides whether people are told.
    Failed {
        reason: &'static str,
        detail: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Idle,
    Creating { request: u32 },
    Opening { connection: u32 },
    Live { connection: u32, since: Duration },
    Waiting { until: Duration, new_session: bool },
    Refused { reason: &'static str },
}

/// The session that audio goes to.
#[derive(Debug, Default)]
struct Current {
    id: String,
    url: Option<SpeechUrl>,
    stream: Stream,
    resumed_at: Option<u64>,
    resumes: u32,
    open_utterance: bool,
}

/// A session that was told to stop and is heard to its end.
struct Draining {
    ordinal: u32,
    connection: u32,
    current: Current,
    until: Duration,
}

pub(crate) struct Speech {
    phase: Phase,
    pub ordinal: u32,
    current: Current,
    draining: Vec<Draining>,
    /// Media sample that is sent next.
    next: u64,
    sent_on_connection: u64,
    last_audio: Duration,
    last_sent: Duration,
    failures: u32,
    numbers: u32,
    stopping: bool,
    /// The request of `Phase::Creating` has not gone out yet.
    asking: bool,
    pub out: VecDeque<Output>,
    pub told: VecDeque<Told>,
}

impl Speech {
    pub(crate) fn new(state: Option<&SpeechState>, ordinal: u32) -> Self {
        let mut speech = Self {
            phase: Phase::Idle,
            ordinal,
            current: Current::default(),
            draining: Vec::new(),
            next: 0,
            sent_on_connection: 0,
            last_audio: Duration::ZERO,
            last_sent: Duration::ZERO,
            failures: 0,
            numbers: 0,
            stopping: false,
            asking: false,
            out: VecDeque::new(),
            told: VecDeque::new(),
        };
        if let Some(state) = state {
            speech.ordinal = speech.ordinal.max(state.ordinal);
            speech.next = state.covered;
            speech.current.id.clone_from(&state.id);
            speech.current.url.clone_from(&state.url);
            speech.current.stream = Stream::restored(state.map.clone(), state.acked);
        }
        speech
    }

    pub(crate) fn session_id(&self) -> Option<&str> {
        Some(self.current.id.as_str()).filter(|id| !id.is_empty())
    }

    pub(crate) fn state(&self, covered: u64) -> SpeechState {
        SpeechState {
            ordinal: self.ordinal,
            id: self.current.id.clone(),
            url: self.current.url.clone(),
            acked: self.current.stream.acked,
            map: self.current.stream.map().to_vec(),
            covered,
            ..SpeechState::default()
        }
    }

    pub(crate) fn acked(&self) -> u64 {
        self.current.stream.acked
    }

    pub(crate) fn report(&self) -> SpeechReport {
        match self.phase {
            Phase::Idle => SpeechReport { state: "idle", reason: "" },
            Phase::Creating { .. } | Phase::Opening { .. } => {
                SpeechReport { state: "connecting", reason: "" }
            }
            Phase::Live { .. } => SpeechReport { state: "live", reason: "" },
            Phase::Waiting { .. } => SpeechReport { state: "retrying", reason: "SpeechUnreachable" },
            Phase::Refused { reason } => SpeechReport { state: "refused", reason },
        }
    }

    /// Nothing is on its way any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.draining.is_empty() && matches!(self.phase, Phase::Idle | Phase::Refused { .. })
    }

    /// Audio was added to what is kept.
    pub(crate) fn audio(&mut self, now: Duration) {
        self.last_audio = now;
        if self.phase == Phase::Idle && !self.stopping {
            self.begin();
        }
    }

    /// Restored audio waits: connect without waiting for more.
    pub(crate) fn resume(&mut self, now: Duration) {
        if self.phase == Phase::Idle {
            self.last_audio = now;
            self.begin();
        }
    }

    fn begin(&mut self) {
        if let Some(url) = self.current.url.clone() {
            self.open(url);
        } else {
            self.create();
        }
    }

    fn create(&mut self) {
        self.numbers += 1;
        self.phase = Phase::Creating { request: self.numbers };
        self.asking = true;
    }

    fn open(&mut self, url: SpeechUrl) {
        self.numbers += 1;
        self.phase = Phase::Opening { connection: self.numbers };
        self.out.push_back(Output::OpenSpeech { connection: self.numbers, url });
    }

    pub(crate) fn created(&mut self, request: u32, id: String, url: SpeechUrl, covered: u64) {
        if self.phase != (Phase::Creating { request }) {
            return;
        }
        self.ordinal += 1;
        self.next = covered;
        self.current = Current { id, url: Some(url.clone()), ..Current::default() };
        self.open(url);
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
                let wait =
                    retry_after.unwrap_or(QUOTA_WAIT).clamp(Duration::from_secs(1), Duration::from_secs(300));
                self.phase = Phase::Waiting { until: now + wait.mul_f64(self.jitter()), new_session: true };
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
        if self.phase != (Phase::Opening { connection }) {
            return;
        }
        self.phase = Phase::Live { connection, since: now };
        self.sent_on_connection = 0;
        self.last_sent = now;
        if let Some(media) = self.current.stream.rewind() {
            self.next = media.max(oldest.unwrap_or(media));
            self.current.resumed_at = Some(self.current.stream.acked);
        }
        self.told.push_back(Told::Live);
    }

    pub(crate) fn closed(
        &mut self,
        connection: u32,
        code: Option<u16>,
        http_status: Option<u16>,
        now: Duration,
    ) {
        if let Some(index) = self.draining.iter().position(|draining| draining.connection == connection) {
            self.draining.remove(index);
            return;
        }
        let stable = match self.phase {
            Phase::Live { connection: live, since } if live == connection => {
                now.saturating_sub(since) >= STABLE
            }
            Phase::Opening { connection: opening } if opening == connection => false,
            _ => return,
        };
        if stable {
            (self.failures, self.current.resumes) = (0, 0);
        }
        self.current.resumes += 1;
        self.failures += 1;
        let over = classify::close(code, http_status) == AfterClose::NewSession
            || self.current.resumes > MAX_RESUMES;
        if over {
            self.current.url = None;
        }
        if self.failures > 1 {
            let detail = format!("the speech socket ended (code {code:?}, HTTP {http_status:?})");
            self.told.push_back(Told::Failed { reason: "SpeechUnreachable", detail });
        }
        self.wait(now, over);
    }

    fn wait(&mut self, now: Duration, new_session: bool) {
        let steps = self.failures.saturating_sub(1).min(6);
        let wait = Duration::from_millis(300) * 2u32.pow(steps);
        let until =
            if self.failures <= 1 { now } else { now + wait.min(LONGEST_WAIT).mul_f64(self.jitter()) };
        self.phase = Phase::Waiting { until, new_session };
    }

    /// 0.75 … 1.25, the same for the same history: simulations repeat.
    fn jitter(&self) -> f64 {
        let mixed =
            (u64::from(self.numbers) << 32 | u64::from(self.failures)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        0.75 + (mixed >> 40) as f64 / f64::from(1u32 << 24) / 2.0
    }

    pub(crate) fn text(&mut self, connection: u32, text: &str) {
        let live = matches!(self.phase, Phase::Live { connection: live, .. } if live == connection);
        let (ordinal, current) =
            match self.draining.iter_mut().find(|draining| draining.connection == connection) {
                Some(draining) => (draining.ordinal, &mut draining.current),
                None if live => (self.ordinal, &mut self.current),
                None => return,
            };
        match message::parse(text) {
            Message::Ack { from, to } => {
                let mut resumed_at = current.resumed_at.take();
                current.stream.ack(from, to, &mut resumed_at);
                let media = current.stream.media_of(current.stream.acked).min(self.next.max(1));
                let quiet = !current.open_utterance;
                if live {
                    self.told.push_back(Told::Acked { media, quiet });
                }
            }
            Message::Transcript { id, is_final, utterance } => {
                current.open_utterance = !is_final;
                let stream = current.stream.clone();
                self.told.push_back(Told::Heard(Box::new(Heard {
                    ordinal,
                    id,
                    is_final,
                    utterance,
                    stream,
                })));
            }
            Message::Translation { utterance_id, language, text } => {
                self.told.push_back(Told::Translation { ordinal, utterance_id, language, text });
            }
            Message::SpeechStart => current.open_utterance = true,
            Message::Finished => self.finished(connection),
            Message::Error(detail) => self.told.push_back(Told::Failed { reason: "SpeechError", detail }),
            Message::SpeechEnd | Message::Other => {}
        }
    }

    fn finished(&mut self, connection: u32) {
        if let Some(index) = self.draining.iter().position(|draining| draining.connection == connection) {
            self.draining.remove(index);
            self.out.push_back(Output::CloseSpeech { connection, code: Some(1000) });
        }
    }

    /// Sends what may be sent now; `flush`: also what is less than a chunk.
    pub(crate) fn pump(&mut self, kept: &Kept, settings: &Settings, flush: bool, now: Duration) {
        self.draining.retain(|draining| draining.until > now);
        if let Phase::Waiting { until, new_session } = self.phase
            && until <= now
        {
            match (&self.current.url, new_session) {
                (Some(url), false) => self.open(url.clone()),
                _ => self.create(),
            }
        }
        if let Phase::Creating { request } = self.phase
            && std::mem::take(&mut self.asking)
        {
            self.out.push_back(Output::CreateSpeech { request, body: request::body(settings) });
        }
        let Phase::Live { connection, since } = self.phase else { return };
        while self.budget(since, now) > 0.0 {
            let available = kept.available(self.next);
            let whole = available >= CHUNK_SAMPLES as u64;
            if available == 0 || !(whole || flush || kept.has_more_after_hole(self.next)) {
                break;
            }
            let Some((at, samples)) = kept.read(self.next, CHUNK_SAMPLES) else { break };
            self.next = at + samples.len() as u64;
            self.current.stream.send(at, samples.len() as u64 * BYTES_PER_SAMPLE);
            self.sent_on_connection += samples.len() as u64;
            self.last_sent = now;
            self.out.push_back(Output::SendAudio { connection, pcm: bytes(&samples) });
        }
        self.keep_alive(connection, now);
        self.maybe_roll_over(settings, now);
    }

    fn budget(&self, since: Duration, now: Duration) -> f64 {
        let allowed = HEAD_START_SECONDS + now.saturating_sub(since).as_secs_f64() * CATCH_UP;
        allowed - self.sent_on_connection as f64 / SAMPLES_PER_SECOND
    }

    fn keep_alive(&mut self, connection: u32, now: Duration) {
        let quiet = now.saturating_sub(self.last_audio);
        let since_sent = now.saturating_sub(self.last_sent);
        let ending_utterance = quiet >= SILENCE_AFTER
            && quiet <= SILENCE_AFTER + SILENCE_FOR
            && since_sent >= Duration::from_millis(100);
        if !(ending_utterance || since_sent >= KEEP_ALIVE) || quiet < SILENCE_AFTER {
            return;
        }
        let pcm = vec![0u8; CHUNK_SAMPLES * BYTES_PER_SAMPLE as usize];
        self.current.stream.send_silence(self.next, pcm.len() as u64);
        self.last_sent = now;
        self.out.push_back(Output::SendAudio { connection, pcm });
    }

    /// Replaces a session before the service's cap, in a pause if there is one; ends an idle one, because it bills.
    fn maybe_roll_over(&mut self, settings: &Settings, now: Duration) {
        let age = self.current.stream.sent as f64 / (SAMPLES_PER_SECOND * BYTES_PER_SAMPLE as f64);
        let cap = settings.speech.rollover_after.as_secs_f64();
        let due = age >= cap && (!self.current.open_utterance || age >= cap + ROLLOVER_PATIENCE);
        let idle = now.saturating_sub(self.last_audio) >= settings.speech.idle_close_after;
        if due || idle {
            self.stop_current(now);
            self.phase = Phase::Idle;
            if due {
                self.create();
            }
        }
    }

    fn stop_current(&mut self, now: Duration) {
        let Phase::Live { connection, .. } = self.phase else { return };
        self.out.push_back(Output::SendText { connection, text: r#"{"type":"stop_recording"}"#.to_owned() });
        let current = std::mem::take(&mut self.current);
        self.draining.push(Draining { ordinal: self.ordinal, connection, current, until: now + DRAIN });
    }

    /// All audio has been given: stop the session and hear it out. False while audio still waits to be sent.
    pub(crate) fn stop(&mut self, kept: &Kept, now: Duration, give_up: bool) -> bool {
        self.stopping = true;
        let all_sent = kept.available(self.next) == 0;
        match self.phase {
            Phase::Live { .. } if all_sent || give_up => {
                self.stop_current(now);
                self.phase = Phase::Idle;
            }
            Phase::Live { .. } => return false,
            Phase::Idle | Phase::Refused { .. } => {}
            _ if give_up => self.phase = Phase::Idle,
            _ => return false,
        }
        true
    }

    /// Media sample before which audio has been handed to a session that is being heard out.
    pub(crate) fn next_sample(&self) -> u64 {
        self.next
    }

    pub(crate) fn is_draining(&self) -> bool {
        !self.draining.is_empty()
    }

    pub(crate) fn wake_at(&self, now: Duration) -> Option<Duration> {
        let phase = match self.phase {
            Phase::Waiting { until, .. } => Some(until),
            Phase::Live { .. } => Some(now + Duration::from_millis(100)),
            _ => None,
        };
        self.draining.iter().map(|draining| draining.until).chain(phase).min()
    }
}

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}
