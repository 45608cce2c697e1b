//! LiveKit's own server SDK (npm) against the simulated LiveKit: what our client takes for LiveKit is LiveKit's.
//! Script and package list: `tests/e2e/livekit-sdk`. The package is installed once, outside the checkout.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use common::packages::{node, scripts, step};
use common::{KEY, SECRET, World};
use serde_json::{Value, json};
use std::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn livekit_s_own_sdk_works_against_the_simulator_and_verifies_its_webhooks() {
    if Command::new("node").arg("--version").output().is_err() {
        println!("not run: node is missing (Debian: nodejs npm)");
        return;
    }
    // A free port, for the script to listen on; nobody else takes it within these moments.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let world = World::new(Some(format!("http://127.0.0.1:{port}/"))).await;
    let (rtmp, next, url) = (world.url(1), world.url(2), world.livekit.url());
    let run = tokio::task::spawn_blocking(move || {
        let mut script = Command::new("node");
        script.arg(scripts().join("node.mjs")).args([&url, KEY, SECRET, &rtmp, &next]);
        script.env("NODE_PACKAGES", node()).env("WEBHOOK_PORT", port.to_string());
        step("the SDK's script", &mut script)
    });
    let seen: Value = serde_json::from_slice(&run.await.unwrap().stdout).unwrap();
    judge_calls(&seen);
    judge_errors(&seen["errors"]);
    judge_webhooks(&seen);
    let publishes = world.sink.publishes();
    assert_eq!(publishes.len(), 2);
    assert!(publishes.iter().all(|publish| publish.headers == 1), "an AAC header at both targets");
    assert!(publishes.iter().any(|publish| !publish.frames.is_empty()), "real audio");
}

fn judge_calls(seen: &Value) {
    assert_eq!(seen["room"]["emptyTimeout"], 60);
    assert_eq!(seen["rooms"], json!(["planning", "standup"]));
    assert_eq!(seen["people"], json!([["ada", 1]]));
    assert_eq!(seen["person"], "ada");
    assert_eq!(seen["started"]["status"], "EGRESS_STARTING", "no status key is STARTING");
    assert!(seen["started"]["url"].as_str().unwrap().ends_with("/{q83...4kA}"), "{seen}");
    assert_eq!(seen["running"]["case"], "roomComposite");
    assert_eq!(seen["moved"].as_array().unwrap().len(), 2);
    assert_eq!(seen["ended"], json!({"details": "End reason: StopEgress API", "took": true}));
}

fn judge_errors(errors: &Value) {
    let expected = [
        ("room", 404, json!("not_found"), "requested room does not exist"),
        ("stop", 412, json!("failed_precondition"), "egress with status EGRESS_COMPLETE cannot be stopped"),
        ("url", 400, json!("invalid_argument"), "invalid rtmp url"),
        ("secret", 401, Value::Null, ""),
        ("participant", 404, json!("not_found"), "participant does not exist"),
    ];
    for (name, status, code, text) in expected {
        let error = &errors[name];
        assert_eq!((&error["status"], &error["code"]), (&json!(status), &code), "{name}: {errors}");
        assert!(error["message"].as_str().unwrap().contains(text), "{name}: {error}");
    }
}

fn judge_webhooks(seen: &Value) {
    let webhooks: Vec<&str> =
        seen["webhooks"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in [
        "room_started",
        "egress_started",
        "participant_joined",
        "egress_updated",
        "egress_ended",
        "room_finished",
    ] {
        assert!(webhooks.contains(&name), "{name}: {webhooks:?}");
    }
    assert!(webhooks.iter().all(|name| !name.starts_with("refused")), "{webhooks:?}");
    assert_eq!(seen["forged"], webhooks.len(), "a changed body is refused each time");
}
