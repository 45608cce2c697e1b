//! One RTMP connection: the socket around `roomscribe_rtmp::ServerSession`.
//!
//! Reads are coalesced to the 100 ms speech chunk once audio flows: waking for every 23 ms frame costs more than
//! decoding it. `TCP_QUICKACK` before each read saves about 130 ms of a publisher's set-up.

use crate::clock;
use crate::metrics::{Metrics, Why};
use crate::registry::{Admission, AudioMessage, Ingest, Refusal, Registry};
use roomscribe_rtmp::{Event, Limits, Rejection, ServerSession, SessionError};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// One wake-up per speech chunk.
const COALESCE: Duration = Duration::from_millis(100);
/// A peer that does not take our few bytes within this is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a peer may go on talking after we have closed our side.
const LINGER: Duration = Duration::from_secs(1);
/// Enough for a 100 ms read of audio with video beside it; more waits in the kernel.
const READ_BUFFER: usize = 64 * 1024;

/// What every connection is given.
#[derive(Debug, Clone, Default)]
pub struct ConnectionSettings {
    /// Protocol limits.
    pub limits: Limits,
}

/// How a connection ended.
#[derive(Debug)]
enum Ending {
    /// The peer closed, or said goodbye before.
    Left { clean: bool },
    /// We closed it.
    Refused(&'static str),
}

struct Connection {
    number: u64,
    socket: TcpStream,
    session: ServerSession,
    registry: Registry,
    metrics: Metrics,
    admission: Option<Admission>,
    unpublished: bool,
}

/// Serves one socket to its end.
pub async fn run(
    socket: TcpStream,
    number: u64,
    registry: Registry,
    settings: ConnectionSettings,
    metrics: Metrics,
) {
    let _ = socket.set_nodelay(true);
    let mut entropy = [0u8; 32];
    entropy.fill_with(|| fastrand::u8(..));
    let session = ServerSession::new(settings.limits, entropy, clock::now());
    let mut connection =
        Connection { number, socket, session, registry, metrics, admission: None, unpublished: false };
    let ending = connection.serve().await;
    connection.finish(ending).await;
}

impl Connection {
    async fn serve(&mut self) -> Ending {
        let mut buffer = vec![0u8; READ_BUFFER];
        loop {
            let count = match self.read(&mut buffer).await {
                Ok(0) => return Ending::Left { clean: self.unpublished },
                Ok(count) => count,
                Err(ending) => return ending,
            };
            self.metrics.rtmp_bytes.inc_by(count as u64);
            let received = self.session.receive(&buffer[..count], clock::now());
            let handled = self.handle_events().await;
            let written = self.flush().await;
            if let Err(error) = received {
                return self.protocol_error(&error);
            }
            if let Err(ending) = handled {
                return ending;
            }
            if written.is_err() {
                return Ending::Left { clean: self.unpublished };
            }
            if self.admission.is_some() {
                tokio::time::sleep(COALESCE).await;
            }
        }
    }

    /// Waits for bytes, the session's deadline, or another connection's take-over.
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Ending> {
        loop {
            let _ = socket2::SockRef::from(&self.socket).set_tcp_quickack(true);
            let deadline =
                self.session.next_deadline().unwrap_or_else(|| clock::now() + Duration::from_secs(60));
            tokio::select! {
                () = evicted(&mut self.admission) => return Err(Ending::Refused("taken_over")),
                ready = self.socket.readable() => match ready.and_then(|()| self.socket.try_read(buffer)) {
                    Ok(count) => return Ok(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return Err(Ending::Left { clean: self.unpublished }),
                },
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
                tracing::info!(session = %admission.session, attempt, took_over = admission.took_over, "publisher accepted");
                self.admission = Some(admission);
                self.metrics.publishers.inc();
                self.session.accept_publish(clock::now());
                self.tell(Ingest::Started { connection: self.number, attempt }).await
            }
            Err(refusal) => {
                self.session.reject_publish(match refusal {
                    Refusal::Denied => Rejection::Denied,
                    Refusal::Draining => Rejection::BadName,
                });
                Err(Ending::Refused(refusal.metric_label()))
            }
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
        tracing::info!(connection = self.number, %error, "RTMP connection closed: the publisher broke a rule or a limit");
        Ending::Refused(error.metric_label())
    }

    /// Closing with unread bytes is a reset, and the peer would lose what is on its way: our refusal.
    async fn close(&mut self) {
        let _ = self.socket.shutdown().await;
        let mut rest = [0u8; 4096];
        let drained = async { while matches!(self.socket.read(&mut rest).await, Ok(count) if count > 0) {} };
        let _ = tokio::time::timeout(LINGER, drained).await;
    }

    async fn finish(mut self, ending: Ending) {
        let _ = self.flush().await;
        let clean = match ending {
            Ending::Left { clean } => clean,
            Ending::Refused(reason) => {
                self.metrics.connections_refused.get_or_create(&Why { reason }).inc();
                self.unpublished
            }
        };
        if let Some(admission) = self.admission.take() {
            self.metrics.publishers.dec();
            self.registry.left(&admission.session, self.number);
            let _ = admission.ingest.send(Ingest::Ended { connection: self.number, clean }).await;
            tracing::info!(session = %admission.session, clean, "publisher left");
        }
        self.close().await;
    }
}

/// Never resolves before a publish.
async fn evicted(admission: &mut Option<Admission>) {
    let Some(admission) = admission else { return std::future::pending().await };
    let evicted: &mut oneshot::Receiver<()> = &mut admission.evicted;
    let _ = evicted.await;
}
