//! A session's only loop: whatever happens becomes an `Input`, whatever the pipeline asks is carried out.
//!
//! A panic of the pipeline is caught here and the pipeline rebuilt from the spool, while the socket stays open:
//! an outage of the port would cost the egress (design §4, "Crash").

mod carry_out;
mod orders;
mod succession;
mod told;

pub use orders::{Order, Orders};
pub use succession::Before;

use crate::clock;
use crate::metrics::{Metrics, Why};
use crate::publish::{Trouble, Writer};
use crate::registry::{Ingest, Registry};
use crate::shown::Shell;
use crate::speech_http::{Created, SpeechApi};
use crate::speech_socket::{Frame, SocketEvent};
use crate::spool::Spool;
use roomscribe_pipeline::{
    AppendRefused, Exit, Input, Pipeline, Report, Restored, Settings, SpeechResult, SpeechState,
};
use roomscribe_transcript::{Appended, Event, Head, LogError, Offset, SessionId, WriterNote};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use succession::Succession;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use told::Told;

/// Answers and socket events waiting for the loop.
const INBOX: usize = 256;
/// A pipeline that panics more often than this has a bug that rebuilding does not cure.
const MAX_PANICS: u32 = 5;

/// Everything a session's loop needs.
pub struct Session {
    /// Identity, attempt, speech options, limits.
    pub settings: Settings,
    /// Where its publishers come from.
    pub registry: Registry,
    /// The registry's other end.
    pub ingest: mpsc::Receiver<Ingest>,
    /// Where events go.
    pub writer: Writer,
    /// Head of the log when the session began.
    pub head: Head,
    /// The speech service.
    pub speech: SpeechApi,
    /// What a crash leaves.
    pub spool: Spool,
    /// Counters.
    pub metrics: Metrics,
    /// What the owner sees.
    pub report: watch::Sender<Report>,
    /// What the owner asks.
    pub orders: watch::Receiver<Order>,
    /// Another worker still hears the session, and will hand it over.
    pub succeeds: Option<Before>,
}

/// Answers of tasks that this loop started.
enum Answer {
    Created(u32, Created),
    Result(String, SpeechResult<Value>),
}

/// How an append ended: ticket, the note that went with it, the log's answer.
type AppendOutcome = (u64, WriterNote, Result<Appended, LogError>);

/// The publisher whose audio counts.
struct Publisher {
    connection: u64,
    attempt: u32,
    /// Its AAC header, for a pipeline that is rebuilt in mid-stream.
    header: Option<Vec<u8>>,
}

struct Loop {
    session: Session,
    pipeline: Pipeline,
    id: SessionId,
    head: Offset,
    sockets: HashMap<u32, mpsc::Sender<Frame>>,
    events: mpsc::Sender<(u32, SocketEvent)>,
    heard: mpsc::Receiver<(u32, SocketEvent)>,
    answers: JoinSet<Answer>,
    socket_tasks: JoinSet<()>,
    /// Appends that wait for the one under way.
    waiting: VecDeque<(u64, Event, WriterNote)>,
    /// At most one.
    appending: JoinSet<AppendOutcome>,
    /// What the log says, for a pipeline that is rebuilt.
    told: Told,
    publisher: Option<Publisher>,
    /// Until the worker before has handed over.
    succession: Option<Succession>,
    panics: u32,
    /// The pipeline has panicked, and an append of it is under way.
    broken: bool,
    shell: Shell,
    log_trouble: watch::Receiver<Option<Trouble>>,
    spool_trouble: Option<Trouble>,
    exit: Option<Exit>,
}

/// Runs a session to its end.
pub async fn run(session: Session) -> Exit {
    let told = Told::read(&session).await;
    let mut session_loop = Loop::new(session, told);
    loop {
        session_loop.succeed().await;
        session_loop.carry_out();
        if session_loop.exit.is_some() {
            break;
        }
        session_loop.turn().await;
    }
    session_loop.session.registry.close(&session_loop.id);
    session_loop.last_word()
}

impl Loop {
    fn new(session: Session, told: Told) -> Self {
        let (id, head) = (session.settings.session.clone(), session.head.head);
        let (events, heard) = mpsc::channel(INBOX);
        let socket_tasks = JoinSet::new();
        let contents = session.spool.contents();
        // A process that is started again in its pod has a spool of its own, and nobody before it.
        let is_first = contents.state.is_none() && contents.pcm.is_empty() && !told.handed_over;
        let succession =
            session.succeeds.filter(|_| is_first && session.head.note.is_some()).map(Succession::to);
        let pipeline = match succession {
            Some(_) => idle(&session),
            None => build(&session, &told, 0),
        };
        let log_trouble = session.writer.trouble();
        Self {
            session,
            pipeline,
            id,
            head,
            sockets: HashMap::new(),
            events,
            heard,
            answers: JoinSet::new(),
            socket_tasks,
            waiting: VecDeque::new(),
            appending: JoinSet::new(),
            told,
            publisher: None,
            succession,
            panics: 0,
            broken: false,
            shell: Shell::default(),
            log_trouble,
            spool_trouble: None,
            exit: None,
        }
    }

    /// Waits for one thing to happen and tells the pipeline. While that is broken, publishers wait in their sockets.
    async fn turn(&mut self) {
        let waits = self.broken || self.succession.is_some();
        let wake = self.pipeline.wake_at(clock::now()).filter(|_| !waits);
        let wake = wake.unwrap_or_else(|| clock::now() + Duration::from_secs(60));
        let handover = async {
            match &mut self.succession {
                Some(succession) => succession.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = handover => {}
            Some(ingest) = self.session.ingest.recv(), if !self.broken => match self.succession {
                Some(_) => self.wait(ingest),
                None => self.hear(ingest, clock::now()),
            },
            Some((connection, event)) = self.heard.recv() => self.socket_event(connection, event),
            Some(answer) = self.answers.join_next() => match answer {
                Ok(answer) => self.answer(answer),
                Err(error) => self.fail(&error),
            },
            Some(outcome) = self.appending.join_next() => match outcome {
                Ok((ticket, note, outcome)) => self.appended(ticket, note, outcome),
                Err(error) => self.fail(&error),
            },
            Some(_) = self.socket_tasks.join_next() => {}
            Ok(()) = self.log_trouble.changed() => {}
            Ok(()) = self.session.orders.changed() => self.order(),
            () = tokio::time::sleep_until(clock::instant(wake)) => self.give(Input::Timer),
        }
    }

    /// A task that panicked gave no answer, and the pipeline would wait for it for ever: the next process starts afresh.
    fn fail(&mut self, error: &JoinError) {
        tracing::error!(session = %self.id, %error, "a task of the session failed; please report this");
        self.exit = Some(Exit::LogFailed);
    }

    /// What has not reached the log will be heard again by the next process, which must know that it is needed.
    fn last_word(&mut self) -> Exit {
        let unsaid = self.appending.len() + self.waiting.len();
        match self.exit.take().unwrap_or_default() {
            Exit::Suspended if unsaid > 0 => {
                tracing::error!(session = %self.id, unsaid, "events could not be appended before the end");
                Exit::LogFailed
            }
            exit => exit,
        }
    }

    fn hear(&mut self, ingest: Ingest, now: Duration) {
        match ingest {
            Ingest::Started { connection, attempt } => {
                self.publisher = Some(Publisher { connection, attempt, header: None });
                self.give_at(Input::PublishStarted { attempt }, now);
            }
            Ingest::Audio { connection, messages } if self.is_live(connection) => {
                for message in messages {
                    self.remember_header(&message.body);
                    self.give_at(
                        Input::Audio { timestamp_ms: message.timestamp_ms, body: &message.body },
                        now,
                    );
                }
            }
            Ingest::Ended { connection, clean } if self.is_live(connection) => {
                self.publisher = None;
                self.give_at(Input::PublishEnded { clean }, now);
            }
            // A connection that was taken over: its audio is older than what the new one sends.
            Ingest::Audio { .. } | Ingest::Ended { .. } => {}
        }
    }

    fn is_live(&self, connection: u64) -> bool {
        self.publisher.as_ref().is_some_and(|publisher| publisher.connection == connection)
    }

    /// FLV AAC: SoundFormat 10, AACPacketType 0 = AudioSpecificConfig.
    fn remember_header(&mut self, body: &[u8]) {
        if let (Some(publisher), [first, 0, ..]) = (&mut self.publisher, body)
            && first >> 4 == 10
        {
            publisher.header = Some(body.to_vec());
        }
    }

    fn socket_event(&mut self, connection: u32, event: SocketEvent) {
        match event {
            SocketEvent::Opened => self.give(Input::SpeechOpened { connection }),
            SocketEvent::Text(text) => self.give(Input::SpeechText { connection, text: &text }),
            SocketEvent::Closed { code, http_status } => {
                self.sockets.remove(&connection);
                self.give(Input::SpeechClosed { connection, code, http_status });
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Created(request, created) => self.created(request, created),
            Answer::Result(id, result) => {
                self.give(Input::SpeechResult { id: &id, result: result.as_ref() });
            }
        }
    }

    fn appended(&mut self, ticket: u64, note: WriterNote, outcome: Result<Appended, LogError>) {
        let result = match outcome {
            Ok(appended) => {
                self.head = self.head.max(appended.head);
                self.session.head.note = Some(note);
                Ok(self.head)
            }
            Err(error) => {
                tracing::error!(session = %self.id, %error, "the transcript's log refused an event for good");
                Err(match error {
                    LogError::Fenced { .. } => AppendRefused::Fenced,
                    LogError::Ended | LogError::Erased | LogError::NoSession => AppendRefused::Over,
                    _ => AppendRefused::Failed,
                })
            }
        };
        if self.broken {
            return self.rebuild();
        }
        self.give(Input::Appended { ticket, result });
    }

    fn created(&mut self, request: u32, created: Created) {
        let reason = match &created {
            Created::Session(_) => "created",
            Created::Refused { status: 429, .. } => "quota",
            Created::Refused { status: 500.., .. } => "server_error",
            Created::Refused { .. } => "refused",
            Created::Unreachable { .. } => "unreachable",
        };
        self.session.metrics.speech_requests.get_or_create(&Why { reason }).inc();
        match created {
            Created::Session(new) => {
                self.give(Input::SpeechCreated { request, id: new.id, url: new.url.into() })
            }
            Created::Refused { status, retry_after, detail } => {
                self.give(Input::SpeechRefused { request, status, retry_after, detail })
            }
            Created::Unreachable { detail } => self.give(Input::SpeechUnreachable { request, detail }),
        }
    }

    fn order(&mut self) {
        let order = self.session.orders.borrow_and_update().clone();
        let waits = matches!(order, Order::Run | Order::Drain);
        if !waits && self.order_in_succession(matches!(order, Order::Stop(_))) {
            return;
        }
        match order {
            Order::Run => {}
            Order::Drain => self.shell.draining = true,
            Order::Stop(reason) => {
                self.session.registry.stop_accepting(&self.id);
                self.give(Input::Stop { reason: Some(reason) });
            }
            Order::Leave => {
                self.session.registry.stop_accepting(&self.id);
                self.give(Input::Leave);
            }
            Order::Suspend => {
                self.session.registry.stop_accepting(&self.id);
                self.give(Input::Stop { reason: None });
            }
        }
    }

    /// Tells the pipeline; a panic in it is caught, and a new one goes on from the spool.
    fn give(&mut self, input: Input<'_>) {
        self.give_at(input, clock::now());
    }

    fn give_at(&mut self, input: Input<'_>, now: Duration) {
        if self.broken || self.succession.is_some() {
            return;
        }
        let pipeline = &mut self.pipeline;
        let told = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(feature = "faults")]
            crate::faults::trip(&input);
            pipeline.handle(input, now);
        }));
        if told.is_err() {
            self.panicked();
        }
    }

    fn panicked(&mut self) {
        self.panics += 1;
        self.session.metrics.pipeline_panics.inc();
        tracing::error!(session = %self.id, panics = self.panics, "the pipeline panicked and is rebuilt; please report this");
        if self.panics > MAX_PANICS {
            self.exit = Some(Exit::LogFailed);
            return;
        }
        // What it had asked before is carried out: its finals, and what is to be spooled. Then nothing of it may come
        // back: its tickets, requests and connections count anew. Its sockets are dropped without a Close frame.
        while let Some(output) = self.pipeline.poll() {
            self.one(output);
        }
        self.sockets.clear();
        self.answers.abort_all();
        self.answers = JoinSet::new();
        (self.events, self.heard) = mpsc::channel(INBOX);
        self.broken = true;
        self.rebuild();
    }

    /// Once the last event of the old pipeline is in the log, so that the new one knows what is covered.
    fn rebuild(&mut self) {
        self.next_append();
        if !self.appending.is_empty() {
            return;
        }
        self.broken = false;
        self.session.head.head = self.head;
        self.pipeline = build(&self.session, &self.told, self.panics);
        let Some(publisher) = &self.publisher else { return };
        let (attempt, header) = (publisher.attempt, publisher.header.clone());
        self.give(Input::PublishStarted { attempt });
        if let Some(header) = header {
            self.give(Input::Audio { timestamp_ms: 0, body: &header });
        }
    }
}

/// A pipeline that only waits: it is shown, and nothing that it asks is done.
fn idle(session: &Session) -> Pipeline {
    let (now, wall_ms) = (clock::now(), clock::wall_ms());
    Pipeline::new(session.settings.clone(), session.head.head, Restored::default(), now, wall_ms)
}

/// A pipeline that goes on where the log ends; the publisher came at `now`.
fn build_after_handover(session: &Session, told: &Told, now: Duration, wall_ms: u64) -> Pipeline {
    let restored = said(session, told, 1);
    Pipeline::new(session.settings.clone(), session.head.head, restored, now, wall_ms)
}

/// What the log says.
fn said(session: &Session, told: &Told, incarnation: u32) -> Restored {
    Restored {
        note: session.head.note.clone(),
        finals: told.finals.iter().copied().collect(),
        gaps: told.gaps.iter().copied().collect(),
        handed_over: told.handed_over,
        incarnation,
        ..Restored::default()
    }
}

/// A pipeline that goes on where the spool and the log end.
fn build(session: &Session, told: &Told, incarnation: u32) -> Pipeline {
    let contents = session.spool.contents();
    let stored = contents.state.as_deref().and_then(|json| serde_json::from_slice::<SpeechState>(json).ok());
    let mut state = stored.unwrap_or_default();
    if let Some((at, pcm)) = contents.pcm.back() {
        let end = at + pcm.len() as u64 / 2;
        if end >= state.heard {
            (state.heard, state.heard_wall_ms) = (end, contents.heard_wall_ms);
        }
    }
    let restored = Restored {
        state: Some(state).filter(|state| *state != SpeechState::default()),
        pcm: contents.pcm.iter().map(|(at, pcm)| (*at, pcm.clone().into())).collect(),
        ..said(session, told, incarnation)
    };
    Pipeline::new(session.settings.clone(), session.head.head, restored, clock::now(), clock::wall_ms())
}
