//! One session's protocol, without sockets, clocks or threads: inputs and the time go in, outputs come out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::config::Limits;
use crate::faults::{Break, Faults};
use crate::intake::{Intake, Taken};
use crate::outcome::Outcome;
use crate::pool::Heard;
use crate::request::LiveRequest;
use crate::session_io::{Class, Clock, Input, Output};
use crate::track::{Track, TrackEvent};
use crate::wire::Wire;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Recording,
    Draining,
    Ended,
}

/// One session.
pub(crate) struct Session {
    pub(crate) wire: Wire,
    pub(crate) request: Arc<LiveRequest>,
    pub(crate) faults: Faults,
    limits: Limits,
    intake: Intake,
    tracks: Vec<Track>,
    pub(crate) outcome: Outcome,
    phase: Phase,
    attached: bool,
    begun: bool,
    pub(crate) behind: bool,
    header_checked: bool,
    last_input: Duration,
    detached_at: Duration,
    pub(crate) cuts_done: usize,
    pub(crate) stalled: bool,
    pub(crate) error_sent: bool,
    pub(crate) out: VecDeque<Output>,
}

impl Session {
    pub(crate) fn new(
        id: String,
        request: Arc<LiveRequest>,
        faults: Faults,
        limits: Limits,
        tracks: Vec<Track>,
    ) -> Self {
        let mut faults = faults;
        faults.cuts.sort_by(|a, b| a.at_seconds.total_cmp(&b.at_seconds));
        Self {
            wire: Wire::new(id, &faults),
            intake: Intake::new(request.format.frame_bytes(), faults.acks.clone(), faults.unacked),
            request,
            faults,
            limits,
            tracks,
            outcome: Outcome::default(),
            phase: Phase::Recording,
            attached: false,
            begun: false,
            behind: false,
            header_checked: false,
            last_input: Duration::ZERO,
            detached_at: Duration::ZERO,
            cuts_done: 0,
            stalled: false,
            error_sent: false,
            out: VecDeque::new(),
        }
    }

    pub(crate) fn handle(&mut self, input: Input, clock: &Clock) {
        match input {
            Input::Attached => self.attach(clock),
            Input::Detached { for_good } => self.detach(for_good, clock),
            Input::Audio(bytes) => self.audio(bytes, clock),
            Input::Text(text) => self.text(&text, clock),
            Input::Heard(heard) => self.heard(heard, clock),
            Input::Wake => self.wake(clock),
        }
        self.tell_backlog(clock);
        self.maybe_finish(clock);
    }

    /// When [`Input::Wake`] is due, in the clock of `now`.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        if self.phase != Phase::Recording {
            return None;
        }
        let absence = if self.attached {
            self.last_input + self.idle()
        } else {
            self.detached_at + self.limits.detached
        };
        [Some(absence), Some(self.cap()), self.intake.next_due()].into_iter().flatten().min()
    }

    /// The shell did not read the socket (backlog, stall): its silence is not the client's.
    pub(crate) fn touch(&mut self, now: Duration) {
        self.last_input = now;
    }

    /// Seconds of audio that wait for their final, all channels.
    pub(crate) fn backlog(&self) -> f64 {
        self.tracks.iter().map(Track::backlog).fold(0.0, std::ops::Add::add)
    }

    pub(crate) fn ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Seconds of audio received.
    pub(crate) fn seconds(&self) -> f64 {
        self.request.format.seconds(self.intake.received())
    }

    pub(crate) fn send(&mut self, clock: &Clock, class: Class, wanted: bool, kind: &str, fields: Value) {
        if !wanted {
            return;
        }
        let text = self.wire.message(&clock.wall, kind, fields);
        if matches!(class, Class::Final | Class::Other) {
            self.outcome.add_message(&text);
        }
        self.out.push_back(Output::Send(class, text));
    }

    fn idle(&self) -> Duration {
        self.faults.idle_seconds.map_or(self.limits.idle, Duration::from_secs_f64)
    }

    fn cap(&self) -> Duration {
        self.faults.session_cap_seconds.map_or(self.limits.session, Duration::from_secs_f64)
    }

    fn attach(&mut self, clock: &Clock) {
        self.attached = true;
        self.last_input = clock.now;
        if self.phase == Phase::Ended {
            return self.out.push_back(Output::Break(Break::Close(4403)));
        }
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let lifecycle = self.request.flags.lifecycle;
        self.send(
            clock,
            Class::Other,
            lifecycle && self.faults.send_start_session,
            "start_session",
            json!({}),
        );
        self.send(clock, Class::Other, lifecycle, "start_recording", json!({}));
        self.unknown_message(clock);
    }

    fn detach(&mut self, for_good: bool, clock: &Clock) {
        self.attached = false;
        self.detached_at = clock.now;
        if for_good {
            self.stop(clock);
        } else {
            self.intake.broken();
        }
    }

    fn text(&mut self, text: &str, clock: &Clock) {
        self.last_input = clock.now;
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        match message.get("type").and_then(Value::as_str) {
            Some("stop_recording") => self.stop_asked(clock),
            Some("audio_chunk") => {
                let chunk = message.pointer("/data/chunk").and_then(Value::as_str);
                match chunk.map(|c| base64::engine::general_purpose::STANDARD.decode(c)) {
                    Some(Ok(bytes)) => self.audio(bytes.into(), clock),
                    _ => self.error(clock, "invalid_audio_format", "data.chunk must be base64"),
                }
            }
            Some(_) => self.error(clock, "invalid_message", "type must be audio_chunk or stop_recording"),
            None => self.error(clock, "invalid_message", "a text frame must be a JSON object with a type"),
        }
    }

    fn audio(&mut self, bytes: Bytes, clock: &Clock) {
        self.last_input = clock.now;
        if self.phase != Phase::Recording {
            return;
        }
        match self.intake.chunk(bytes, clock.now) {
            Ok(taken) => self.take(taken, clock),
            Err(why) => {
                let acks = self.request.flags.acks;
                self.send(clock, Class::Other, acks, "audio_chunk", Wire::refusal(&why));
            }
        }
        self.planned_faults(clock);
    }

    fn take(&mut self, taken: Taken, clock: &Clock) {
        if let Some(range) = taken.ack {
            let format = self.request.format;
            let fields = Wire::ack(range, (format.seconds(range.0), format.seconds(range.1)));
            self.send(clock, Class::Ack, self.request.flags.acks, "audio_chunk", fields);
        }
        let mut events = Vec::new();
        for mut bytes in taken.audio.into_iter().filter(|b| !b.is_empty()) {
            if !std::mem::replace(&mut self.header_checked, true) {
                bytes = bytes.slice(crate::audio::wav_header_len(&bytes)..);
            }
            for (track, samples) in self.tracks.iter_mut().zip(self.request.format.decode(&bytes)) {
                track.push(&samples, &mut events);
            }
            self.out.push_back(Output::Store(bytes));
        }
        self.events(events, clock);
    }

    fn heard(&mut self, heard: Heard, clock: &Clock) {
        self.outcome.recognising += heard.took;
        let mut events = Vec::new();
        if let Some(track) = self.tracks.get_mut(usize::from(heard.channel)) {
            track.heard(heard, &mut events);
        }
        self.events(events, clock);
    }

    fn events(&mut self, events: Vec<TrackEvent>, clock: &Clock) {
        events.into_iter().for_each(|event| self.event(event, clock));
    }

    fn wake(&mut self, clock: &Clock) {
        let taken = self.intake.due(clock.now);
        self.take(taken, clock);
        if self.phase != Phase::Recording {
            return;
        }
        if clock.now >= self.cap() {
            self.error(
                clock,
                "session_timeout",
                "the session has reached its longest duration: start a new one",
            );
            self.stop(clock);
        } else if self.attached && clock.now >= self.last_input + self.idle() {
            self.last_input = clock.now;
            self.out.push_back(Output::Break(Break::Close(self.faults.idle_code.unwrap_or(1011))));
        } else if !self.attached && clock.now >= self.detached_at + self.limits.detached {
            self.stop(clock);
        }
    }

    fn stop_asked(&mut self, clock: &Clock) {
        let acks = self.request.flags.acks;
        if self.phase != Phase::Recording {
            let refusal = Wire::refusal("Recording already stopped");
            return self.send(clock, Class::Other, acks, "stop_recording", refusal);
        }
        let (duration, left) = (self.seconds(), self.backlog());
        let data = json!({"recording_duration": duration, "recording_left_to_process": left});
        let fields = json!({"acknowledged": true, "error": null, "data": data});
        self.flush(clock);
        self.send(clock, Class::Other, acks, "stop_recording", fields);
        self.stop(clock);
    }

    fn flush(&mut self, clock: &Clock) {
        let taken = self.intake.flush();
        self.take(taken, clock);
    }

    fn stop(&mut self, clock: &Clock) {
        if self.phase != Phase::Recording {
            return;
        }
        self.flush(clock);
        self.phase = Phase::Draining;
        let mut events = Vec::new();
        self.tracks.iter_mut().for_each(|t| t.finish(&mut events));
        self.events(events, clock);
    }

    fn maybe_finish(&mut self, clock: &Clock) {
        if self.phase == Phase::Draining && self.backlog() <= 0.0 {
            self.phase = Phase::Ended;
            self.say_the_end(clock);
            self.out.push_back(Output::Break(Break::Close(1000)));
            self.out.push_back(Output::Finished);
        }
    }
}
