//! A session's only loop: whatever happens becomes an `Input`, whatever the pipeline asks is carried out.
//!
//! A panic of the pipeline is caught here and the pipeline rebuilt from the spool, while the socket stays open:
//! an outage of the port would cost the egress (design §4, "Crash").

mod carry_out;
mod told;

use crate::clock;
use crate::metrics::{Metrics, Why};
use crate::publish::Writer;
use crate::registry::{Ingest, Registry};
use crate::speech_http::{Created, SpeechApi};
use crate::speech_socket::{Frame, SocketEvent};
use crate::spool::Spool;
use roomscribe_pipeline::{AppendRefused, Exit, Input, Pipeline, Report, Restored, Settings};
use roomscribe_transcript::{Appended, Event, Head, LogError, Offset, SessionId, WriterNote};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use told::Told;

/// Answers and socket events waiting for the loop.
const INBOX: usize = 256;
/// A pipeline that panics more often than this has a bug that rebuilding does not cure.
const MAX_PANICS: u32 = 5;

/// What the owner of a session may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Run,
    /// Drain and append `end` with this reason.
    Stop(String),
    /// Drain without an end: the next process goes on.
    Suspend,
}

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
}

/// Answers of tasks that this loop started.
enum Answer {
    Created(u32, Created),
    Result(String, Option<Value>),
    Appended(u64, Result<Appended, LogError>),
}

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
    answers: JoinSet<Answer>,
    socket_tasks: JoinSet<()>,
    /// Appends that wait for the one under way.
    waiting: VecDeque<(u64, Event, WriterNote)>,
    /// The note of the append under way.
    under_way: Option<WriterNote>,
    /// What the log says, for a pipeline that is rebuilt.
    told: Told,
    publisher: Option<Publisher>,
    panics: u32,
    exit: Option<Exit>,
}

/// Runs a session to its end.
pub async fn run(session: Session) -> Exit {
    let (events, mut heard) = mpsc::channel(INBOX);
    let told = Told::read(&session).await;
    let mut session_loop = Loop::new(session, events, told);
    while session_loop.exit.is_none() {
        session_loop.carry_out();
        session_loop.turn(&mut heard).await;
    }
    session_loop.session.registry.close(&session_loop.id);
    session_loop.exit.take().unwrap_or_default()
}

impl Loop {
    fn new(session: Session, events: mpsc::Sender<(u32, SocketEvent)>, told: Told) -> Self {
        let (id, head) = (session.settings.session.clone(), session.head.head);
        let pipeline = build(&session, &told, 0);
        Self {
            session,
            pipeline,
            id,
            head,
            sockets: HashMap::new(),
            events,
            answers: JoinSet::new(),
            socket_tasks: JoinSet::new(),
            waiting: VecDeque::new(),
            under_way: None,
            told,
            publisher: None,
            panics: 0,
            exit: None,
        }
    }

    /// Waits for one thing to happen and tells the pipeline.
    async fn turn(&mut self, heard: &mut mpsc::Receiver<(u32, SocketEvent)>) {
        let wake =
            self.pipeline.wake_at(clock::now()).unwrap_or_else(|| clock::now() + Duration::from_secs(60));
        tokio::select! {
            Some(ingest) = self.session.ingest.recv() => self.hear(ingest),
            Some((connection, event)) = heard.recv() => self.socket_event(connection, event),
            Some(answer) = self.answers.join_next() => match answer {
                Ok(answer) => self.answer(answer),
                Err(error) => tracing::error!(session = %self.id, %error, "a task of the session failed"),
            },
            Some(_) = self.socket_tasks.join_next() => {}
            Ok(()) = self.session.orders.changed() => self.order(),
            () = tokio::time::sleep_until(clock::instant(wake)) => self.give(Input::Timer),
        }
    }

    fn hear(&mut self, ingest: Ingest) {
        match ingest {
            Ingest::Started { connection, attempt } => {
                self.publisher = Some(Publisher { connection, attempt, header: None });
                self.give(Input::PublishStarted { attempt });
            }
            Ingest::Audio { connection, messages } if self.is_live(connection) => {
                for message in messages {
                    self.remember_header(&message.body);
                    self.give(Input::Audio { timestamp_ms: message.timestamp_ms, body: &message.body });
                }
            }
            Ingest::Ended { connection, clean } if self.is_live(connection) => {
                self.publisher = None;
                self.give(Input::PublishEnded { clean });
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
            Answer::Result(id, result) => self.give(Input::SpeechResult { id: &id, result: result.as_ref() }),
            Answer::Appended(ticket, outcome) => self.appended(ticket, outcome),
        }
    }

    fn appended(&mut self, ticket: u64, outcome: Result<Appended, LogError>) {
        let note = self.under_way.take();
        let result = match outcome {
            Ok(appended) => {
                self.head = self.head.max(appended.head);
                self.session.head.note = note;
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
        match order {
            Order::Run => {}
            Order::Stop(reason) => {
                self.session.registry.stop_accepting(&self.id);
                self.give(Input::Stop { reason: Some(reason) });
            }
            Order::Suspend => {
                self.session.registry.stop_accepting(&self.id);
                self.give(Input::Stop { reason: None });
            }
        }
    }

    /// Tells the pipeline; a panic in it is caught, and a new one goes on from the spool.
    fn give(&mut self, input: Input<'_>) {
        let pipeline = &mut self.pipeline;
        if catch_unwind(AssertUnwindSafe(|| pipeline.handle(input, clock::now()))).is_err() {
            self.rebuild();
        }
    }

    fn rebuild(&mut self) {
        self.panics += 1;
        self.session.metrics.pipeline_panics.inc();
        tracing::error!(session = %self.id, panics = self.panics, "the pipeline panicked and is rebuilt; please report this");
        if self.panics > MAX_PANICS {
            self.exit = Some(Exit::LogFailed);
            return;
        }
        // Sockets of the old pipeline are dropped without a Close frame: its speech session stays resumable.
        self.sockets.clear();
        self.waiting.clear();
        self.session.head.head = self.head;
        // The append under way goes on: its event is in what was told already.
        if let Some(note) = &self.under_way {
            self.session.head.note = Some(note.clone());
        }
        self.pipeline = build(&self.session, &self.told, self.panics);
        let Some(publisher) = &self.publisher else { return };
        let (attempt, header) = (publisher.attempt, publisher.header.clone());
        self.give(Input::PublishStarted { attempt });
        if let Some(header) = header {
            self.give(Input::Audio { timestamp_ms: 0, body: &header });
        }
    }
}

fn build(session: &Session, told: &Told, incarnation: u32) -> Pipeline {
    let contents = session.spool.contents();
    let state = contents.state.as_deref().and_then(|json| serde_json::from_slice(json).ok());
    let restored = Restored {
        state,
        pcm: contents.pcm.iter().cloned().collect(),
        note: session.head.note.clone(),
        finals: told.finals.iter().copied().collect(),
        gaps: told.gaps.iter().copied().collect(),
        incarnation,
    };
    Pipeline::new(session.settings.clone(), session.head.head, restored, clock::now(), clock::wall_ms())
}
