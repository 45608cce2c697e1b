//! The HTTP endpoints: refusals, results, audio, deletion, listing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use common::{Server, scripted, two_sentences};
use serde_json::json;

#[tokio::test]
async fn a_bad_request_names_every_bad_field() {
    let server = Server::scripted(two_sentences()).await;
    let (status, body) = server.post(json!({"sample_rate": 22050, "endpointing": 99})).await;
    assert_eq!((status, &body["statusCode"], &body["path"]), (400, &json!(400), &json!("/v2/live")));
    let errors = body["validation_errors"].to_string();
    assert!(errors.contains("sample_rate") && errors.contains("endpointing"), "{errors}");
    assert!(body["request_id"].as_str().unwrap().starts_with("G-"));
}

#[tokio::test]
async fn keys_are_checked_on_every_endpoint_when_there_are_any() {
    let mut config = scripted(two_sentences());
    config.keys = vec!["right".into()];
    let server = Server::start(config).await;
    let client = reqwest::Client::new();
    for path in ["/v2/live", "/v2/live/x", "/v2/live/x/file"] {
        assert_eq!(server.get(path).await.0, 401, "{path}");
    }
    let post = |key: &str| {
        client.post(format!("{}/v2/live", server.base)).header("X-Gladia-Key", key).json(&json!({})).send()
    };
    assert_eq!(post("wrong").await.unwrap().status().as_u16(), 401);
    assert_eq!(post("right").await.unwrap().status().as_u16(), 201);
    assert_eq!(server.post(json!({})).await.1["message"], "no gladia key provided");
}

#[tokio::test]
async fn a_region_is_one_of_the_two_known() {
    let server = Server::scripted(two_sentences()).await;
    let client = reqwest::Client::new();
    for (region, status) in [("eu-west", 201), ("us-west", 201), ("mars", 400)] {
        let sent =
            client.post(format!("{}/v2/live?region={region}", server.base)).json(&json!({})).send().await;
        assert_eq!(sent.unwrap().status().as_u16(), status);
    }
}

#[tokio::test]
async fn one_session_more_than_the_limit_gets_429_until_another_has_ended() {
    let mut config = scripted(two_sentences());
    config.limits.sessions = 1;
    let server = Server::start(config).await;
    let (id, _, mut client) = server.session(json!({})).await;
    assert_eq!(server.post(json!({})).await.0, 429);
    client.stop().await;
    client.rest().await;
    server.wait_for_status(&id, "done").await;
    let mut status = 429;
    for _ in 0..200 {
        status = server.post(json!({})).await.0;
        if status == 201 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(status, 201);
}

#[tokio::test]
async fn a_session_that_no_one_connects_to_ends_by_itself() {
    let mut config = scripted(two_sentences());
    config.limits.detached = std::time::Duration::from_millis(20);
    let server = Server::start(config).await;
    let (_, reply) = server.post(json!({})).await;
    server.wait_for_status(reply["id"].as_str().unwrap(), "done").await;
}

#[tokio::test]
async fn the_result_the_audio_and_the_messages_are_there_afterwards_until_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = scripted(two_sentences());
    config.audio_dir = Some(dir.path().into());
    let server = Server::start(config).await;
    let (id, _, mut client) = server.session(json!({"custom_metadata": {"room": "demo"}})).await;
    let path = format!("/v2/live/{id}");
    assert_eq!(server.delete(&path).await, 403, "a live session cannot be deleted");
    client.audio(4.0).await;
    client.stop().await;
    client.rest().await;
    let body = server.wait_for_status(&id, "done").await;
    assert_eq!(body["custom_metadata"], json!({"room": "demo"}));
    assert_eq!(body["result"]["transcription"]["full_transcript"], "Hello dear world Второе предложение");
    assert_eq!(body["file"]["audio_duration"], 4.0);
    assert!(body["result"]["messages"].as_array().unwrap().iter().all(|m| m.is_string()));
    let file = reqwest::get(format!("{}{path}/file", server.base)).await.unwrap().bytes().await.unwrap();
    assert_eq!((&file[..4], file.len()), (&b"RIFF"[..], 44 + 4 * 32_000));
    assert_eq!(server.delete(&path).await, 202);
    assert_eq!((server.get(&path).await.0, server.delete(&path).await), (404, 404));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the audio is erased too");
}

#[tokio::test]
async fn the_list_pages_and_filters_by_status_and_metadata() {
    let server = Server::scripted(two_sentences()).await;
    for n in 0..3 {
        server.post(json!({"custom_metadata": {"n": n}})).await;
    }
    let (_, page) = server.get("/v2/live?limit=2").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert_eq!(page["items"][0]["custom_metadata"]["n"], 2, "newest first");
    let (_, rest) = server.get(page["next"].as_str().unwrap()).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), rest["next"].is_null()), (1, true));
    let (_, one) = server.get("/v2/live?custom_metadata=%7B%22n%22%3A1%7D").await;
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    let (_, done) = server.get("/v2/live?status%5B%5D=done").await;
    assert_eq!(done["items"], json!([]));
    assert_eq!(server.get("/v2/live?limit=x").await.0, 400);
    let (_, none) = server.get(&format!("/v2/live?offset={}", u64::MAX)).await;
    assert_eq!((&none["items"], none["next"].is_null()), (&json!([]), true));
}

#[tokio::test]
async fn only_so_many_ended_sessions_are_kept() {
    let mut config = scripted(two_sentences());
    config.limits.finished = 1;
    let server = Server::start(config).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let (id, _, mut client) = server.session(json!({})).await;
        client.stop().await;
        client.rest().await;
        server.wait_for_status(&id, "done").await;
        ids.push(id);
    }
    server.post(json!({})).await;
    assert_eq!(server.get(&format!("/v2/live/{}", ids[0])).await.0, 404);
    assert_eq!(server.get(&format!("/v2/live/{}", ids[2])).await.0, 200);
}

#[tokio::test]
async fn health_and_metrics_are_served_without_a_key() {
    let mut config = scripted(two_sentences());
    config.keys = vec!["secret-key".into()];
    let server = Server::start(config).await;
    let text = |path: &str| {
        let url = format!("{}{path}", server.base);
        async { reqwest::get(url).await.unwrap().text().await.unwrap() }
    };
    assert_eq!(text("/healthz").await, "ok");
    let metrics = text("/metrics").await;
    for name in ["sessions_live", "backlog_seconds", "partials_dropped", "real_time_factor"] {
        assert!(metrics.contains(&format!("roomscribe_speech_{name}")), "{name}");
    }
    assert!(!metrics.contains("secret-key"));
}

#[tokio::test]
async fn metadata_can_be_added_to_a_session_afterwards() {
    let server = Server::scripted(two_sentences()).await;
    let (id, _, _client) = server.session(json!({})).await;
    let patch = |id: &str, body: String| {
        let request = reqwest::Client::new().patch(format!("{}/v2/live/{id}", server.base)).body(body);
        async { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(patch(&id, json!({"rating": 4}).to_string()).await, 204);
    let (_, body) = server.get(&format!("/v2/live/{id}")).await;
    assert_eq!(body["post_session_metadata"], json!({"rating": 4}));
    assert_eq!(patch(&id, "not JSON".into()).await, 400);
    assert_eq!(patch(&id, json!("x".repeat(99_998)).to_string()).await, 204);
    assert_eq!(patch(&id, json!("x".repeat(99_999)).to_string()).await, 413);
    assert_eq!(patch("nobody", "{}".into()).await, 404);
}

#[tokio::test]
async fn the_list_filters_by_dates() {
    let server = Server::scripted(two_sentences()).await;
    let (_, reply) = server.post(json!({})).await;
    let created = reply["created_at"].as_str().unwrap();
    let count = |filter: String| {
        let server = &server;
        async move {
            let (_, page) = server.get(&format!("/v2/live?{filter}")).await;
            page["items"].as_array().unwrap().len()
        }
    };
    let expected = [
        (format!("date={}", &created[..10]), 1),
        ("date=2001-01-01".into(), 0),
        ("after_date=2001-01-01T00:00:00.000Z".into(), 1),
        (format!("after_date={created}"), 0),
        ("before_date=2001-01-01T00:00:00.000Z".into(), 0),
        ("before_date=2999-01-01T00:00:00.000Z".into(), 1),
    ];
    for (filter, found) in expected {
        assert_eq!(count(filter.clone()).await, found, "{filter}");
    }
}
