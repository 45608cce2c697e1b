//! Every limit: what is refused at it, that it is counted, and that the place comes back.

use crate::common::{Client, Door, KEY, append, eventually, keyed, problem, token, utterance};
use roomscribe_gateway::{Config, GatewayLimits};
use roomscribe_transcript::Event;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;

async fn limited(change: impl FnOnce(&mut GatewayLimits)) -> Door {
    let mut config = keyed();
    change(&mut config.limits);
    Door::with(config).await
}

/// What a raw connection gets until it is closed.
async fn answer_to(door: &Door, parts: &[&[u8]]) -> String {
    let mut tcp = TcpStream::connect(door.authority()).await.unwrap();
    for part in parts {
        if tcp.write_all(part).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let read = tokio::time::timeout(crate::common::PATIENCE, tcp.read_to_end(&mut answer));
    drop(read.await.expect("the connection is closed"));
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_session_takes_so_many_viewers_and_the_next_is_4429() {
    let door = limited(|limits| limits.viewers_per_session = 2).await;
    let (id, other) = (door.session("standup").await, door.session("other").await);
    let mut seated = vec![door.stream(&id, "").await, door.stream(&id, "").await];
    for viewer in &mut seated {
        viewer.frame().await;
    }
    let mut third = door.stream(&id, "").await;
    assert_eq!(third.frame().await["code"], "too-many-viewers");
    assert_eq!(third.close_code().await, 4429);
    assert_eq!(door.refused("viewers_per_session").await, 1.0);
    assert_eq!(door.stream(&other, "").await.frame().await["type"], "hello");
    seated.pop().unwrap().socket.close(None).await.unwrap();
    eventually("the place is free", async || door.stream(&id, "").await.frame().await["type"] == "hello")
        .await;
}

#[tokio::test]
async fn a_token_takes_so_many_viewers_and_its_tickets_count_too() {
    let door = limited(|limits| limits.viewers_per_token = 1).await;
    let id = door.session("standup").await;
    let url = door.stream_url(id.as_str(), "");
    let eve = token(json!({}));
    let mut first = Client::open(&url, Some(&eve)).await;
    first.frame().await;
    assert_eq!(Client::open(&url, Some(&eve)).await.close_code().await, 4429);
    let made = door
        .http
        .post(format!("{}/v1/sessions/{id}/tickets", door.base))
        .bearer_auth(&eve)
        .send()
        .await
        .unwrap();
    let made: serde_json::Value = made.json().await.unwrap();
    let with_ticket = format!("{url}?ticket={}", made["ticket"].as_str().unwrap());
    assert_eq!(Client::open(&with_ticket, None).await.close_code().await, 4429);
    assert_eq!(door.refused("viewers_per_token").await, 2.0);
    let mut bob = Client::open(&url, Some(&token(json!({"sub": "bob"})))).await;
    assert_eq!(bob.frame().await["type"], "hello");
    first.socket.close(None).await.unwrap();
    eventually("the place is free", async || {
        Client::open(&url, Some(&eve)).await.frame().await["type"] == "hello"
    })
    .await;
}

#[tokio::test]
async fn handshakes_over_the_rate_are_429() {
    let door = limited(|limits| limits.handshakes_per_second = 2).await;
    let id = door.session("standup").await;
    let url = door.stream_url(id.as_str(), "");
    eventually("a handshake is refused", async || match Client::try_open(&url, Some(KEY)).await {
        Ok(_) => false,
        Err(Error::Http(answer)) => {
            assert_eq!(answer.status(), 429);
            true
        }
        Err(error) => panic!("{error}"),
    })
    .await;
    assert!(door.refused("handshakes").await >= 1.0);
}

#[tokio::test]
async fn the_process_takes_so_many_viewers() {
    let door = limited(|limits| limits.viewers = 1).await;
    let id = door.session("standup").await;
    let _first = door.stream(&id, "").await;
    assert!(Client::try_open(&door.stream_url(id.as_str(), ""), Some(KEY)).await.is_err());
    assert_eq!(door.refused("viewers").await, 1.0);
}

#[tokio::test]
async fn when_the_queues_hold_their_bytes_no_further_session_is_watched() {
    let door = limited(|limits| limits.held_bytes = 500).await;
    let (id, other) = (door.session("standup").await, door.session("other").await);
    append(&door.log, &id, Event::Final(utterance(1, &"x".repeat(600)))).await;
    let mut viewer = door.stream(&id, "").await;
    viewer.offsets_to(1).await;
    assert_eq!(door.stream(&other, "").await.close_code().await, 4429);
    assert_eq!(door.refused("held_bytes").await, 1.0);
    assert_eq!(door.stream(&id, "").await.frame().await["type"], "hello", "a watched session costs no more");
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_at_once() {
    let door = limited(|limits| (limits.viewers, limits.http_connections) = (0, 3)).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(TcpStream::connect(door.authority()).await.unwrap());
    }
    assert_eq!(answer_to(&door, &[]).await, "");
    drop(idle);
    eventually("it answers again", async || {
        door.http
            .get(format!("{}/healthz", door.base))
            .send()
            .await
            .is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    assert!(door.refused("connections").await >= 1.0);
}

#[tokio::test]
async fn a_head_or_url_over_16_kib_is_refused() {
    let door = Door::with(keyed()).await;
    let long = "x".repeat(20 * 1024);
    let head = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-long: {long}\r\n\r\n");
    let url = format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    for request in [head, url] {
        let answer = answer_to(&door, &[request.as_bytes()]).await;
        assert!(
            answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 414") || answer.is_empty(),
            "{answer}"
        );
    }
    assert_eq!(door.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_cut() {
    let door = Door::with(Config { head_timeout: Duration::from_millis(80), ..keyed() }).await;
    let answer = answer_to(&door, &[b"GET /healthz HT"]).await;
    assert!(!answer.contains(" 200 "), "{answer}");
    eventually("nothing of it is left", async || door.metric("connections").await <= 1.0).await;
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_408_and_counted() {
    let door = Door::with(Config { request_timeout: Duration::from_millis(80), ..keyed() }).await;
    let head = format!(
        "POST /v1/sessions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{{"
    );
    let answer = answer_to(&door, &[head.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(door.refused("request_timeout").await, 1.0);
}

#[tokio::test]
async fn an_export_that_is_not_read_does_not_keep_others_from_theirs() {
    let mut config = Config { write_timeout: Duration::from_millis(300), ..keyed() };
    config.limits.exports = 1;
    let door = Door::with(config).await;
    let id = door.session("standup").await;
    for offset in 1..=60 {
        append(&door.log, &id, Event::Final(utterance(offset, &"x".repeat(200_000)))).await;
    }
    let path = format!("/v1/sessions/{id}/transcript?format=txt");
    let mut frozen = TcpStream::connect(door.authority()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n\r\n");
    frozen.write_all(request.as_bytes()).await.unwrap();
    frozen.readable().await.unwrap();
    let refused = door.get(&path).await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await, (429, "too-many-exports".into()));
    assert!(door.refused("exports").await >= 1.0);
    eventually("the next export is taken", async || door.get(&path).await.status() == 200).await;
}
