//! An RTMP server that notes what it gets, and misbehaves on demand: the other end of a simulated egress in tests.

use bytes::Bytes;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{ServerSession, ServerSessionConfig, ServerSessionEvent, ServerSessionResult};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Acknowledgement (type 3) of 4096 bytes, as a whole chunk.
const ACKNOWLEDGEMENT: [u8; 16] = [2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0x10, 0];

/// What it does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// Takes every publish, and acknowledges at once.
    #[default]
    Take,
    /// Takes every publish, and acknowledges nothing.
    TakeSilently,
    /// Refuses the publish.
    Refuse,
    /// Closes before the handshake.
    Close,
    /// Never answers the handshake.
    Hang,
}

/// One publish that it took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Publish {
    /// RTMP app.
    pub app: String,
    /// Stream key.
    pub key: String,
    /// AAC headers.
    pub headers: usize,
    /// Timestamp in ms, and AAC frame.
    pub frames: Vec<(u32, Bytes)>,
    /// The publisher said goodbye (FCUnpublish).
    pub goodbye: bool,
    /// The connection is open.
    pub open: bool,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    publishes: Vec<Publish>,
    attempts: usize,
    connections: JoinSet<()>,
}

/// See the module. It ends with this value.
pub struct RtmpSink {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    listening: JoinSet<()>,
}

impl RtmpSink {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// No port.
    pub async fn start(behaviour: Behaviour) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State { behaviour, ..State::default() }));
        let mut listening = JoinSet::new();
        listening.spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, listening })
    }

    /// URL of an app and a key here.
    pub fn url(&self, app: &str, key: &str) -> String {
        format!("rtmp://{}/{app}/{key}", self.address)
    }

    /// What came, in order of the publishes.
    pub fn publishes(&self) -> Vec<Publish> {
        lock(&self.state).publishes.clone()
    }

    /// TCP connections that came.
    pub fn attempts(&self) -> usize {
        lock(&self.state).attempts
    }

    /// Of connections from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        lock(&self.state).behaviour = behaviour;
    }

    /// Breaks every connection; the port stays open.
    pub fn kick(&self) {
        let mut state = lock(&self.state);
        state.connections.abort_all();
        state.publishes.iter_mut().for_each(|publish| publish.open = false);
    }

    /// The port refuses from now on, and connections break.
    pub async fn close(&mut self) {
        self.listening.shutdown().await;
        self.kick();
    }
}

impl Drop for RtmpSink {
    fn drop(&mut self) {
        self.kick();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((socket, _)) = listener.accept().await {
        let mut locked = lock(&state);
        locked.attempts += 1;
        let behaviour = locked.behaviour;
        if behaviour != Behaviour::Close {
            let shared = Arc::clone(&state);
            locked.connections.spawn(async move {
                let mut at = None;
                // Every ending is noted by `goodbye` and `open`; why a connection broke is the test's own doing.
                let _ = serve(socket, behaviour, |told| note(&shared, &mut at, &told)).await;
                let mut state = lock(&shared);
                if let Some(publish) = at.and_then(|at: usize| state.publishes.get_mut(at)) {
                    publish.open = false;
                }
            });
        }
        while locked.connections.try_join_next().is_some() {}
    }
}

/// Notes what one connection tells; `at` is its publish.
fn note(state: &Mutex<State>, at: &mut Option<usize>, told: &Told<'_>) -> bool {
    let mut state = lock(state);
    if let Told::Publish { app, key } = told {
        *at = Some(state.publishes.len());
        let (app, key) = ((*app).to_owned(), (*key).to_owned());
        state.publishes.push(Publish { app, key, open: true, ..Publish::default() });
    }
    let Some(publish) = at.and_then(|at| state.publishes.get_mut(at)) else { return true };
    match told {
        Told::Publish { .. } => {}
        Told::Audio { body, .. } if body.get(1) == Some(&0) => publish.headers += 1,
        Told::Audio { timestamp, body } => publish.frames.push((*timestamp, body.slice(2.min(body.len())..))),
        Told::Goodbye => publish.goodbye = true,
    }
    true
}

/// What a connection tells whoever serves it.
#[derive(Debug)]
pub enum Told<'a> {
    /// A publish is asked for; `false` refuses it and ends the connection.
    Publish {
        /// RTMP app.
        app: &'a str,
        /// Stream key.
        key: &'a str,
    },
    /// The body of an audio message, after the publish; `false` ends the connection.
    Audio {
        /// Milliseconds.
        timestamp: u32,
        /// FLV audio tag body.
        body: &'a Bytes,
    },
    /// FCUnpublish; `false` ends the connection.
    Goodbye,
}

/// Serves one RTMP connection until it ends.
///
/// # Errors
/// It broke, or is no RTMP.
pub async fn serve(
    socket: TcpStream,
    behaviour: Behaviour,
    tell: impl FnMut(Told<'_>) -> bool + Send,
) -> io::Result<()> {
    Connection { socket, behaviour, tell, is_published: false, is_over: false }.run().await
}

struct Connection<F> {
    socket: TcpStream,
    behaviour: Behaviour,
    tell: F,
    is_published: bool,
    is_over: bool,
}

impl<F: FnMut(Told<'_>) -> bool> Connection<F> {
    async fn run(&mut self) -> io::Result<()> {
        if self.behaviour == Behaviour::Hang {
            std::future::pending::<()>().await;
        }
        let mut input = self.handshake().await?;
        let (mut session, results) = ServerSession::new(ServerSessionConfig::new()).map_err(broken)?;
        self.carry_out(&mut session, results).await?;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let results = session.handle_input(&input).map_err(broken)?;
            self.carry_out(&mut session, results).await?;
            if self.is_over {
                // What was said last is heard before the end.
                self.socket.shutdown().await?;
                return Ok(());
            }
            let count = self.socket.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            input = buffer[..count].to_vec();
        }
    }

    async fn handshake(&mut self) -> io::Result<Vec<u8>> {
        let mut handshake = Handshake::new(PeerType::Server);
        let mut buffer = vec![0; 4096];
        loop {
            let count = self.socket.read(&mut buffer).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match handshake.process_bytes(&buffer[..count]).map_err(broken)? {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    self.socket.write_all(&response_bytes).await?
                }
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    self.socket.write_all(&response_bytes).await?;
                    return Ok(remaining_bytes);
                }
            }
        }
    }

    async fn carry_out(
        &mut self,
        session: &mut ServerSession,
        results: Vec<ServerSessionResult>,
    ) -> io::Result<()> {
        let mut results = std::collections::VecDeque::from(results);
        while let Some(result) = results.pop_front() {
            match result {
                ServerSessionResult::OutboundResponse(packet) => self.socket.write_all(&packet.bytes).await?,
                ServerSessionResult::RaisedEvent(event) => results.extend(self.meet(session, event)?),
                ServerSessionResult::UnhandleableMessageReceived(_) => {}
            }
            if self.behaviour == Behaviour::Take && self.is_published {
                self.socket.write_all(&ACKNOWLEDGEMENT).await?;
                self.behaviour = Behaviour::TakeSilently;
            }
        }
        Ok(())
    }

    fn meet(
        &mut self,
        session: &mut ServerSession,
        event: ServerSessionEvent,
    ) -> io::Result<Vec<ServerSessionResult>> {
        match event {
            ServerSessionEvent::ConnectionRequested { request_id, .. } => {
                return session.accept_request(request_id).map_err(broken);
            }
            ServerSessionEvent::PublishStreamRequested { request_id, app_name, stream_key, .. } => {
                let asked = Told::Publish { app: &app_name, key: &stream_key };
                let refuses = self.behaviour == Behaviour::Refuse;
                self.is_published = !refuses && (self.tell)(asked);
                self.is_over = !refuses && !self.is_published;
                let answer = match self.is_published {
                    true => session.accept_request(request_id),
                    false => {
                        session.reject_request(request_id, "NetStream.Publish.BadName", "already publishing")
                    }
                };
                return answer.map_err(broken);
            }
            ServerSessionEvent::AudioDataReceived { data, timestamp, .. } => {
                self.is_over |= !(self.tell)(Told::Audio { timestamp: timestamp.value, body: &data });
            }
            ServerSessionEvent::UnhandleableAmf0Command { command_name, .. }
                if command_name == "FCUnpublish" =>
            {
                self.is_over |= !(self.tell)(Told::Goodbye);
            }
            _ => {}
        }
        Ok(Vec::new())
    }
}

fn broken(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}
