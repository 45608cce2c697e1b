//! The speech service's WebSocket: one task per connection, frames in, events out.

use crate::metrics::{Metrics, Why};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Frames waiting for the socket: 25 s of audio in 100 ms chunks. When full, the pipeline is told that the socket died.
pub const FRAME_QUEUE: usize = 256;
/// The SDKs give up connecting after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that takes nothing for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A final of some minutes is far below this.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// An acknowledgement has 200 bytes, a final a few thousand; the library's default is 128 KiB.
const READ_BUFFER: usize = 8 * 1024;

/// What to write.
#[derive(Debug)]
pub enum Frame {
    /// PCM.
    Audio(Bytes),
    /// A command.
    Text(String),
    /// Close with this code.
    Close(u16),
}

/// What happened on the socket.
#[derive(Debug)]
pub enum SocketEvent {
    /// The upgrade succeeded.
    Opened,
    /// One text message.
    Text(String),
    /// It is over; nothing follows.
    Closed {
        /// WebSocket close code, when the service sent one.
        code: Option<u16>,
        /// HTTP status of a refused upgrade.
        http_status: Option<u16>,
    },
}

/// Runs one connection to its end. Dropping the frames' sender drops the socket without a Close frame,
/// which is how a session stays resumable (close code 1000 would end it). A panic is an end like any other.
pub async fn run(
    connection: u32,
    url: String,
    frames: mpsc::Receiver<Frame>,
    events: mpsc::Sender<(u32, SocketEvent)>,
    metrics: Metrics,
) {
    let serving = AssertUnwindSafe(serve(connection, &url, frames, &events, &metrics)).catch_unwind();
    let (code, http_status) = serving.await.unwrap_or((None, None));
    let reason = match (code, http_status) {
        (Some(1000), _) => "normal",
        (Some(4400..=4499), _) => "session_refused",
        (_, Some(_)) => "upgrade_refused",
        _ => "broken",
    };
    metrics.speech_closes.get_or_create(&Why { reason }).inc();
    let _ = events.send((connection, SocketEvent::Closed { code, http_status })).await;
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

async fn serve(
    connection: u32,
    url: &str,
    mut frames: mpsc::Receiver<Frame>,
    events: &mpsc::Sender<(u32, SocketEvent)>,
    metrics: &Metrics,
) -> Ended {
    let connecting =
        tokio::time::timeout(CONNECT_TIMEOUT, connect_async_with_config(url, Some(config()), true));
    match connecting.await {
        Ok(Ok((socket, _))) => {
            if events.send((connection, SocketEvent::Opened)).await.is_err() {
                return (None, None);
            }
            pump(connection, socket, &mut frames, events, metrics).await
        }
        Ok(Err(Error::Http(response))) => (None, Some(response.status().as_u16())),
        Ok(Err(_)) | Err(_) => (None, None),
    }
}

/// Close code, and HTTP status of a refused upgrade.
type Ended = (Option<u16>, Option<u16>);

async fn pump(
    connection: u32,
    socket: Socket,
    frames: &mut mpsc::Receiver<Frame>,
    events: &mpsc::Sender<(u32, SocketEvent)>,
    metrics: &Metrics,
) -> Ended {
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else { return (None, None) };
                if let Frame::Audio(pcm) = &frame {
                    metrics.speech_bytes.inc_by(pcm.len() as u64);
                }
                match tokio::time::timeout(WRITE_TIMEOUT, sink.send(message(frame))).await {
                    Ok(Ok(())) => {}
                    _ => return (None, None),
                }
            }
            received = stream.next() => match received {
                Some(Ok(Message::Text(text))) => {
                    if events.send((connection, SocketEvent::Text(text.to_string()))).await.is_err() {
                        return (None, None);
                    }
                }
                Some(Ok(Message::Close(close))) => return (close.map(|close| close.code.into()), None),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return (None, None),
            },
        }
    }
}

fn message(frame: Frame) -> Message {
    match frame {
        Frame::Audio(pcm) => Message::Binary(pcm),
        Frame::Text(text) => Message::Text(text.into()),
        Frame::Close(code) => {
            Message::Close(Some(CloseFrame { code: CloseCode::from(code), reason: "".into() }))
        }
    }
}
