//! rml_rtmp's client over tokio: handshake, connect, publish, messages.

use crate::chunks::{AudioChunks, goodbye};
use crate::egress::PublishError;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
    StreamMetadata,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// From TCP connect to Publish.Start.
const SET_UP: Duration = Duration::from_secs(10);
/// How long the server may take to close its side.
const GOODBYE: Duration = Duration::from_secs(2);

/// A connection that publishes.
pub struct Client {
    socket: TcpStream,
    session: ClientSession,
    key: String,
    audio: Option<AudioChunks>,
    acknowledged: bool,
}

/// What an RTMP URL says: everything up to the last slash names the app, the rest is the key.
#[derive(Debug, Clone)]
pub struct Target {
    /// `HOST:PORT`.
    pub address: String,
    /// Everything of the path up to the last slash.
    pub app: String,
    /// The rest.
    pub key: String,
}

/// Reads an RTMP URL.
pub fn target(url: &str) -> Result<Target, PublishError> {
    let rest = url.strip_prefix("rtmp://").ok_or(PublishError::Url)?;
    let (host, path) = rest.split_once('/').ok_or(PublishError::Url)?;
    let (app, key) = path.rsplit_once('/').ok_or(PublishError::Url)?;
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:1935") };
    Ok(Target { address, app: app.to_owned(), key: key.to_owned() })
}

impl Client {
    /// Connects and publishes.
    pub async fn publish(target: &Target) -> Result<Self, PublishError> {
        Self::publish_within(target, SET_UP).await
    }

    /// Connects and publishes, from TCP connect to Publish.Start in `patience`.
    pub(crate) async fn publish_within(target: &Target, patience: Duration) -> Result<Self, PublishError> {
        timeout(patience, Self::set_up(target)).await.map_err(|_| PublishError::NoAnswer)?
    }

    /// The server has sent an Acknowledgement.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }

    async fn set_up(target: &Target) -> Result<Self, PublishError> {
        let mut socket = TcpStream::connect(&target.address).await?;
        socket.set_nodelay(true)?;
        let rest = handshake(&mut socket).await?;
        let config = ClientSessionConfig {
            chunk_size: 128,
            tc_url: Some(format!("rtmp://{}/{}", target.address, target.app)),
            ..ClientSessionConfig::new()
        };
        let (session, initial) = ClientSession::new(config).map_err(protocol)?;
        let mut client = Self { socket, session, key: target.key.clone(), audio: None, acknowledged: false };
        client.write(initial).await?;
        let results = client.session.handle_input(&rest).map_err(protocol)?;
        client.write(results).await?;
        let connect = client.session.request_connection(target.app.clone()).map_err(protocol)?;
        client.write(vec![connect]).await?;
        client.negotiate(&target.key).await?;
        Ok(client)
    }

    async fn negotiate(&mut self, key: &str) -> Result<(), PublishError> {
        loop {
            for event in self.read().await? {
                match event {
                    ClientSessionEvent::ConnectionRequestAccepted => {
                        let publish =
                            self.session.request_publishing(key.to_owned(), PublishRequestType::Live);
                        self.write(vec![publish.map_err(protocol)?]).await?;
                    }
                    ClientSessionEvent::ConnectionRequestRejected { description } => {
                        return Err(PublishError::Refused(description));
                    }
                    ClientSessionEvent::UnhandleableOnStatusCode { code } => {
                        return Err(PublishError::Refused(code));
                    }
                    ClientSessionEvent::PublishRequestAccepted => return Ok(()),
                    _ => {}
                }
            }
        }
    }

    /// `onMetaData` that claims AAC.
    pub async fn metadata(&mut self) -> Result<(), PublishError> {
        let mut metadata = StreamMetadata::new();
        metadata.audio_codec_id = Some(10);
        let message = self.session.publish_metadata(&metadata).map_err(protocol)?;
        if let ClientSessionResult::OutboundResponse(packet) = &message {
            self.audio = Some(AudioChunks::new(stream_of(&packet.bytes)?));
        }
        self.write(vec![message]).await.map(drop)
    }

    /// One FLV AAC body, after the metadata; `kind` 0 is the header, 1 a frame.
    pub async fn audio(&mut self, kind: u8, payload: &[u8], timestamp_ms: u32) -> Result<(), PublishError> {
        self.message([&[0xaf, kind], payload].concat(), timestamp_ms).await
    }

    /// Any FLV audio tag body, after the metadata.
    pub async fn message(&mut self, body: Vec<u8>, timestamp_ms: u32) -> Result<(), PublishError> {
        let chunks = self.audio.as_mut().ok_or_else(|| protocol("audio before the metadata"))?;
        let bytes = chunks.message(timestamp_ms, &body);
        Ok(self.socket.write_all(&bytes).await?)
    }

    /// FCUnpublish and deleteStream with the name, then close.
    pub async fn goodbye(mut self) -> Result<(), PublishError> {
        self.socket.write_all(&goodbye(&self.key)).await?;
        self.socket.shutdown().await?;
        // Closing with something unread is a reset, and the server would lose the last frames.
        let mut rest = [0; 4096];
        let closed = async { while matches!(self.socket.read(&mut rest).await, Ok(count) if count > 0) {} };
        let _ = timeout(GOODBYE, closed).await;
        Ok(())
    }

    /// Waits for bytes from the server; dropping the wait loses none.
    pub(crate) async fn input(&mut self, buffer: &mut [u8]) -> Result<usize, PublishError> {
        match self.socket.read(buffer).await? {
            0 => Err(PublishError::Closed),
            count => Ok(count),
        }
    }

    /// Takes what [`Self::input`] read.
    pub(crate) async fn take(&mut self, bytes: &[u8]) -> Result<Vec<ClientSessionEvent>, PublishError> {
        let results = self.session.handle_input(bytes).map_err(protocol)?;
        let events = self.write(results).await?;
        self.acknowledged |=
            events.iter().any(|event| matches!(event, ClientSessionEvent::AcknowledgementReceived { .. }));
        Ok(events)
    }

    /// What the server says meanwhile; resolves with an error when it closes.
    pub async fn listen(&mut self) -> PublishError {
        loop {
            if let Err(error) = self.read().await {
                return error;
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<ClientSessionEvent>, PublishError> {
        let mut buffer = [0; 4096];
        let count = self.input(&mut buffer).await?;
        self.take(&buffer[..count]).await
    }

    async fn write(
        &mut self,
        results: Vec<ClientSessionResult>,
    ) -> Result<Vec<ClientSessionEvent>, PublishError> {
        let mut events = Vec::new();
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => self.socket.write_all(&packet.bytes).await?,
                ClientSessionResult::RaisedEvent(event) => events.push(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        Ok(events)
    }
}

async fn handshake(socket: &mut TcpStream) -> Result<Vec<u8>, PublishError> {
    let mut handshake = Handshake::new(PeerType::Client);
    let hello = handshake.generate_outbound_p0_and_p1().map_err(protocol)?;
    socket.write_all(&hello).await?;
    let mut buffer = [0; 4096];
    loop {
        let count = socket.read(&mut buffer).await?;
        if count == 0 {
            return Err(PublishError::Closed);
        }
        match handshake.process_bytes(&buffer[..count]).map_err(protocol)? {
            HandshakeProcessResult::InProgress { response_bytes } => {
                socket.write_all(&response_bytes).await?
            }
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                socket.write_all(&response_bytes).await?;
                return Ok(remaining_bytes);
            }
        }
    }
}

/// The message stream's number: rml_rtmp keeps it to itself, but the first data message has a full header (fmt 0).
fn stream_of(packet: &[u8]) -> Result<u32, PublishError> {
    match packet {
        [first, _, _, _, _, _, _, _, a, b, c, d, ..] if first >> 6 == 0 => {
            Ok(u32::from_le_bytes([*a, *b, *c, *d]))
        }
        _ => Err(protocol("the metadata has no full header")),
    }
}

fn protocol(error: impl std::fmt::Display) -> PublishError {
    PublishError::Protocol(error.to_string())
}
