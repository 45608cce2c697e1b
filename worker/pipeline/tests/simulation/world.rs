//! One meeting in simulated time: publisher, worker process, speech service, log, and a clock that jumps from event to event.

use crate::meeting::{self, Door, Trouble};
use crate::service::{Faults, Sent, Service};
use crate::store::{Log, Spool};
use fastrand::Rng;
use roomscribe_pipeline::{Exit, Input, Output, Pipeline, Restored, Settings, SpeechResult};
use roomscribe_transcript::{Event, Generation, Offset, SessionId, WriterNote};
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;

const WALL_ZERO: u64 = 1_800_000_000_000;
/// From stop to done, whatever happens: 20 s, and 10 s for a log that does not answer.
const LONGEST_STOP: u64 = 31_000;

/// What a seed stands for.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) meeting_ms: u64,
    pub(crate) door_faults: bool,
    pub(crate) faults: Faults,
    /// (time, how): the worker's process dies, or its pipeline panics.
    pub(crate) crashes: Vec<(u64, Crash)>,
    pub(crate) rollover: u64,
    pub(crate) idle_close: u64,
    /// ms; how long a stop may take while the service still tells.
    pub(crate) longest_stop: u64,
    pub(crate) translate: bool,
    /// Longest delay of the log's answers, ms.
    pub(crate) slow_log: u64,
    /// Scripted: where words are spoken, in ms; all over the meeting when empty.
    pub(crate) voice: Vec<(u64, u64)>,
    /// Scripted: clicks in the silence (ms), voice by their level and no words.
    pub(crate) clicks: Vec<u64>,
    /// Scripted: (time, what).
    pub(crate) trouble: Option<(u64, Trouble)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Crash {
    /// The spool survives.
    Container,
    /// Only the log does.
    Pod,
    /// The process lives; the pipeline is rebuilt.
    Panic,
    /// Worker and speech service are one process, as with an embedded recogniser. The spool survives.
    Machine,
    /// The same, but the worker is asked to leave.
    Leave,
}

enum Answer {
    Created { request: u32, status: u16, retry: Option<u64>, session: Option<(String, String)> },
    Result { id: String, job: Option<Value> },
}

enum Frame {
    Audio(bytes::Bytes),
    Text(String),
    Gone,
    Open(String),
}

pub(crate) struct World {
    plan: Plan,
    rng: Rng,
    now: u64,
    settings: Settings,
    pipeline: Option<Pipeline>,
    /// Process lives and pipelines within one.
    life: u32,
    incarnation: u32,
    up_at: u64,
    rejoin: Option<u64>,
    attempt: u32,
    pub(crate) service: Service,
    to_service: VecDeque<(u64, u32, Frame)>,
    answers: Vec<(u64, Answer)>,
    waiting: VecDeque<(u64, Event, WriterNote)>,
    under_way: Option<(u64, u64, Event, WriterNote)>,
    pub(crate) log: Log,
    pub(crate) spool: Spool,
    open: Vec<u32>,
    /// Everything that the worker put on the media clock: (sample, PCM).
    pub(crate) heard: Vec<(u64, bytes::Bytes)>,
    pub(crate) posts: u32,
    /// When they were made.
    pub(crate) post_times: Vec<u64>,
    /// (time, URL) of every connection to the service.
    pub(crate) opened: Vec<(u64, String)>,
    /// When it was stopped, and when it was done.
    pub(crate) stopped_at: u64,
    pub(crate) done_at: u64,
    pub(crate) timers: u32,
    wake: Option<u64>,
    /// It was asked to leave, and it has left.
    leaving: bool,
    left: bool,
    pub(crate) exit: Option<Exit>,
    pub(crate) story: Vec<String>,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut rng = Rng::with_seed(plan.seed);
        let session = SessionId::parse("01890000-0000-7000-8000-000000000001").unwrap();
        let mut settings = Settings::new(session, Generation(1), "room".to_owned());
        settings.speech.rollover_after = Duration::from_millis(plan.rollover);
        settings.speech.idle_close_after = Duration::from_millis(plan.idle_close);
        settings.longest_stop = Duration::from_millis(plan.longest_stop);
        if plan.translate {
            settings.speech.translate_to = vec!["fr".to_owned()];
        }
        let service = Service::new(plan.faults.clone(), rng.fork(), plan.translate);
        Self {
            plan,
            rng,
            now: 0,
            settings,
            pipeline: None,
            life: 0,
            incarnation: 0,
            up_at: 0,
            rejoin: None,
            attempt: 1,
            service,
            to_service: VecDeque::new(),
            answers: Vec::new(),
            waiting: VecDeque::new(),
            under_way: None,
            log: Log::default(),
            spool: Spool::default(),
            open: Vec::new(),
            heard: Vec::new(),
            posts: 0,
            post_times: Vec::new(),
            opened: Vec::new(),
            stopped_at: 0,
            done_at: 0,
            timers: 0,
            wake: None,
            leaving: false,
            left: false,
            exit: None,
            story: Vec::new(),
        }
    }

    /// The whole meeting, and its end.
    pub(crate) fn run(&mut self) {
        let frames = meeting::frames();
        let mut sounds =
            meeting::script(&mut self.rng.fork(), (self.plan.meeting_ms / meeting::FRAME_MS) as usize);
        if !self.plan.voice.is_empty() {
            sounds = meeting::voice(&self.plan.voice, self.plan.meeting_ms);
        }
        for at in &self.plan.clicks {
            sounds[(at / meeting::FRAME_MS) as usize] = 3;
        }
        let door = meeting::publish(&mut self.rng.fork(), &sounds, self.plan.door_faults, self.plan.trouble);
        let mut door: VecDeque<_> = door.into();
        let last = door.back().map_or(0, |(at, _)| *at);
        let stop_at = last + self.rng.u64(0..3_000);
        let mut crashes: VecDeque<_> = self.plan.crashes.clone().into();
        self.boot(Restored::default());
        let mut stopped = false;
        while self.exit.is_none() {
            assert!(
                self.now < stop_at + LONGEST_STOP.max(self.plan.longest_stop) + 20_000,
                "the session does not end"
            );
            if crashes.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, how) = crashes.pop_front().unwrap();
                self.crash(how);
            }
            if self.pipeline.is_none() && self.now >= self.up_at {
                self.restart();
            }
            while door.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, event) = door.pop_front().unwrap();
                self.door(event, &frames);
            }
            self.deliver();
            if std::mem::take(&mut self.left) {
                self.crash(Crash::Machine);
            }
            if !stopped && self.now >= stop_at && self.pipeline.is_some() && crashes.is_empty() {
                stopped = true;
                self.stopped_at = self.now;
                self.give(Input::Stop { reason: Some("Stopped".to_owned()) });
            }
            if self.wake.is_some_and(|at| at <= self.now) && self.exit.is_none() {
                self.timers += 1;
                self.give(Input::Timer);
            }
            let wake = self.pipeline.as_ref().and_then(|pipeline| pipeline.wake_at(self.at()));
            self.wake = wake.map(|at| at.as_nanos().div_ceil(1_000_000) as u64 - 1_000_000);
            // The service's own clock has steps of 20 ms.
            let next = [
                door.front().map(|(at, _)| *at),
                self.wake,
                self.to_service.front().map(|(at, ..)| *at),
                self.service.sent.iter().map(|(at, ..)| *at).min(),
                self.answers.iter().map(|(at, _)| *at).min(),
                self.under_way.as_ref().map(|(at, ..)| *at),
                Some(self.now / 20 * 20 + 20),
            ];
            self.now = next.into_iter().flatten().min().unwrap_or(self.now).max(self.now + 1);
        }
        self.story.append(&mut self.service.story);
    }

    fn at(&self) -> Duration {
        Duration::from_millis(1_000_000 + self.now)
    }

    fn tell(&mut self, what: &str) {
        self.story.push(format!("{:>7} ms  {what}", self.now));
    }

    fn boot(&mut self, restored: Restored) {
        let head = Offset(self.log.events.len() as u64);
        self.pipeline =
            Some(Pipeline::new(self.settings.clone(), head, restored, self.at(), WALL_ZERO + self.now));
        self.carry_out();
    }

    fn restored(&self) -> Restored {
        Restored {
            state: self.spool.state.clone().map(|state| {
                // As the spool file has it.
                serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap()
            }),
            pcm: self.spool.pcm.iter().cloned().collect(),
            note: self.log.note.clone(),
            finals: self.log.final_ranges(),
            gaps: self.log.gap_ranges(),
            handed_over: matches!(self.log.events.last(), Some(Event::Handover {})),
            incarnation: self.incarnation,
        }
    }

    fn crash(&mut self, how: Crash) {
        if how == Crash::Leave && self.pipeline.is_some() {
            self.leaving = true;
            return self.give(Input::Leave);
        }
        if self.pipeline.take().is_none() {
            return;
        }
        self.tell(&format!("the worker crashes: {how:?}"));
        if how == Crash::Machine {
            self.service.start_again(self.now);
        }
        for connection in std::mem::take(&mut self.open) {
            self.to_service.push_back((self.now, connection, Frame::Gone));
        }
        let told = self.under_way.is_some();
        self.waiting.clear();
        if how == Crash::Panic {
            self.incarnation += 1;
            let mut restored = self.restored();
            // The append under way will be stored.
            if let Some((_, _, event, note)) = &self.under_way {
                match event {
                    Event::Final(event) => restored.finals.push((event.start_ms, event.end_ms)),
                    Event::Gap(gap) => restored.gaps.push((gap.start_ms, gap.end_ms)),
                    _ => {}
                }
                restored.note = Some(note.clone());
            }
            self.boot(restored);
            self.give(Input::PublishStarted { attempt: self.attempt });
            return self.give(Input::Audio { timestamp_ms: 0, body: meeting::HEADER });
        }
        let lands = self.rng.bool();
        if let Some((.., event, note)) = self.under_way.take().filter(|_| lands) {
            self.log.append(event, note);
        }
        self.answers.clear();
        self.life += 1;
        self.incarnation = 0;
        self.up_at =
            self.now + if how == Crash::Pod { self.rng.u64(4_000..20_000) } else { self.rng.u64(100..3_000) };
        if how == Crash::Pod {
            self.spool = Spool::default();
            if self.log.note.as_ref().is_none_or(|note| note.media_zero_at.is_none()) {
                // Nothing durable knows of it: either less than a second was heard, or the log was still being told.
                let heard: usize = self.heard.iter().map(|(_, pcm)| pcm.len() / 2).sum();
                assert!(told || heard < 17_600, "{heard} samples were heard, and the log was told nothing");
                self.heard.clear();
            }
        }
    }

    fn restart(&mut self) {
        self.tell("the worker is back");
        let restored = self.restored();
        self.boot(restored);
        self.rejoin = Some(self.now + self.rng.u64(10..500));
    }

    fn door(&mut self, event: Door, frames: &[Vec<u8>]) {
        if self.pipeline.is_none() {
            return;
        }
        match (&event, self.rejoin) {
            (Door::Audio { .. }, Some(at)) if at > self.now => return,
            (Door::Audio { .. }, Some(_)) => {
                self.rejoin = None;
                self.give(Input::PublishStarted { attempt: self.attempt });
                self.give(Input::Audio { timestamp_ms: 0, body: meeting::HEADER });
            }
            (Door::Started { .. }, _) => self.rejoin = None,
            _ => {}
        }
        match event {
            Door::Started { attempt } => {
                self.attempt = attempt;
                self.tell("a publisher connects");
                self.give(Input::PublishStarted { attempt });
            }
            Door::Header => self.give(Input::Audio { timestamp_ms: 0, body: meeting::HEADER }),
            Door::Audio { rtmp_ms, frame } => {
                self.give(Input::Audio { timestamp_ms: rtmp_ms, body: &frames[frame] })
            }
            Door::Ended { clean } => self.give(Input::PublishEnded { clean }),
        }
    }

    fn global(&self, connection: u32) -> u32 {
        (self.life << 26) + connection
    }

    fn deliver(&mut self) {
        while self.to_service.front().is_some_and(|(at, ..)| *at <= self.now) {
            let (_, connection, frame) = self.to_service.pop_front().unwrap();
            match frame {
                Frame::Open(url) => self.service.connect(self.now, connection, &url),
                Frame::Audio(pcm) => self.service.hear(self.now, connection, &pcm),
                Frame::Text(text) => self.service.command(self.now, connection, &text),
                Frame::Gone => self.service.gone(self.now, connection),
            }
        }
        self.service.tick(self.now);
        while let Some(index) = next_due(&self.service.sent, self.now) {
            let (_, connection, sent) = self.service.sent.remove(index);
            let local = connection & ((1 << 26) - 1);
            if !self.open.contains(&connection) {
                continue;
            }
            match sent {
                Sent::Open => self.give(Input::SpeechOpened { connection: local }),
                Sent::Text(text) => self.give(Input::SpeechText { connection: local, text: &text }),
                Sent::Close { code, http } => {
                    self.open.retain(|other| *other != connection);
                    self.service.gone(self.now, connection);
                    self.give(Input::SpeechClosed { connection: local, code, http_status: http });
                }
            }
        }
        while let Some(index) = self.answers.iter().position(|(at, _)| *at <= self.now) {
            let (_, answer) = self.answers.swap_remove(index);
            self.answer(answer);
        }
        if let Some((_, ticket, event, note)) = self.under_way.take_if(|(at, ..)| *at <= self.now) {
            let head = self.log.append(event, note);
            self.give(Input::Appended { ticket, result: Ok(Offset(head)) });
        }
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Created { request, session: Some((id, url)), .. } => {
                self.give(Input::SpeechCreated { request, id, url: url.into() });
            }
            Answer::Created { request, status: 0, .. } => {
                self.give(Input::SpeechUnreachable { request, detail: "no route".to_owned() });
            }
            Answer::Created { request, status, retry, .. } => {
                let retry_after = retry.map(Duration::from_secs);
                self.give(Input::SpeechRefused { request, status, retry_after, detail: String::new() });
            }
            Answer::Result { id, job } => {
                let result = job.as_ref().map_or(SpeechResult::Unknown, SpeechResult::Job);
                self.give(Input::SpeechResult { id: &id, result });
            }
        }
    }

    fn give(&mut self, input: Input<'_>) {
        let now = self.at();
        let Some(pipeline) = &mut self.pipeline else { return };
        pipeline.handle(input, now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.pipeline.as_mut().and_then(Pipeline::poll) {
            self.one(output);
        }
        if self.under_way.is_none()
            && let Some((ticket, event, note)) = self.waiting.pop_front()
        {
            let note = serde_json::from_str(&serde_json::to_string(&note).unwrap()).unwrap();
            let slow = if self.rng.u8(..) < 5 { self.plan.slow_log } else { 20 };
            self.under_way = Some((self.now + self.rng.u64(1..=slow), ticket, event, note));
        }
    }

    fn one(&mut self, output: Output) {
        let soon = self.now + self.rng.u64(5..30);
        let soon = soon.max(self.to_service.back().map_or(0, |(at, ..)| *at));
        match output {
            Output::CreateSpeech { request, body } => {
                self.posts += 1;
                self.post_times.push(self.now);
                let (after, status, retry, session) = self.service.post(self.now, &body);
                self.answers.push((self.now + after, Answer::Created { request, status, retry, session }));
            }
            Output::OpenSpeech { connection, url } => {
                let connection = self.global(connection);
                self.open.push(connection);
                self.opened.push((self.now, url.expose().to_owned()));
                self.to_service.push_back((soon, connection, Frame::Open(url.expose().to_owned())));
            }
            Output::SendAudio { connection, pcm } => {
                self.to_service.push_back((soon, self.global(connection), Frame::Audio(pcm)));
            }
            Output::SendText { connection, text } => {
                self.to_service.push_back((soon, self.global(connection), Frame::Text(text)));
            }
            Output::CloseSpeech { connection, .. } => {
                let connection = self.global(connection);
                self.open.retain(|other| *other != connection);
                self.to_service.push_back((soon, connection, Frame::Gone));
            }
            Output::FetchResult { id } => {
                let job = self.service.get(self.now, &id);
                self.answers.push((soon + 100, Answer::Result { id, job }));
            }
            Output::Append { ticket, event, note } => {
                self.waiting.push_back((ticket, event, note));
                assert!(self.waiting.len() <= 1024, "appends without bound");
            }
            Output::Partial(_) => {}
            Output::SpoolPcm { at, pcm } => {
                let end = self.heard.last().map_or(0, |(at, pcm)| at + pcm.len() as u64 / 2);
                assert!(at >= end, "media time steps back from {end} to {at}");
                self.heard.push((at, pcm.clone()));
                self.spool.pcm.push_back((at, pcm));
                // What is over the pipeline's limit is covered within the same turn.
                assert!(self.spool.samples() <= 121 * 16_000, "more than two minutes are kept");
            }
            Output::SpoolCovered { upto } => {
                if std::env::var("SEED").is_ok() {
                    self.tell(&format!("covered to {} ms", upto / 16));
                }
                self.spool.cover(upto);
            }
            Output::SpoolState(state) => self.spool.state = Some(state),
            Output::Done(Exit::Suspended) if std::mem::take(&mut self.leaving) => self.left = true,
            Output::Done(exit) => (self.exit, self.done_at) = (Some(exit), self.now),
        }
    }
}

fn next_due(sent: &[(u64, u32, Sent)], now: u64) -> Option<usize> {
    let due = sent.iter().enumerate().filter(|(_, (at, ..))| *at <= now);
    due.min_by_key(|(index, (at, ..))| (*at, *index)).map(|(index, _)| index)
}
