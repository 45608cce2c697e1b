//! What is refused before the upgrade, with an HTTP status; and subprotocols.

use crate::common::{Client, Door, KEY, keyed, problem, token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roomscribe_gateway::{Config, GatewayLimits};
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const PROTOCOL: &str = "sec-websocket-protocol";

async fn door_and_url() -> (Door, String) {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let url = door.stream_url(id.as_str(), "");
    (door, url)
}

/// Status, and the kind of its problem.
async fn refusal(url: &str, headers: &[(&'static str, String)]) -> (u16, String) {
    match Client::with_headers(url, headers).await {
        Err(Error::Http(answer)) => {
            let body: serde_json::Value = serde_json::from_slice(answer.body().as_deref().unwrap()).unwrap();
            let kind = body["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            (answer.status().as_u16(), kind)
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was upgraded"),
    }
}

#[tokio::test]
async fn a_plain_request_is_told_that_this_path_speaks_websocket() {
    let (door, _) = door_and_url().await;
    let answer = door.get("/v1/sessions/standup-name/stream").await;
    let (status, kind) = problem(answer).await;
    assert!([400, 426].contains(&status), "{status}");
    assert_eq!(kind, "not-a-websocket");
    let answer = door.request("POST", "/v1/sessions/standup-name/stream").send().await.unwrap();
    assert_eq!(problem(answer).await, (405, "method-not-allowed".into()));
}

#[tokio::test]
async fn our_subprotocol_is_chosen_and_a_bearer_item_is_never_echoed() {
    let (_door, url) = door_and_url().await;
    let token = token(json!({}));
    let item = format!("bearer.{}", URL_SAFE_NO_PAD.encode(&token));
    let table = [
        ("roomscribe.v1.json".into(), Some("roomscribe.v1.json")),
        ("chat, roomscribe.v1.json".into(), Some("roomscribe.v1.json")),
        (format!("{item}, roomscribe.v1.json"), Some("roomscribe.v1.json")),
        (format!("roomscribe.v1.json, {item}"), Some("roomscribe.v1.json")),
    ];
    for (offer, chosen) in table {
        let mut request = url.as_str().into_client_request().unwrap();
        request.headers_mut().insert(PROTOCOL, offer.parse().unwrap());
        let (_socket, answer) = connect_async(request).await.unwrap();
        let echoed = answer.headers().get(PROTOCOL).map(|value| value.to_str().unwrap());
        assert_eq!(echoed, chosen, "{offer}");
    }
}

#[tokio::test]
async fn who_offers_no_subprotocol_gets_none() {
    let (_door, url) = door_and_url().await;
    let mut request = url.as_str().into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
    let (_socket, answer) = connect_async(request).await.unwrap();
    assert!(answer.headers().get(PROTOCOL).is_none());
}

#[tokio::test]
async fn subprotocols_that_are_all_unknown_are_400() {
    let (_door, url) = door_and_url().await;
    for offer in ["roomscribe.v2.json", "chat, graphql-ws", "bearer.abc"] {
        assert_eq!(refusal(&url, &[(PROTOCOL, offer.into())]).await, (400, "bad-request".into()), "{offer}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_403_and_an_allowed_one_comes_in() {
    let config = Config { allowed_origins: vec!["https://*.customer.test".into()], ..keyed() };
    let door = Door::with(config).await;
    let id = door.session("standup").await;
    let url = door.stream_url(id.as_str(), "");
    let with = |origin: &str| {
        vec![
            (PROTOCOL, "roomscribe.v1.json".to_owned()),
            ("authorization", format!("Bearer {KEY}")),
            ("origin", origin.to_owned()),
        ]
    };
    for origin in ["https://evil.test", "https://customer.test", "http://app.customer.test", "null"] {
        assert_eq!(refusal(&url, &with(origin)).await, (403, "origin-refused".into()), "{origin}");
    }
    for origin in ["https://app.customer.test", door.base.as_str()] {
        let mut viewer = Client::with_headers(&url, &with(origin)).await.unwrap();
        assert_eq!(viewer.frame().await["type"], "hello", "{origin}");
    }
}

#[tokio::test]
async fn too_many_viewers_are_429_with_a_time_to_try_again() {
    let limits = GatewayLimits { viewers_per_ip: 2, ..GatewayLimits::default() };
    let door = Door::with(Config { limits, ..keyed() }).await;
    let id = door.session("standup").await;
    let url = door.stream_url(id.as_str(), "");
    let (mut first, _second) = (door.stream(&id, "").await, door.stream(&id, "").await);
    match Client::try_open(&url, Some(KEY)).await {
        Err(Error::Http(answer)) => {
            assert_eq!(answer.status(), 429);
            assert!(answer.headers().contains_key("retry-after"));
        }
        _ => panic!("a third viewer came in"),
    }
    assert_eq!(door.refused("viewers_per_ip").await, 1.0);
    first.socket.close(None).await.unwrap();
    while Client::try_open(&url, Some(KEY)).await.is_err() {}
}
