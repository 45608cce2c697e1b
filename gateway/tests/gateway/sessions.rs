//! Session documents over HTTP.

use crate::common::{Door, append, keyed, problem, problem_body};
use roomscribe_gateway::Config;
use roomscribe_transcript::{Event, SessionId};
use serde_json::{Value, json};

fn standup() -> Value {
    json!({"roomName": "standup", "capture": {"mode": "Push"}})
}

#[tokio::test]
async fn a_push_session_is_made_with_its_address_and_found_by_id_and_name() {
    let door = Door::with(keyed()).await;
    let answer = door.post("/v1/sessions", standup()).await;
    assert_eq!(answer.status(), 201);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let made: Value = answer.json().await.unwrap();
    let id = made["id"].as_str().unwrap();
    assert_eq!(location, format!("/v1/sessions/{id}"));
    assert_eq!(made["ingest"]["url"], "rtmp://host/live/x/secret-stream-key");
    for key in [id, made["name"].as_str().unwrap()] {
        let found: Value = door.get(&format!("/v1/sessions/{key}")).await.json().await.unwrap();
        assert_eq!(found["id"], made["id"]);
    }
}

#[tokio::test]
async fn a_document_has_the_contracts_fields() {
    let door =
        Door::with(Config { public_url: Some("https://captions.example.com/".into()), ..keyed() }).await;
    let id = door.session("standup").await;
    door.speak(&id, 3).await;
    let document: Value = door.get(&format!("/v1/sessions/{id}")).await.json().await.unwrap();
    for field in [
        "id",
        "name",
        "namespace",
        "roomName",
        "state",
        "reason",
        "message",
        "captureMode",
        "createdAt",
        "startedAt",
        "completedAt",
        "epoch",
        "head",
        "usage",
        "links",
        "ingest",
    ] {
        assert!(document.get(field).is_some(), "{field} is missing");
    }
    assert_eq!((&document["head"], &document["captureMode"]), (&json!(3), &json!("Push")));
    assert_eq!(document["epoch"], door.log.head(&id).await.unwrap().epoch);
    let base = format!("captions.example.com/v1/sessions/{id}");
    assert_eq!(document["links"]["self"], format!("https://{base}"));
    assert_eq!(document["links"]["stream"], format!("wss://{base}/stream"));
    assert_eq!(document["links"]["transcript"], format!("https://{base}/transcript"));
}

#[tokio::test]
async fn starting_a_room_that_runs_answers_200_with_the_running_session() {
    let door = Door::with(keyed()).await;
    let first: Value = door.post("/v1/sessions", standup()).await.json().await.unwrap();
    let again = door.post("/v1/sessions", standup()).await;
    assert_eq!(again.status(), 200);
    assert_eq!(again.json::<Value>().await.unwrap()["id"], first["id"]);
}

#[tokio::test]
async fn the_list_has_every_session_newest_first() {
    let door = Door::with(keyed()).await;
    let (old, new) = (door.session("old").await, door.session("new").await);
    let list: Value = door.get("/v1/sessions").await.json().await.unwrap();
    let ids: Vec<_> =
        list["sessions"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [new.as_str(), old.as_str()]);
}

#[tokio::test]
async fn wrong_bodies_are_refused_and_the_field_is_named() {
    let door = Door::with(keyed()).await;
    let table = [
        (json!({"roomName": "a", "colour": 1}), "/colour"),
        (json!({"capture": {"mode": "Push"}}), "/roomName"),
        (json!({"roomName": ""}), "/roomName"),
        (json!({"roomName": "a", "name": "Not A Label"}), "/name"),
        (json!({"roomName": "a", "capture": {"mode": "Magic"}}), "/capture/mode"),
        (json!({"roomName": "a", "capture": {"speed": 1}}), "/capture/speed"),
        (json!({"roomName": "a", "speech": {"languages": ["en", "English"]}}), "/speech/languages/1"),
        (json!({"roomName": "a", "speech": {"diarization": true}}), "/speech/diarization"),
        (json!({"roomName": "a", "limits": {"maxDurationSeconds": 0}}), "/limits/maxDurationSeconds"),
        (json!({"roomName": "a", "limits": {"maxDurationSeconds": -1}}), "/limits/maxDurationSeconds"),
    ];
    for (body, pointer) in table {
        let body = problem_body(door.post("/v1/sessions", body).await).await;
        assert_eq!(
            (&body["status"], &body["type"]),
            (&json!(422), &json!("https://roomscribe.io/problems/invalid-field"))
        );
        assert_eq!(body["errors"][0]["pointer"], pointer, "{body}");
        assert!(!body["errors"][0]["detail"].as_str().unwrap().is_empty());
    }
    assert!(
        door.get("/v1/sessions").await.json::<Value>().await.unwrap()["sessions"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn all_wrong_fields_are_named_at_once() {
    let door = Door::with(keyed()).await;
    let body = json!({"roomName": "", "name": "-", "speech": {"endpointingMilliseconds": 1}});
    let body = problem_body(door.post("/v1/sessions", body).await).await;
    let pointers: Vec<_> = body["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(pointers, ["/name", "/roomName", "/speech/endpointingMilliseconds"]);
}

#[tokio::test]
async fn a_body_that_is_no_json_not_ours_or_too_large_is_refused() {
    let door = Door::with(keyed()).await;
    let post = |kind: &'static str, body: String| {
        door.request("POST", "/v1/sessions").header("content-type", kind).body(body).send()
    };
    for text in ["", "{", "{\"roomName\":\"a\"} x", "\u{0}"] {
        assert_eq!(
            problem(post("application/json", text.into()).await.unwrap()).await,
            (400, "invalid-json".into()),
            "{text}"
        );
    }
    for text in ["[]", "null", "7", "\"a\""] {
        assert_eq!(problem(post("application/json", text.into()).await.unwrap()).await.0, 422, "{text}");
    }
    let form = post("application/x-www-form-urlencoded", "roomName=a".into()).await.unwrap();
    assert_eq!(problem(form).await, (415, "unsupported-media-type".into()));
    let large = format!(r#"{{"roomName":"{}"}}"#, "a".repeat(64 * 1024));
    assert_eq!(problem(post("application/json", large).await.unwrap()).await, (413, "body-too-large".into()));
}

#[tokio::test]
async fn what_this_installation_cannot_do_is_501() {
    let door = Door::with(keyed()).await;
    assert_eq!(
        problem(door.post("/v1/sessions", json!({"roomName": "a"})).await).await,
        (501, "unsupported".into())
    );
}

#[tokio::test]
async fn unknown_sessions_are_404_on_every_route_and_a_name_of_several_is_409() {
    let door = Door::with(keyed()).await;
    door.session("twice").await;
    door.session("twice").await;
    for (method, tail) in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/transcript"),
        ("DELETE", "/transcript"),
        ("POST", "/ingest-key"),
        ("POST", "/tickets"),
    ] {
        for key in ["nobody", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "a%00b", "%d0%ba"] {
            let answer = door.request(method, &format!("/v1/sessions/{key}{tail}")).send().await.unwrap();
            assert_eq!(problem(answer).await, (404, "no-such-session".into()), "{method} {key}{tail}");
        }
        let answer = door.request(method, &format!("/v1/sessions/twice-name{tail}")).send().await.unwrap();
        assert_eq!(problem(answer).await, (409, "conflict".into()), "{method} {tail}");
    }
}

#[tokio::test]
async fn delete_asks_a_session_to_stop() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let answer = door.request("DELETE", &format!("/v1/sessions/{id}")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["state"], "Stopping");
    assert!(door.log.head(&id).await.is_ok(), "stopping erases nothing");
}

#[tokio::test]
async fn erasing_a_transcript_leaves_a_document_and_no_text() {
    let door = Door::with(keyed()).await;
    let id: SessionId = door.session("standup").await;
    append(&door.log, &id, Event::Final(crate::common::utterance(1, "the secret sentence"))).await;
    let path = format!("/v1/sessions/{id}");
    let erased = door.request("DELETE", &format!("{path}/transcript")).send().await.unwrap();
    assert_eq!(erased.status(), 202);
    for format in ["json", "srt", "vtt", "txt"] {
        let answer = door.get(&format!("{path}/transcript?format={format}")).await;
        assert_eq!(problem(answer).await, (410, "gone".into()), "{format}");
    }
    let document: Value = door.get(&path).await.json().await.unwrap();
    assert_eq!((&document["epoch"], &document["head"]), (&Value::Null, &json!(0)));
}

#[tokio::test]
async fn a_new_ingest_key_is_shown_in_the_answer() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let answer = door.request("POST", &format!("/v1/sessions/{id}/ingest-key")).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["ingest"]["streamKey"], "second-stream-key");
}
