//! A session's task: moves bytes and time between sockets, the pure session and the recognition pool.
//!
//! It outlives its sockets: between two connections of one session recognition goes on and messages wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::faults::Break;
use crate::pool::Heard;
use crate::recording::Recording;
use crate::server::Server;
use crate::session::Session;
use crate::session_io::{Class, Clock, Input, Output};
use crate::store::{Entry, Status, now};

/// Messages waiting for a slow or absent client; beyond it the connection is cut.
const OUTBOX: usize = 4096;
/// Messages waiting beyond which partials are dropped.
const OUTBOX_BUSY: usize = 64;
/// Covers every job that a session within its backlog bound can have open.
const REPLIES: usize = 4096;
/// How long the last messages wait for a client that does not read.
const LEAVE: Duration = Duration::from_secs(30);

/// What a socket read.
pub(crate) enum Frame {
    Audio(Bytes),
    Text(String),
    /// The socket is gone; `for_good` ends the session.
    Gone {
        for_good: bool,
    },
}

/// What a socket must write.
pub(crate) enum ToSocket {
    Text(String),
    Break(Break),
}

/// What does not wait behind audio.
pub(crate) enum Control {
    /// A new connection; the older one, if any, is closed.
    Attach { connection: u64, socket: mpsc::Sender<ToSocket> },
    /// A fault, now.
    Break(Break),
    /// The server stops.
    Shutdown,
}

/// The receiving ends of an [`Entry`].
pub(crate) struct Inbox {
    pub(crate) frames: mpsc::Receiver<(u64, Frame)>,
    pub(crate) control: mpsc::Receiver<Control>,
}

/// Runs a session to its end.
pub(crate) async fn run(server: Arc<Server>, entry: Arc<Entry>, session: Session, mut inbox: Inbox) {
    let (reply, mut replies) = mpsc::channel(REPLIES);
    let guard = LiveGuard { server: Arc::clone(&server), entry: Arc::clone(&entry) };
    let recording = Recording::create(entry.audio.as_deref(), &entry.id).await;
    let mut actor = Actor {
        server,
        entry,
        session,
        reply,
        began: Instant::now(),
        socket: None,
        outbox: VecDeque::new(),
        breaking: None,
        stalled_until: None,
        backlog: 0.0,
        full: false,
        recording,
        leave_at: None,
        over: false,
    };
    while !actor.over {
        actor.step(&mut inbox, &mut replies).await;
    }
    actor.count_backlog(0.0);
    drop(guard);
}

struct Actor {
    server: Arc<Server>,
    entry: Arc<Entry>,
    session: Session,
    reply: mpsc::Sender<Heard>,
    began: Instant,
    socket: Option<Connection>,
    outbox: VecDeque<(Class, String)>,
    /// To be told to the socket once the outbox is empty.
    breaking: Option<Break>,
    stalled_until: Option<Instant>,
    backlog: f64,
    full: bool,
    recording: Recording,
    /// When an ended session stops waiting for its client to read the rest.
    leave_at: Option<Instant>,
    over: bool,
}

impl Actor {
    async fn step(&mut self, inbox: &mut Inbox, replies: &mut mpsc::Receiver<Heard>) {
        let held = self.held();
        let ready = !self.outbox.is_empty() || self.breaking.is_some();
        let socket = self.socket.as_ref().filter(|_| ready).and_then(Connection::writer);
        let wake = self.wake_at();
        tokio::select! {
            biased;
            Some(control) = inbox.control.recv() => self.control(control).await,
            Some(heard) = replies.recv() => self.heard(heard).await,
            permit = reserve(socket) => self.write(permit),
            Some((connection, frame)) = inbox.frames.recv(), if !held => self.frame(connection, frame).await,
            () = tokio::time::sleep_until(wake) => {
                self.handle(Input::Wake).await;
                self.over |= self.leave_at.is_some_and(|at| at <= Instant::now());
            }
        }
    }

    /// The socket is not read now: a stall on purpose, or the backlog is at its bound.
    fn held(&mut self) -> bool {
        self.stalled_until = self.stalled_until.filter(|at| *at > Instant::now());
        let full = self.session.backlog() > self.server.limits.backlog.as_secs_f64();
        if full && !self.full {
            self.server.metrics.backlog_full.inc();
            tracing::warn!(session = %self.entry.id, "recognition cannot keep up: the session's socket is not read until it has");
        }
        self.full = full;
        if full || self.stalled_until.is_some() {
            self.session.touch(self.began.elapsed());
        }
        full || self.stalled_until.is_some()
    }

    fn wake_at(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let session = self.session.wake_at().map(|at| self.began + at);
        [session, self.stalled_until, self.leave_at].into_iter().flatten().min().unwrap_or(far)
    }

    async fn control(&mut self, control: Control) {
        match control {
            Control::Attach { connection, socket } => {
                if let Some(old) = self.socket.take() {
                    // HELP of Gladia says one socket per session; which one wins is not documented: the newer.
                    old.tell_now(Break::Close(4409));
                    self.detached(false).await;
                }
                self.breaking = None;
                self.socket = Some(Connection::new(connection, socket));
                self.handle(Input::Attached).await;
            }
            Control::Break(how) => self.breaking = Some(how),
            Control::Shutdown => {
                if let Some(socket) = &self.socket {
                    socket.tell_now(Break::Close(1012));
                }
                self.over = true;
            }
        }
    }

    async fn frame(&mut self, connection: u64, frame: Frame) {
        let Some(present) = self.socket.as_mut().filter(|present| present.number == connection) else {
            return;
        };
        let Some(frame) = present.admit(frame) else { return };
        match frame {
            Frame::Audio(bytes) => self.handle(Input::Audio(bytes)).await,
            Frame::Text(text) => self.handle(Input::Text(text)).await,
            Frame::Gone { for_good } => self.gone(for_good).await,
        }
    }

    /// A client that closed for good will not resend what came after the last answer it could get: it counts.
    async fn gone(&mut self, for_good: bool) {
        let unanswered = self.socket.take().map(Connection::unanswered).unwrap_or_default();
        for frame in unanswered.into_iter().filter(|_| for_good) {
            match frame {
                Frame::Audio(bytes) => self.handle(Input::Audio(bytes)).await,
                Frame::Text(text) => self.handle(Input::Text(text)).await,
                Frame::Gone { .. } => {}
            }
        }
        self.detached(for_good).await;
    }

    async fn detached(&mut self, for_good: bool) {
        // An acknowledgment of a broken connection would be taken for one of the next.
        self.outbox.retain(|(class, _)| !matches!(class, Class::Ack | Class::Partial));
        self.handle(Input::Detached { for_good }).await;
    }

    async fn heard(&mut self, heard: Heard) {
        if let Err(why) = &heard.text {
            tracing::error!(session = %self.entry.id, "an utterance could not be recognised: {why}");
        }
        self.handle(Input::Heard(heard)).await;
    }

    async fn handle(&mut self, input: Input) {
        let clock = Clock { now: self.began.elapsed(), wall: now() };
        self.session.handle(input, &clock);
        while let Some(output) = self.session.out.pop_front() {
            self.apply(output).await;
        }
        self.count_backlog(self.session.backlog());
        if self.session.ended() && self.socket.is_none() {
            self.over = true;
        }
    }

    async fn apply(&mut self, output: Output) {
        match output {
            Output::Send(class, text) => self.queue(class, text),
            Output::Recognise(job) => self.server.recognise(self.entry.number, job, &self.reply),
            Output::Store(bytes) => self.store(&bytes).await,
            Output::Break(how) => self.breaking = Some(how),
            Output::Stall(time) => self.stalled_until = Some(Instant::now() + time),
            Output::Finished => self.finish().await,
        }
    }

    fn queue(&mut self, class: Class, text: String) {
        let metrics = &self.server.metrics;
        match class {
            Class::Final => _ = metrics.finals.inc(),
            Class::Partial if !self.listened_to() || self.outbox.len() >= OUTBOX_BUSY => {
                metrics.partials_dropped.inc();
                return;
            }
            Class::Partial => _ = metrics.partials.inc(),
            Class::Ack | Class::Other => {}
        }
        self.outbox.push_back((class, text));
        if self.outbox.len() > OUTBOX && self.listened_to() {
            self.socket.as_mut().map(Connection::silence);
            self.server.metrics.outbox_overflows.inc();
            tracing::warn!(session = %self.entry.id, "the client does not read its messages: its connection is cut");
        }
    }

    fn write(&mut self, permit: Option<mpsc::OwnedPermit<ToSocket>>) {
        let Some(permit) = permit else {
            self.socket.as_mut().map(Connection::silence);
            return;
        };
        if let Some((_, text)) = self.outbox.pop_front() {
            permit.send(ToSocket::Text(text));
        } else if let Some(how) = self.breaking.take() {
            permit.send(ToSocket::Break(how));
            self.over = self.session.ended();
        }
    }

    fn listened_to(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.writer().is_some())
    }

    fn count_backlog(&mut self, backlog: f64) {
        self.server.metrics.backlog_seconds.inc_by(backlog - self.backlog);
        self.backlog = backlog;
    }

    async fn store(&mut self, bytes: &Bytes) {
        let format = self.entry.request.format;
        self.server
            .metrics
            .audio_seconds
            .inc_by(format.seconds(bytes.len() as u64) * f64::from(format.channels));
        self.recording.add(bytes, &self.entry.id).await;
    }

    async fn finish(&mut self) {
        self.leave_at = Some(Instant::now() + LEAVE);
        self.recording.finish(&self.entry.id).await;
        let mut result = self.session.result();
        result["messages"] = json!(self.session.outcome.messages());
        let delay = Duration::from_millis(self.session.faults.done_delay_ms);
        let mut doc = self.entry.doc();
        doc.status = Status::Done;
        doc.completed_at = Some(now());
        doc.shown_from = Some((Instant::now() + delay).into_std());
        doc.audio_duration = self.session.seconds();
        doc.result = result;
        drop(doc);
        tracing::info!(session = %self.entry.id, seconds = self.session.seconds(), "speech session ended");
    }
}

/// A place in the socket's queue; `None` = the socket is gone. Never ready without a socket.
async fn reserve(socket: Option<mpsc::Sender<ToSocket>>) -> Option<mpsc::OwnedPermit<ToSocket>> {
    match socket {
        Some(socket) => socket.reserve_owned().await.ok(),
        None => std::future::pending().await,
    }
}

/// Frees the session's slot however its task ends, a panic included.
struct LiveGuard {
    server: Arc<Server>,
    entry: Arc<Entry>,
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        let mut doc = self.entry.doc();
        if doc.status != Status::Done {
            doc.status = Status::Error;
            doc.completed_at = Some(now());
        }
        drop(doc);
        self.server.session_over();
    }
}
