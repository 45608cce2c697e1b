//! What a token's scope and session allow.

use crate::common::{Door, keyed, problem, token};
use roomscribe_transcript::SessionId;
use serde_json::{Value, json};

async fn ask(door: &Door, method: &str, path: &str, claims: Value) -> reqwest::Response {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = door.http.request(method, format!("{}{path}", door.base)).bearer_auth(token(claims));
    request.json(&json!({"roomName": "standup", "capture": {"mode": "Push"}})).send().await.unwrap()
}

fn changes(id: &SessionId) -> [(&'static str, String); 4] {
    [
        ("POST", "/v1/sessions".into()),
        ("DELETE", format!("/v1/sessions/{id}")),
        ("POST", format!("/v1/sessions/{id}/ingest-key")),
        ("DELETE", format!("/v1/sessions/{id}/transcript")),
    ]
}

#[tokio::test]
async fn whoever_may_only_read_changes_nothing() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    for (method, path) in changes(&id) {
        let answer = ask(&door, method, &path, json!({"scope": "read"})).await;
        assert_eq!(problem(answer).await, (403, "forbidden".into()), "{method} {path}");
    }
    assert!(door.log.head(&id).await.is_ok(), "nothing was erased");
}

#[tokio::test]
async fn control_of_one_room_is_no_control_of_another() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    for (method, path) in changes(&id) {
        let other = ask(&door, method, &path, json!({"scope": "control", "sid": "room:other"})).await;
        assert_eq!(other.status(), 403, "{method} {path}");
    }
    for (method, path) in changes(&id) {
        let own = ask(&door, method, &path, json!({"scope": "control", "sid": "room:standup"})).await;
        assert!(own.status().is_success(), "{method} {path}: {}", own.status());
    }
}

#[tokio::test]
async fn a_token_of_one_session_starts_none() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let claims = json!({"scope": "read control", "sid": id.as_str()});
    assert_eq!(ask(&door, "POST", "/v1/sessions", claims).await.status(), 403);
}

#[tokio::test]
async fn the_list_holds_what_the_token_reaches() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.session("secret plans").await;
    for (sid, expected) in [("*", 2), ("room:standup", 1), (id.as_str(), 1), ("room:other", 0)] {
        let list: Value = ask(&door, "GET", "/v1/sessions", json!({"sid": sid})).await.json().await.unwrap();
        assert_eq!(list["sessions"].as_array().unwrap().len(), expected, "{sid}");
        assert!(sid == "*" || !list.to_string().contains("secret plans"));
    }
}

#[tokio::test]
async fn the_ingest_address_is_shown_with_control_and_never_without() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    for path in ["/v1/sessions".to_owned(), format!("/v1/sessions/{id}")] {
        let read = ask(&door, "GET", &path, json!({"scope": "read"})).await.text().await.unwrap();
        assert!(!read.contains("ingest") && !read.contains("secret-stream-key"), "{path}");
        let control = ask(&door, "GET", &path, json!({"scope": "read control"})).await.text().await.unwrap();
        assert!(control.contains("secret-stream-key"), "{path}");
    }
}
