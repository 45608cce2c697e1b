//! `POST /stop`: the session's end comes from its owner, with the owner's reason.

use crate::publisher::Publisher;
use crate::stage::{ID, Speech, Stage, Worker, session_secret};
use crate::tones::{check, numbers};
use roomscribe_worker::pipeline::stream_key::stop_token;
use serde_json::{Value, json};

fn token() -> String {
    stop_token(&session_secret(), &roomscribe_transcript::SessionId::parse(ID).unwrap())
}

async fn stop(worker: &Worker, query: &str, authorization: Option<&str>) -> (u16, String) {
    try_stop(worker, query, authorization).await.unwrap()
}

/// An error: nobody answers any more.
async fn try_stop(
    worker: &Worker,
    query: &str,
    authorization: Option<&str>,
) -> reqwest::Result<(u16, String)> {
    let mut request =
        reqwest::Client::builder().no_proxy().build().unwrap().post(format!("{}/stop{query}", worker.base));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

fn ends(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["type"] == "end").map(|event| &event["reason"]).collect()
}

#[tokio::test]
async fn a_stop_hears_everything_out_and_ends_with_its_reason_even_when_the_pod_is_deleted_right_after() {
    let speech = Speech::start(json!({}));
    let mut stage = Stage::new(&speech.url());
    stage.log = "trace";
    let mut worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    publisher.reach(4.0).await;
    let heard = publisher.leave().await - 0.1;
    let bearer = format!("Bearer {}", token());
    assert_eq!(stop(&worker, "?reason=RoomEnded", Some(&bearer)).await.0, 202);
    // The operator deletes the pod at once; a stop that is said twice keeps its first reason. A quick worker has ended.
    if let Ok((status, _)) = try_stop(&worker, "?reason=MaxDuration", Some(&bearer)).await {
        assert_eq!(status, 202);
    }
    worker.signal("TERM").await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", stage.stderr());
    let events = stage.events();
    check(&events, &[], heard);
    assert_eq!(ends(&events), [&json!("RoomEnded")]);
    assert_eq!(events.last().unwrap()["type"], "end");
    assert!(!stage.stderr().contains(&token()), "the token is in the log");
}

#[tokio::test]
async fn a_stop_in_a_drain_does_not_wait_for_the_publisher_and_makes_an_end_of_it() {
    let speech = Speech::start(json!({}));
    let stage = Stage::new(&speech.url());
    let mut worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    stage.until_events(|events| numbers(events).contains(&0)).await;
    worker.signal("TERM").await;
    worker.until_status(|status| status["state"] == "draining").await;
    let bearer = format!("Bearer {}", token());
    assert_eq!(stop(&worker, "?reason=Stopped", Some(&bearer)).await.0, 202);
    // Far within the 70 s that SIGTERM gives the publisher.
    assert_eq!(worker.ended().await.code(), Some(0), "{}", stage.stderr());
    drop(publisher);
    assert_eq!(ends(&stage.events()), [&json!("Stopped")]);
}

#[tokio::test]
async fn an_end_is_final_also_where_the_speech_service_refused_the_key() {
    let speech = Speech::start(json!({"post": {"status": 401}}));
    let stage = Stage::new(&speech.url());
    let mut worker = stage.worker().await;
    let publisher = Publisher::start(&stage.url(1), 1.0).await;
    worker.until_status(|status| status["speech"]["reason"] == "CredentialsRejected").await;
    drop(publisher);
    let bearer = format!("Bearer {}", token());
    assert_eq!(stop(&worker, "?reason=StartDeadlineExceeded", Some(&bearer)).await.0, 202);
    assert_eq!(worker.ended().await.code(), Some(0), "{}", stage.stderr());
    assert_eq!(ends(&stage.events()), [&json!("StartDeadlineExceeded")]);
}

#[tokio::test]
async fn a_stop_without_the_token_is_401_and_one_without_a_reason_is_400_and_the_session_goes_on() {
    let stage = Stage::new("http://127.0.0.1:1");
    let worker = stage.worker().await;
    let (bearer, stream_key) =
        (format!("Bearer {}", token()), stage.url(1).rsplit('/').next().unwrap().to_owned());
    let wrong = [
        None,
        Some(token()),
        Some(format!("Basic {}", token())),
        Some(format!("{bearer}x")),
        Some("Bearer ".into()),
        Some(format!("Bearer {stream_key}")),
    ];
    for authorization in wrong {
        let answer = stop(&worker, "?reason=Stopped", authorization.as_deref()).await;
        assert_eq!(answer.0, 401, "{authorization:?}: {answer:?}");
    }
    let long = format!("?reason={}", "A".repeat(65));
    for query in ["", "?reason=", "?reason=stopped", "?reason=Room%20Ended", "?cause=Stopped", long.as_str()]
    {
        let answer = stop(&worker, query, Some(&bearer)).await;
        assert!(answer.0 == 400 && answer.1.contains("reason"), "{query}: {answer:?}");
    }
    assert_eq!(stop(&worker, "", None).await.0, 401, "a stranger learns nothing of the form");
    assert_eq!(worker.get("/stop").await.unwrap().0, 405);
    assert_eq!(worker.status().await["state"], "listening");
    assert_eq!(worker.get("/ready").await.unwrap().0, 200);
}
