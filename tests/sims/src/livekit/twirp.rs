//! The Twirp API: which method, which grant, which encoding.

use super::core::{Core, Failure, Reply, ReplyKind};
use super::shell::Shell;
use super::{auth, faults::LostAnswer};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use livekit_api::access_token::VideoGrants;
use livekit_protocol as proto;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

struct Call<'a> {
    shell: &'a Shell,
    grants: Option<VideoGrants>,
    encoding: Encoding,
    body: &'a [u8],
}

/// `POST /twirp/{service}/{method}`.
pub(super) async fn call(
    State(shell): State<Arc<Shell>>,
    Path((service, method)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let response = answer(&shell, &service, &method, &headers, &body).await;
    shell.count(&method, response.status().as_u16());
    response
}

async fn answer(shell: &Shell, service: &str, method: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    if shell.take_proxy_error() {
        let page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
        return (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html")], page).into_response();
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let grants = match auth::check(&shell.keys(), text(header::AUTHORIZATION)) {
        Ok(grants) => grants,
        Err(text) => return (StatusCode::UNAUTHORIZED, text).into_response(),
    };
    let media_type = text(header::CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default();
    let encoding = match media_type.trim() {
        "application/protobuf" => Encoding::Protobuf,
        "application/json" => Encoding::Json,
        other => return refuse(&Failure::new("bad_route", format!("unexpected Content-Type: \"{other}\""))),
    };
    route(Call { shell, grants, encoding, body }, service, method).await
}

async fn route(call: Call<'_>, service: &str, method: &str) -> Response {
    let record = |grants: &VideoGrants| grants.room_record;
    match (service, method) {
        ("livekit.Egress", "StartRoomCompositeEgress") => {
            call.run(|_| record, |core, request, now| core.start_room_composite(request, now)).await
        }
        ("livekit.Egress", "StopEgress") => {
            let stop = |core: &mut Core, request: proto::StopEgressRequest, now| {
                core.stop_egress(&request.egress_id, now)
            };
            call.run(|_| record, stop).await
        }
        ("livekit.Egress", "ListEgress") => {
            let list =
                |core: &mut Core, request: proto::ListEgressRequest, now| core.list_egress(&request, now);
            call.run(|_| record, list).await
        }
        ("livekit.Egress", "UpdateStream") => {
            let update =
                |core: &mut Core, request: proto::UpdateStreamRequest, now| core.update_stream(&request, now);
            call.run(|_| record, update).await
        }
        ("livekit.Egress", "StartTrackEgress") => {
            let none = |_: &mut Core, _: proto::TrackEgressRequest, _| {
                unimplemented::<proto::EgressInfo>("StartTrackEgress")
            };
            call.run(|_| record, none).await
        }
        ("livekit.Egress", "StartEgress") if call.shell.faults().unified_start => {
            let none = |_: &mut Core, _: proto::StartEgressRequest, _| {
                unimplemented::<proto::EgressInfo>("StartEgress")
            };
            call.run(|_| record, none).await
        }
        ("livekit.RoomService", _) => rooms(call, method).await,
        _ => no_route(service, method),
    }
}

async fn rooms(call: Call<'_>, method: &str) -> Response {
    let create = |grants: &VideoGrants| grants.room_create;
    match method {
        "CreateRoom" => {
            let make =
                |core: &mut Core, request: proto::CreateRoomRequest, now| core.create_room(&request, now);
            call.run(|_| create, make).await
        }
        "ListRooms" => {
            let list = |core: &mut Core, request: proto::ListRoomsRequest, _| core.list_rooms(&request);
            call.run(|_| |grants: &VideoGrants| grants.room_list, list).await
        }
        "DeleteRoom" => {
            let delete =
                |core: &mut Core, request: proto::DeleteRoomRequest, now| core.delete_room(&request, now);
            call.run(|_| create, delete).await
        }
        "ListParticipants" => {
            let list = |core: &mut Core, request: proto::ListParticipantsRequest, _| {
                core.list_participants(&request)
            };
            call.run(|request| admin(request.room.clone()), list).await
        }
        "GetParticipant" => {
            let get =
                |core: &mut Core, request: proto::RoomParticipantIdentity, _| core.get_participant(&request);
            call.run(|request| admin(request.room.clone()), get).await
        }
        _ => no_route("livekit.RoomService", method),
    }
}

fn admin(room: String) -> impl Fn(&VideoGrants) -> bool {
    move |grants| grants.room_admin && grants.room == room
}

impl Call<'_> {
    async fn run<Q, A, G>(
        self,
        grant: impl FnOnce(&Q) -> G,
        act: impl FnOnce(&mut Core, Q, Duration) -> Reply<A>,
    ) -> Response
    where
        Q: Message + Default + DeserializeOwned,
        A: Message + Serialize,
        G: Fn(&VideoGrants) -> bool,
    {
        let Some(request) = self.decode::<Q>() else {
            return refuse(&Failure::new("malformed", "the request could not be decoded"));
        };
        if !self.grants.as_ref().is_some_and(grant(&request)) {
            return refuse(&Failure::new("unauthenticated", "permissions denied"));
        }
        let reply = self.shell.act(|core, now| act(core, request, now));
        tokio::time::sleep(self.shell.clock.real(reply.after)).await;
        match reply.kind {
            ReplyKind::Message(message) => self.encode(&message),
            ReplyKind::Failure(failure) => refuse(&failure),
            ReplyKind::Lost => lose(self.shell.faults().lost_answer).await,
        }
    }

    fn decode<Q: Message + Default + DeserializeOwned>(&self) -> Option<Q> {
        match self.encoding {
            Encoding::Protobuf => Q::decode(self.body).ok(),
            Encoding::Json => serde_json::from_slice(self.body).ok(),
        }
    }

    fn encode<A: Message + Serialize>(&self, message: &A) -> Response {
        match self.encoding {
            Encoding::Protobuf => {
                ([(header::CONTENT_TYPE, "application/protobuf")], message.encode_to_vec()).into_response()
            }
            Encoding::Json => {
                let json = serde_json::to_value(message).unwrap_or_default();
                axum::Json(snake_case(json)).into_response()
            }
        }
    }
}

/// Axum cannot close a connection without an answer: a body that breaks comes nearest, and is no answer either.
async fn lose(how: LostAnswer) -> Response {
    match how {
        LostAnswer::Hang => std::future::pending().await,
        LostAnswer::Close => {
            let broken = futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::other("lost")) });
            axum::body::Body::from_stream(broken).into_response()
        }
    }
}

fn unimplemented<A>(method: &str) -> Reply<A> {
    let text = format!("{method} is not simulated");
    Reply { after: Duration::ZERO, kind: ReplyKind::Failure(Failure::new("unimplemented", text)) }
}

fn no_route(service: &str, method: &str) -> Response {
    refuse(&Failure::new("bad_route", format!("no handler for path \"/twirp/{service}/{method}\"")))
}

fn refuse(failure: &Failure) -> Response {
    let status = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, axum::Json(serde_json::json!({"code": failure.code, "msg": failure.message}))).into_response()
}

/// Twirp's Go server answers JSON with the names of the .proto file, pbjson writes camelCase.
fn snake_case(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, value)| (snake(&key), snake_case(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(snake_case).collect()),
        other => other,
    }
}

fn snake(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for character in key.chars() {
        if character.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}
