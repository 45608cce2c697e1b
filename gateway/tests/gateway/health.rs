//! `/healthz`, `/readyz`, `/metrics`.

use crate::common::{Door, keyed};
use roomscribe_gateway::Config;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn health_and_readiness_need_no_key() {
    let door = Door::with(keyed()).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            door.http.get(format!("{}{path}", door.base)).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
}

#[tokio::test]
async fn metrics_are_openmetrics_with_a_sentence_for_each_and_no_session_in_any_label() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.stream(&id, "").await.frame().await;
    let answer = door.http.get(format!("{}/metrics", door.base)).send().await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"));
    for series in
        ["viewers", "connections", "watched_sessions", "held_bytes", "frames_delivered", "http_answers"]
    {
        assert!(text.contains(&format!("# HELP roomscribe_gateway_{series} ")), "{series}");
    }
    assert!(
        !text.contains(id.as_str()) && !text.contains("standup") && !text.contains("127.0.0.1"),
        "{text}"
    );
}

#[tokio::test]
async fn a_gateway_that_is_to_leave_says_so_before_it_closes_anything() {
    let settle = Duration::from_millis(700);
    let mut door = Door::with(Config { settle, drain: Duration::ZERO, ..keyed() }).await;
    let id = door.session("standup").await;
    let mut viewer = door.stream(&id, "").await;
    viewer.frame().await;
    door.stop();
    crate::common::eventually("not ready", async || {
        door.http.get(format!("{}/readyz", door.base)).send().await.is_ok_and(|ready| ready.status() == 503)
    })
    .await;
    // Whoever has not heard of it yet is still let in, and the others are still served.
    let mut late = door.stream(&id, "").await;
    door.speak(&id, 1).await;
    assert_eq!((viewer.offsets_to(1).await, late.offsets_to(1).await), (vec![1], vec![1]));
    assert_eq!((viewer.close_code().await, late.close_code().await), (1001, 1001));
    door.stopped().await.unwrap();
}

#[tokio::test]
async fn a_draining_gateway_takes_nothing_new_and_finishes_what_it_began() {
    let mut door = Door::with(Config { drain: Duration::from_millis(300), ..keyed() }).await;
    let id = door.session("standup").await;
    let mut viewer = door.stream(&id, "").await;
    viewer.frame().await;
    let mut begun = TcpStream::connect(door.authority()).await.unwrap();
    begun.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n").await.unwrap();
    crate::common::eventually("the request is begun", async || door.metric("connections").await >= 2.0).await;
    door.stop();
    assert_eq!(viewer.close_code().await, 1001);
    drop(begun.write_all(b"\r\n").await);
    let mut answer = Vec::new();
    drop(begun.read_to_end(&mut answer).await);
    assert!(TcpStream::connect(door.authority()).await.is_err(), "it still listens");
    door.stopped().await.unwrap();
}
