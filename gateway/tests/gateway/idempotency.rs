//! `Idempotency-Key` of `POST /v1/sessions`.

use crate::common::{Directory, Door, KEY, keyed, problem, token};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

async fn post(door: &Door, key: &str, token: &str, body: &Value) -> reqwest::Response {
    let request = door.http.post(format!("{}/v1/sessions", door.base)).bearer_auth(token);
    request.header("idempotency-key", key).json(body).send().await.unwrap()
}

fn standup() -> Value {
    json!({"roomName": "standup", "capture": {"mode": "Push"}})
}

fn created(directory: &Directory) -> usize {
    directory.created.load(Ordering::SeqCst)
}

#[tokio::test]
async fn the_same_key_and_body_answer_with_the_same_session_and_start_nothing() {
    let door = Door::with(keyed()).await;
    let first = post(&door, "k", KEY, &standup()).await;
    assert_eq!(first.status(), 201);
    let first: Value = first.json().await.unwrap();
    // The same request, written otherwise.
    let body: Value =
        serde_json::from_str(r#"{"capture":{"mode":"Push"},  "roomName":"standup","limits":{}}"#).unwrap();
    let again = post(&door, "k", KEY, &body).await;
    assert_eq!(again.status(), 200);
    assert_eq!(again.json::<Value>().await.unwrap()["id"], first["id"]);
    assert_eq!(created(&door.sessions), 1);
}

#[tokio::test]
async fn the_same_key_with_another_body_is_409() {
    let door = Door::with(keyed()).await;
    post(&door, "k", KEY, &standup()).await;
    let other = json!({"roomName": "other", "capture": {"mode": "Push"}});
    assert_eq!(problem(post(&door, "k", KEY, &other).await).await, (409, "idempotency-key-reused".into()));
    assert_eq!(created(&door.sessions), 1);
}

#[tokio::test]
async fn of_many_requests_at_once_one_starts_the_session() {
    let door = Door::with(keyed()).await;
    let body = standup();
    let answers = (0..30).map(|_| post(&door, "k", KEY, &body));
    let answers = futures_util::future::join_all(answers).await;
    let fresh = answers.iter().filter(|answer| answer.status() == 201).count();
    assert_eq!((fresh, created(&door.sessions)), (1, 1));
    for answer in answers {
        assert!([200, 201, 409].contains(&answer.status().as_u16()), "{}", answer.status());
    }
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let door = Door::with(keyed()).await;
    assert_eq!(post(&door, "k", KEY, &json!({"roomName": "standup"})).await.status(), 501);
    assert_eq!(post(&door, "k", KEY, &standup()).await.status(), 201);
}

#[tokio::test]
async fn a_key_belongs_to_whoever_used_it() {
    let door = Door::with(keyed()).await;
    post(&door, "k", KEY, &standup()).await;
    let other = json!({"roomName": "other", "capture": {"mode": "Push"}});
    let eve = token(json!({"scope": "read control"}));
    assert_eq!(post(&door, "k", &eve, &other).await.status(), 201);
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_400() {
    let door = Door::with(keyed()).await;
    for key in ["", &"k".repeat(256), "ключ"] {
        assert_eq!(problem(post(&door, key, KEY, &standup()).await).await.0, 400, "{key}");
    }
    assert_eq!(post(&door, &"k".repeat(255), KEY, &standup()).await.status(), 201);
}

#[tokio::test]
async fn a_key_whose_session_is_gone_says_so() {
    let door = Door::with(keyed()).await;
    post(&door, "k", KEY, &standup()).await;
    door.sessions.forget_all();
    assert_eq!(problem(post(&door, "k", KEY, &standup()).await).await, (410, "gone".into()));
}
