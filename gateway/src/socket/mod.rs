//! `GET …/stream`: from the request to a welcomed viewer. The viewer's own loop is in `viewer`.

mod request;
mod viewer;
mod welcome;

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::SinkExt;

use crate::app::Shared;
use crate::connections::Place;
use crate::metrics::Code;
use crate::problem::Problem;
use crate::routes::Key;
use crate::server::Peer;
use crate::wire::{Bye, SUBPROTOCOL};
use request::{Asked, Tokens};

/// Per socket; the library's default of 128 KiB to read would be nearly all of a viewer's memory.
const BUFFER: usize = 4 * 1024;
/// Room for the largest record's frame behind a full buffer.
const WRITE_MAX: usize = 2 * roomscribe_transcript::log::RECORD_BYTES_MAX;

/// Refuses with HTTP what is wrong before the upgrade; a browser sees only 1006 then, so what a viewer can mend is
/// told after it, by close codes.
pub(crate) async fn stream(
    State(shared): State<Arc<Shared>>,
    Extension(Peer(peer)): Extension<Peer>,
    Key(key): Key,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| {
        let detail = "This path speaks WebSocket (RFC 6455) only.";
        Problem::new(rejection.status().as_u16(), "not-a-websocket", "Not a WebSocket request", detail)
    })?;
    if *shared.draining.borrow() {
        return Err(Problem::unavailable("This process is draining."));
    }
    let offered: Vec<_> =
        upgrade.requested_protocols().filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
    if !offered.is_empty() && !offered.iter().any(|offer| offer == SUBPROTOCOL) {
        return Err(Problem::bad_request(format!("Offer the subprotocol {SUBPROTOCOL}, or none.")));
    }
    let place = shared.viewers.enter(peer.ip(), shared.now()).map_err(|limit| {
        shared.metrics.refuse(limit);
        Problem::too_many("too-many-viewers", "Too many viewers here: try again later.", 5)
    })?;
    let tokens = Tokens::of(&headers, &offered);
    let asked = asked.map(|Query(asked)| asked).ok();
    let limits = &shared.config.limits;
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(WRITE_MAX)
        .max_message_size(limits.frame_bytes)
        .max_frame_size(limits.frame_bytes);
    Ok(upgrade.on_upgrade(move |socket| serve(shared, socket, place, key, asked, tokens)))
}

/// Welcomes and serves one viewer. What is needed only for the welcome is boxed: it would otherwise be part of every
/// idle viewer's memory.
async fn serve(
    shared: Arc<Shared>,
    mut socket: WebSocket,
    mut place: Place,
    key: String,
    asked: Option<Asked>,
    tokens: Tokens,
) {
    shared.metrics.viewers.inc();
    let welcomed = Box::pin(welcome::welcome(&shared, &mut socket, &mut place, key, asked, tokens)).await;
    let bye = match welcomed {
        Ok(viewer) => viewer.run(&mut socket).await,
        Err(bye) => bye,
    };
    if let Some(bye) = bye {
        Box::pin(close(&shared, &mut socket, bye)).await;
    }
    shared.metrics.viewers.dec();
    drop(place);
}

/// Says goodbye and waits for the peer's own Close, so that no data in flight is turned into a reset.
async fn close(shared: &Shared, socket: &mut WebSocket, Bye(code, reason): Bye) {
    shared.metrics.closed.get_or_create(&Code { code }).inc();
    let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let farewell = async {
        if socket.send(frame).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
        drop(socket.close().await);
    };
    drop(tokio::time::timeout(shared.config.write_timeout.min(FAREWELL), farewell).await);
}

/// How long a closed viewer may take to answer.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(2);
