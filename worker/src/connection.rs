//! One RTMP connection: the socket around `roomscribe_rtmp::ServerSession`.
//!
//! Reads are coalesced to about one speech chunk once audio flows: waking for every 23 ms frame costs more than
//! decoding it. Between two reads the socket rests ([`Channel::rest`]); when a read finds nothing it is watched again.
//! A read that fills the buffer is followed by the next at once: video beside the audio must not pile up.

use crate::channel::Channel;
use crate::clock;
use crate::log_budget::LogBudget;
use crate::metrics::{Metrics, Why};
use crate::presence::Presence;
use crate::registry::{Admission, AudioMessage, Ingest, Refusal, Registry};
use crate::tls::Tls;
use crate::tls_problem::TlsProblem;
use roomscribe_rtmp::{Event, Limits, Rejection, ServerSession, SessionError};
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Audio gathers for at least this long, and at most for one [`clock::SLOT`] more: about one speech chunk.
const COALESCE: Duration = Duration::from_millis(64);
/// For so long after the publish every read is handed on at once: the first words need not wait for a timer.
const PROMPT: Duration = Duration::from_secs(1);
/// A peer that does not take our few bytes within this is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a peer may go on talking after we have closed our side.
const LINGER: Duration = Duration::from_secs(1);
/// First byte of TLS.
const TLS_HELLO: u8 = 0x16;
/// Enough for a 100 ms read of audio with video beside it; more waits in the kernel.
const READ_BUFFER: usize = 64 * 1024;
/// Before a publish: a handshake has 3 kB, and strangers are to cost little.
const FIRST_BUFFER: usize = 4 * 1024;

/// What every connection is given.
#[derive(Debug, Clone, Default)]
pub struct ConnectionSettings {
    /// Protocol limits.
    pub limits: Limits,
    /// The port speaks RTMPS.
    pub tls: Option<Tls>,
    /// Log lines about connections that have no right to publish.
    pub strangers: LogBudget,
    /// Log lines about publishers that come and go.
    pub publishers: LogBudget,
}

/// How a connection ended.
#[derive(Debug)]
enum Ending {
    /// The peer closed, or said goodbye before.
    Left { clean: bool },
    /// We closed it.
    Refused(&'static str),
    /// We closed it, and it is to be gone at once.
    MadeRoom,
}

struct Connection {
    number: u64,
    socket: Channel,
    session: ServerSession,
    registry: Registry,
    metrics: Metrics,
    settings: ConnectionSettings,
    presence: Arc<Presence>,
    admission: Option<Admission>,
    /// When the publish was accepted.
    published: Option<Duration>,
    unpublished: bool,
}

/// Serves one socket to its end.
pub async fn run(
    socket: TcpStream,
    number: u64,
    registry: Registry,
    settings: ConnectionSettings,
    metrics: Metrics,
    presence: Arc<Presence>,
) {
    let socket = match Channel::new(socket, settings.tls.as_ref()) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "TLS cannot be set up; please report this"),
    };
    let mut entropy = [0u8; 32];
    entropy.fill_with(|| fastrand::u8(..));
    let session = ServerSession::new(settings.limits.clone(), entropy, clock::now());
    let open = metrics.connections_open.clone();
    let mut connection = Connection {
        number,
        socket,
        session,
        registry,
        metrics,
        settings,
        presence: presence.clone(),
        admission: None,
        published: None,
        unpublished: false,
    };
    open.inc();
    let ending = connection.serve().await;
    connection.finish(ending).await;
    open.dec();
    presence.over();
}

impl Connection {
    async fn serve(&mut self) -> Ending {
        match self.converse().await {
            Ok(ending) | Err(ending) => ending,
        }
    }

    async fn converse(&mut self) -> Result<Ending, Ending> {
        let mut buffer = vec![0u8; FIRST_BUFFER];
        loop {
            let count = match self.read(&mut buffer).await? {
                0 => return Ok(Ending::Left { clean: self.unpublished }),
                count => count,
            };
            self.metrics.rtmp_bytes.inc_by(count as u64);
            let received = self.session.receive(&buffer[..count], clock::now());
            let handled = self.handle_events().await;
            let written = self.flush().await;
            if let Err(error) = received {
                return Err(self.protocol_error(&error));
            }
            handled?;
            if written.is_err() {
                return Ok(Ending::Left { clean: self.unpublished });
            }
            if count < buffer.len() {
                self.pause().await?;
            }
            if self.admission.is_some() && buffer.len() < READ_BUFFER {
                buffer = vec![0u8; READ_BUFFER];
            }
        }
    }

    /// Once audio flows: lets a speech chunk's worth of it gather before the next read.
    async fn pause(&mut self) -> Result<(), Ending> {
        if self.unpublished || self.published.is_none_or(|published| clock::now() < published + PROMPT) {
            return Ok(());
        }
        self.socket.rest().map_err(|_| Ending::Left { clean: self.unpublished })?;
        tokio::select! {
            () = evicted(&mut self.admission) => Err(Ending::Refused("taken_over")),
            () = tokio::time::sleep_until(clock::slot_after(clock::now() + COALESCE)) => Ok(()),
        }
    }

    /// What has gathered; else waits for bytes, the session's deadline, or another connection's take-over.
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Ending> {
        loop {
            // After a goodbye the deadline counts, however much the peer still says.
            if !self.unpublished
                && let Some(gathered) = self.socket.read_timed(buffer)
            {
                return gathered.map_err(|error| self.broken(&error));
            }
            let deadline =
                self.session.next_deadline().unwrap_or_else(|| clock::now() + Duration::from_secs(60));
            tokio::select! {
                () = evicted(&mut self.admission) => return Err(Ending::Refused("taken_over")),
                () = self.presence.asked_to_leave(), if self.admission.is_none() => return Err(Ending::MadeRoom),
                read = self.socket.read(buffer) => return read.map_err(|error| self.broken(&error)),
                () = tokio::time::sleep_until(clock::instant(deadline)) => {
                    if let Err(error) = self.session.handle_timeout(clock::now()) {
                        return Err(self.protocol_error(&error));
                    }
                }
            }
        }
    }

    async fn handle_events(&mut self) -> Result<(), Ending> {
        let mut messages = Vec::new();
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Publish { app, stream_key, .. } => self.publish(&app, stream_key.expose()).await?,
                Event::Audio { timestamp_ms, body } => messages.push(AudioMessage { timestamp_ms, body }),
                Event::Unpublished => self.unpublished = true,
                Event::Metadata(_) => {}
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        self.metrics.audio_messages.inc_by(messages.len() as u64);
        self.tell(Ingest::Audio { connection: self.number, messages }).await
    }

    async fn publish(&mut self, app: &str, key: &str) -> Result<(), Ending> {
        match self.registry.admit(self.number, app, key) {
            Ok(admission) => {
                let attempt = admission.attempt;
                if admission.took_over {
                    self.metrics.takeovers.inc();
                }
                if let Some(withheld) = self.settings.publishers.allow(clock::now()) {
                    tracing::info!(session = %admission.session, attempt, took_over = admission.took_over, withheld, "publisher accepted");
                }
                self.presence.published();
                self.admission = Some(admission);
                self.metrics.publishers.inc();
                self.published = Some(clock::now());
                self.session.accept_publish(clock::now());
                self.tell(Ingest::Started { connection: self.number, attempt }).await
            }
            Err(refusal) => {
                self.session.reject_publish(match refusal {
                    Refusal::Denied => Rejection::Denied,
                    Refusal::Draining | Refusal::Storage | Refusal::Leaving => Rejection::BadName,
                });
                self.say_refused(refusal);
                Err(Ending::Refused(refusal.metric_label()))
            }
        }
    }

    fn say_refused(&self, refusal: Refusal) {
        let Some(withheld) = self.settings.strangers.allow(clock::now()) else { return };
        let (connection, reason, advice) = (self.number, refusal.metric_label(), refusal.advice());
        if refusal.needs_somebody() {
            tracing::warn!(connection, reason, withheld, "{advice}");
        } else {
            tracing::info!(connection, reason, withheld, "{advice}");
        }
    }

    async fn tell(&mut self, ingest: Ingest) -> Result<(), Ending> {
        let Some(admission) = &self.admission else { return Ok(()) };
        admission.ingest.send(ingest).await.map_err(|_| Ending::Refused("session_over"))
    }

    async fn flush(&mut self) -> io::Result<()> {
        while !self.session.outbound().is_empty() {
            let write = self.socket.write(self.session.outbound());
            let count =
                tokio::time::timeout(WRITE_TIMEOUT, write).await.map_err(|_| io::ErrorKind::TimedOut)??;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.session.sent(count);
        }
        Ok(())
    }

    fn protocol_error(&self, error: &SessionError) -> Ending {
        if self.socket.is_handshaking() {
            self.tell_closed(&"the TLS handshake did not end in time", false);
            return Ending::Refused("tls_handshake_timeout");
        }
        self.tell_closed(error, matches!(error, SessionError::WrongVersion { byte: TLS_HELLO }));
        Ending::Refused(error.metric_label())
    }

    /// The socket gave no bytes: the peer has gone, or what it says is not TLS.
    fn broken(&self, error: &io::Error) -> Ending {
        let Some(problem) = error.get_ref().and_then(|error| error.downcast_ref::<TlsProblem>()) else {
            return Ending::Left { clean: self.unpublished };
        };
        self.tell_closed(problem, problem.is_set_up_wrong());
        Ending::Refused(problem.metric_label())
    }

    /// A publisher that somebody has set up wrong is worth a warning; strangers are not.
    fn tell_closed(&self, error: &dyn Display, set_up_wrong: bool) {
        let budget = match self.admission {
            Some(_) => &self.settings.publishers,
            None => &self.settings.strangers,
        };
        let connection = self.number;
        match budget.allow(clock::now()) {
            Some(withheld) if set_up_wrong => {
                tracing::warn!(connection, %error, withheld, "RTMP connection closed: mend the publisher's settings");
            }
            Some(withheld) => {
                tracing::info!(connection, %error, withheld, "RTMP connection closed: the publisher broke a rule or a limit");
            }
            None => {}
        }
    }

    async fn finish(mut self, ending: Ending) {
        let clean = match ending {
            Ending::Left { clean } => clean,
            Ending::MadeRoom => {
                self.metrics.connections_refused.get_or_create(&Why { reason: "made_room" }).inc();
                return;
            }
            Ending::Refused(reason) => {
                self.metrics.connections_refused.get_or_create(&Why { reason }).inc();
                self.unpublished
            }
        };
        let _ = self.flush().await;
        if let Some(admission) = self.admission.take() {
            self.metrics.publishers.dec();
            self.registry.left(&admission.session, self.number);
            let _ = admission.ingest.send(Ingest::Ended { connection: self.number, clean }).await;
            if let Some(withheld) = self.settings.publishers.allow(clock::now()) {
                tracing::info!(session = %admission.session, clean, withheld, "publisher left");
            }
        }
        self.socket.close(LINGER).await;
    }
}

/// Never resolves before a publish.
async fn evicted(admission: &mut Option<Admission>) {
    let Some(admission) = admission else { return std::future::pending().await };
    let evicted: &mut oneshot::Receiver<()> = &mut admission.evicted;
    let _ = evicted.await;
}
