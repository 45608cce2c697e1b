//! Authentication and `hello`: what happens once per viewer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use roomscribe_transcript::{Head, LogError, SessionId};
use tokio::time::timeout;

use super::request::{Asked, Tokens};
use super::viewer::{Place, Viewer};
use crate::app::Shared;
use crate::auth::{Grant, Need, Refused};
use crate::connections;
use crate::fanout::Cursor;
use crate::problem::Problem;
use crate::rooms::Seat;
use crate::sessions::SessionDocument;
use crate::wire::{Bye, Heard, Say};

/// Why a viewer is not welcome: what it is told, and how its socket is closed. `None`: it is gone already.
type Unwelcome = Option<Bye>;

pub(super) async fn welcome(
    shared: &Arc<Shared>,
    socket: &mut WebSocket,
    place: &mut connections::Place,
    key: String,
    asked: Option<Asked>,
    tokens: Tokens,
) -> Result<Viewer, Unwelcome> {
    let Some(asked) = asked else {
        let text = "after must be an offset: a whole number from 0";
        return refuse(socket, "badRequest", text, Bye::BAD_REQUEST).await;
    };
    let in_url = shared.config.access_token_in_url;
    let grant = match tokens.grant(&shared.gatekeeper, &asked, in_url, shared.unix()) {
        Ok(Some(grant)) => Ok(grant),
        Ok(None) => first_frame(shared, socket).await?,
        Err(refused) => Err(refused),
    };
    let grant = match grant {
        Ok(grant) => grant,
        Err(refused) => {
            shared.metrics.refuse("authentication");
            return refuse(socket, "auth", &refused.to_string(), Bye::AUTH).await;
        }
    };
    if !shared.gatekeeper.is_open() && !place.belongs_to(&grant.subject) {
        shared.metrics.refuse("viewers_per_token");
        let text = "this token has too many viewers open: close some, or try again later";
        return refuse(socket, "too-many-viewers", text, Bye::TOO_MANY).await;
    }
    match seat(shared, &grant, &key).await {
        Ok((document, seat, head)) => hello(shared, socket, grant, &asked, document, seat, head).await,
        Err(problem) => refuse(socket, problem.kind, &problem.detail, bye_of(&problem)).await,
    }
}

/// Waits for `{"type":"auth","token":…}`.
async fn first_frame(shared: &Shared, socket: &mut WebSocket) -> Result<Result<Grant, Refused>, Unwelcome> {
    let first = async {
        loop {
            match socket.recv().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(_)) | None => return Err(None),
                Some(Err(error)) => return Err(super::viewer::bye_of(error)),
            }
        }
    };
    let Ok(first) = timeout(shared.config.auth_timeout, first).await else {
        return Ok(Err(Refused::Missing));
    };
    Ok(match serde_json::from_str(&first?) {
        Ok(Heard::Auth { token }) => shared.gatekeeper.bearer(Some(&token), shared.unix()),
        _ => Err(Refused::Missing),
    })
}

async fn seat(
    shared: &Arc<Shared>,
    grant: &Grant,
    key: &str,
) -> Result<(SessionDocument, Seat, Head), Problem> {
    let document = shared.find(grant, Need::Read, key).await?;
    let id = SessionId::parse(&document.id).ok_or_else(Problem::not_found)?;
    let head = match shared.log().head(&id).await {
        // A session that has begun, but said nothing yet, may have no log.
        Err(LogError::NoSession) if document.completed_at.is_none() => shared.log().open(&id).await?,
        head => head?,
    };
    let seat = shared.rooms.enter(&id, &shared.config.limits).await?.map_err(|full| {
        shared.metrics.refuse(full.limit());
        Problem::too_many("too-many-viewers", full.to_string(), 5)
    })?;
    Ok((document, seat, head))
}

async fn hello(
    shared: &Arc<Shared>,
    socket: &mut WebSocket,
    grant: Grant,
    asked: &Asked,
    document: SessionDocument,
    seat: Seat,
    head: Head,
) -> Result<Viewer, Unwelcome> {
    let (recovered, from) = place(asked, &head);
    let hello = Say::Hello {
        session: &document.id,
        epoch: &head.epoch,
        oldest: head.oldest.0,
        head: head.head.0,
        from,
        recovered,
        state: &document.state,
        media_zero_at: head.note.as_ref().and_then(|note| note.media_zero_at.as_deref()),
        ping_seconds: shared.config.ping.as_secs().max(1),
        server: &shared.config.server_name,
    };
    send(shared.config.write_timeout, socket, &hello).await?;
    let id = SessionId::parse(&document.id).ok_or(Some(Bye::NO_SESSION))?;
    let cursor = Cursor::new(from, asked.wants_partials());
    Ok(Viewer::new(shared, Place { id, room: document.room_name, seat }, cursor, &grant))
}

/// Whether the viewer's place is still known, and after which offset its stream begins.
fn place(asked: &Asked, head: &Head) -> (bool, u64) {
    let same = asked.epoch.as_ref().is_none_or(|epoch| *epoch == head.epoch);
    let before_oldest = head.oldest.0.saturating_sub(1);
    match same && asked.after >= before_oldest && asked.after <= head.head.0 {
        true => (true, asked.after),
        false => (false, before_oldest),
    }
}

async fn send(limit: Duration, socket: &mut WebSocket, frame: &Say<'_>) -> Result<(), Unwelcome> {
    match timeout(limit, socket.send(Message::Text(frame.text()))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(None),
    }
}

async fn refuse<T>(socket: &mut WebSocket, code: &str, message: &str, bye: Bye) -> Result<T, Unwelcome> {
    let error = Say::Error { code, message, retry: false };
    send(Duration::from_secs(2), socket, &error).await?;
    Err(Some(bye))
}

fn bye_of(problem: &Problem) -> Bye {
    match problem.status {
        401 => Bye::AUTH,
        403 => Bye::FORBIDDEN,
        404 | 409 => Bye::NO_SESSION,
        410 => Bye::GONE,
        429 => Bye::TOO_MANY,
        _ => Bye::INTERNAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomscribe_transcript::{Generation, Offset};

    #[test]
    fn a_place_is_recovered_only_when_the_log_can_continue_it() {
        let head = Head {
            epoch: "9f2c01ab".into(),
            oldest: Offset(5),
            head: Offset(9),
            generation: Generation(1),
            ended: false,
            note: None,
        };
        let table = [
            (4, None, (true, 4)),
            (9, Some("9f2c01ab"), (true, 9)),
            (6, Some("00000000"), (false, 4)),
            (3, None, (false, 4)),
            (10, Some("9f2c01ab"), (false, 4)),
        ];
        for (after, epoch, expected) in table {
            let asked = Asked { after, epoch: epoch.map(str::to_owned), ..Asked::default() };
            assert_eq!(place(&asked, &head), expected, "{after} {epoch:?}");
        }
    }
}
