//! The simulated LiveKit as a program: HTTP, JSON and protobuf, tokens, and the control API.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use livekit_api::access_token::{AccessToken, VideoGrants};
use livekit_protocol as proto;
use prost::Message;
use roomscribe_sims::rtmp_sink::{Behaviour, RtmpSink};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const SECRET: &str = "a-secret-of-thirty-two-characters";

struct Program {
    _child: Child,
    url: String,
    http: reqwest::Client,
}

impl Program {
    async fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livekit_sim"));
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--api-key",
            "key",
            "--api-secret",
            SECRET,
            "--speed",
            "50",
        ]);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line =
            tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.unwrap().unwrap().unwrap();
        let url = line.strip_prefix("listening ").unwrap().to_owned();
        Self { _child: child, url, http: reqwest::Client::new() }
    }

    async fn sim(&self, method: reqwest::Method, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.request(method, format!("{}/sim/{path}", self.url)).json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    async fn join(&self, person: Value) {
        assert_eq!(self.sim(reqwest::Method::POST, "rooms/standup/participants", person).await.0, 200);
    }

    async fn twirp(&self, token: Option<&str>, method: &str, body: Value) -> (u16, Value, String) {
        let request = self.http.post(format!("{}/twirp/livekit.{method}", self.url)).json(&body);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default(), text)
    }
}

fn token(grants: VideoGrants) -> String {
    AccessToken::with_api_key("key", SECRET).with_grants(grants).to_jwt().unwrap()
}

fn recorder() -> String {
    token(VideoGrants { room_record: true, ..Default::default() })
}

fn composite(url: &str) -> Value {
    json!({"room_name": "standup", "audio_only": true, "stream_outputs": [{"protocol": "RTMP", "urls": [url]}]})
}

#[tokio::test]
async fn json_has_the_names_of_the_proto_file_and_starting_has_no_status() {
    let program = Program::start().await;
    program.join(json!({"identity": "ada", "microphone": "muted"})).await;
    let body = composite("rtmp://127.0.0.1:9/live/0a1b2c3d/s.1/abcdef123456");
    let (status, started, _) =
        program.twirp(Some(&recorder()), "Egress/StartRoomCompositeEgress", body).await;
    assert_eq!(status, 200);
    assert!(started["egress_id"].as_str().unwrap().starts_with("EG_"));
    assert!(started.get("status").is_none(), "{started}");
    let (_, list, _) =
        program.twirp(Some(&recorder()), "Egress/ListEgress", json!({"roomName": "standup"})).await;
    assert_eq!(list["items"][0]["egress_id"], started["egress_id"], "requests may be camelCase too");
}

#[tokio::test]
async fn protobuf_is_answered_in_protobuf() {
    let program = Program::start().await;
    program.join(json!({"identity": "ada"})).await;
    let response = program
        .http
        .post(format!("{}/twirp/livekit.RoomService/ListRooms", program.url))
        .header("content-type", "application/protobuf")
        .bearer_auth(token(VideoGrants { room_list: true, ..Default::default() }))
        .body(proto::ListRoomsRequest::default().encode_to_vec());
    let response = response.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/protobuf");
    let rooms = proto::ListRoomsResponse::decode(response.bytes().await.unwrap()).unwrap().rooms;
    assert_eq!((rooms[0].name.as_str(), rooms[0].num_participants), ("standup", 1));
}

#[tokio::test]
async fn the_middleware_refuses_in_plain_text_and_the_service_in_json() {
    let program = Program::start().await;
    let (status, json, text) = program.twirp(Some("nonsense"), "Egress/ListEgress", json!({})).await;
    assert_eq!((status, json, text.as_str()), (401, Value::Null, "invalid authorization token"));
    let other = AccessToken::with_api_key("other", SECRET).to_jwt().unwrap();
    let (status, json, text) = program.twirp(Some(&other), "Egress/ListEgress", json!({})).await;
    assert_eq!((status, json, text.as_str()), (401, Value::Null, "invalid API key: other"));
    let forged = AccessToken::with_api_key("key", "another-secret-of-thirty-two-chars").to_jwt().unwrap();
    let (status, json, text) = program.twirp(Some(&forged), "Egress/ListEgress", json!({})).await;
    assert_eq!((status, json), (401, Value::Null));
    assert!(text.starts_with("invalid token: eyJ"), "LiveKit quotes the token");
    for grants in [None, Some(token(VideoGrants { room_list: true, ..Default::default() }))] {
        let (status, json, _) = program.twirp(grants.as_deref(), "Egress/ListEgress", json!({})).await;
        assert_eq!((status, json), (401, json!({"code": "unauthenticated", "msg": "permissions denied"})));
    }
    let admin = token(VideoGrants { room_admin: true, room: "another".into(), ..Default::default() });
    let (status, ..) =
        program.twirp(Some(&admin), "RoomService/ListParticipants", json!({"room": "standup"})).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn what_is_not_simulated_says_so() {
    let program = Program::start().await;
    let ask = async |method: &str| program.twirp(Some(&recorder()), method, json!({})).await;
    assert_eq!(ask("Egress/StartEgress").await.1["code"], "bad_route");
    assert_eq!(ask("Egress/StartTrackEgress").await.1["code"], "unimplemented");
    assert_eq!(ask("SIP/CreateSIPTrunk").await.0, 404);
    let (status, json, _) =
        program.twirp(Some(&recorder()), "Egress/ListEgress", json!({"active": "perhaps"})).await;
    assert_eq!((status, &json["code"]), (400, &json!("malformed")));
    program.sim(reqwest::Method::PUT, "faults", json!({"unified_start": true})).await;
    assert_eq!(ask("Egress/StartEgress").await.0, 501);
}

#[tokio::test]
async fn a_meeting_is_played_and_judged_over_the_control_api() {
    use reqwest::Method;
    let program = Program::start().await;
    let sink = RtmpSink::start(Behaviour::Take).await.unwrap();
    program.join(json!({"identity": "ada", "microphone": "open"})).await;
    let body = composite(&sink.url("live/0a1b2c3d/s.1", "abcdef123456"));
    let (_, started, _) = program.twirp(Some(&recorder()), "Egress/StartRoomCompositeEgress", body).await;
    let id = started["egress_id"].as_str().unwrap();
    let feeding = async |expected: bool| {
        let looking = async {
            loop {
                let (_, all) = program.sim(Method::GET, "egresses", Value::Null).await;
                if all[0]["feeding"] == expected && all[0]["outputs"][0]["frames"].as_u64() > Some(0) {
                    break all[0].clone();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), looking).await.unwrap()
    };
    assert_eq!(feeding(true).await["outputs"][0]["connects"], 1);
    assert_eq!(program.sim(Method::POST, &format!("egresses/{id}/wedge"), Value::Null).await.0, 204);
    let truth = feeding(false).await;
    assert_eq!((&truth["status"], &truth["wedged"]), (&json!("EGRESS_ACTIVE"), &json!(true)));
    assert_eq!(program.sim(Method::POST, "egresses/EG_nobody/wedge", Value::Null).await.0, 404);
    let ada = "rooms/standup/participants/ada";
    assert_eq!(program.sim(Method::PATCH, ada, json!({"microphone": "muted"})).await.0, 204);
    assert_eq!(program.sim(Method::DELETE, ada, Value::Null).await.0, 204);
    assert_eq!(program.sim(Method::DELETE, ada, Value::Null).await.0, 404);
    let (_, calls) = program.sim(Method::GET, "calls", Value::Null).await;
    assert_eq!(calls, json!({"StartRoomCompositeEgress 200": 1}));
}

#[tokio::test]
async fn switches_are_set_as_a_whole_and_an_unknown_one_is_refused() {
    use reqwest::Method;
    let program = Program::start().await;
    let (_, observed) = program.sim(Method::POST, "faults/observed", Value::Null).await;
    assert_eq!(observed["mute_stall_s"], 2.8);
    assert_eq!(program.sim(Method::PUT, "faults", json!({"proxy_errors": 1})).await.0, 200);
    assert_eq!(program.sim(Method::GET, "faults", Value::Null).await.1["mute_stall_s"], 0.0);
    assert_eq!(program.sim(Method::PUT, "faults", json!({"wegde": 1})).await.0, 422);
    let (status, _, page) = program.twirp(None, "Egress/ListEgress", json!({})).await;
    assert!(status == 502 && page.starts_with("<html>"), "{status} {page}");
    let keys = json!({"api_key": "new", "api_secret": SECRET});
    assert_eq!(program.sim(Method::POST, "keys", keys).await.0, 200);
    let (status, _, text) = program.twirp(Some(&recorder()), "Egress/ListEgress", json!({})).await;
    assert_eq!((status, text.as_str()), (401, "invalid API key: key"));
}
