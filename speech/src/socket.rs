//! One WebSocket connection of a session.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;

use crate::actor::{Control, Frame, ToSocket};
use crate::faults::Break;
use crate::reset::Resetter;
use crate::store::Entry;

/// Largest frame: 1 MiB, then 1009 (seen at Gladia by its own SDK).
const FRAME_BYTES: usize = 1024 * 1024;
/// What is still read of an over-long frame, so that the close frame reaches the client; more is cut off.
pub(crate) const FRAME_READ_BYTES: usize = 4 * FRAME_BYTES;
/// Messages on their way to the socket.
const TO_SOCKET: usize = 256;
/// How long the client has for its side of the closing handshake.
const CLOSING: Duration = Duration::from_secs(5);

type Reader = SplitStream<WebSocket>;
type Writer = SplitSink<WebSocket, Message>;

/// Serves a connection to its end. `connection` is unique in the server.
pub(crate) async fn serve(socket: WebSocket, entry: Arc<Entry>, connection: u64, resetter: Option<Resetter>) {
    let (to_socket, outgoing) = mpsc::channel(TO_SOCKET);
    let (mut writer, mut reader) = socket.split();
    if entry.control.send(Control::Attach { connection, socket: to_socket }).await.is_err() {
        return close(&mut writer, &mut reader, 4403).await;
    }
    let ending = tokio::select! {
        ending = read(&mut reader, &entry, connection) => ending,
        ending = write(&mut writer, outgoing) => ending,
    };
    let for_good = match &ending {
        Ending::Client { for_good } => *for_good,
        Ending::Break(Break::Close(code)) => *code == 1000 || (4400..4500).contains(code),
        Ending::Break(_) => false,
    };
    // Told before the closing handshake, which a client may drag out. The session may have ended before its socket:
    // then no one listens.
    let _ = entry.frames.send((connection, Frame::Gone { for_good })).await;
    match (ending, resetter) {
        (Ending::Break(Break::Close(code)), _) => close(&mut writer, &mut reader, code).await,
        (Ending::Break(Break::Reset), Some(resetter)) => resetter.reset(),
        _ => {}
    }
}

enum Ending {
    /// The client closed; 1000 means that it is done.
    Client {
        for_good: bool,
    },
    Break(Break),
}

async fn read(reader: &mut Reader, entry: &Entry, connection: u64) -> Ending {
    while let Some(message) = reader.next().await {
        let frame = match message {
            Ok(Message::Binary(b)) if b.len() > FRAME_BYTES => return Ending::Break(Break::Close(1009)),
            Ok(Message::Text(t)) if t.len() > FRAME_BYTES => return Ending::Break(Break::Close(1009)),
            Ok(Message::Binary(bytes)) => Frame::Audio(bytes),
            Ok(Message::Text(text)) => Frame::Text(text.to_string()),
            Ok(Message::Ping(_) | Message::Pong(_)) => continue,
            Ok(Message::Close(frame)) => {
                return Ending::Client { for_good: frame.is_some_and(|f| f.code == 1000) };
            }
            Err(e) if too_long(&e) => return Ending::Break(Break::Close(1009)),
            Err(_) => return Ending::Client { for_good: false },
        };
        if entry.frames.send((connection, frame)).await.is_err() {
            return Ending::Break(Break::Close(4403));
        }
    }
    Ending::Client { for_good: false }
}

fn too_long(error: &axum::Error) -> bool {
    // axum hides tungstenite's error type; its text is all there is.
    error.to_string().contains("too long")
}

async fn write(writer: &mut Writer, mut outgoing: mpsc::Receiver<ToSocket>) -> Ending {
    while let Some(message) = outgoing.recv().await {
        match message {
            ToSocket::Text(text) => {
                if writer.send(Message::text(text)).await.is_err() {
                    // What the client sent before it went, its last word too, is still there to be read.
                    drop(outgoing);
                    return std::future::pending().await;
                }
            }
            ToSocket::Break(how) => return Ending::Break(how),
        }
    }
    // The session cut us off: its client did not read.
    Ending::Break(Break::Drop)
}

/// The closing handshake: our close frame, then what the client still sends until its own.
pub(crate) async fn close(writer: &mut Writer, reader: &mut Reader, code: u16) {
    let frame = CloseFrame { code, reason: reason(code).into() };
    let handshake = async {
        if writer.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(message)) = reader.next().await {
                if matches!(message, Message::Close(_)) {
                    break;
                }
            }
        }
    };
    // A client that never answers is dropped.
    let _ = tokio::time::timeout(CLOSING, handshake).await;
}

fn reason(code: u16) -> &'static str {
    match code {
        1000 => "Session ended",
        1009 => "Message too big: at most 1 MiB",
        1011 => "Internal error or no audio for too long",
        1012 => "Service restart",
        4403 => "Session already ended",
        4409 => "Replaced by a newer connection",
        _ => "",
    }
}
