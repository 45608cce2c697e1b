//! LiveKit's own server SDK (npm) against the simulated LiveKit: what our client takes for LiveKit is LiveKit's.
//! Script and package list: `tests/e2e/livekit-sdk`. The package is installed once, outside the checkout.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use common::{KEY, SECRET, World};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e/livekit-sdk")
}

fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    set("ROOMSCRIBE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("roomscribe")))
        .unwrap_or_else(|| set("HOME").unwrap().join(".cache/roomscribe"))
}

/// Runs a step; its failure names what is missing.
fn step(what: &str, command: &mut Command) -> Output {
    let output =
        command.output().unwrap_or_else(|error| panic!("{what} cannot be run ({error}): install it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what} failed: {said}");
    output
}

/// The folder with the package, prepared once per version of the list; two test processes may prepare it at once.
fn packages() -> PathBuf {
    let list = scripts().join("package.json");
    let sum = std::fs::read(&list).unwrap().iter().fold(5381_u64, |h, b| h.wrapping_mul(33) ^ u64::from(*b));
    let folder = cache().join(format!("sdk-livekit-{sum:016x}"));
    std::fs::create_dir_all(&folder).unwrap();
    let lock = std::fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    if !folder.join("ready").exists() {
        std::fs::copy(&list, folder.join("package.json")).unwrap();
        let mut npm = Command::new("npm");
        step(
            "npm (node 20 or later)",
            npm.args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder),
        );
        std::fs::write(folder.join("ready"), "").unwrap();
    }
    folder
}

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
        let mut node = Command::new("node");
        node.arg(scripts().join("node.mjs")).args([&url, KEY, SECRET, &rtmp, &next]);
        node.env("NODE_PACKAGES", packages()).env("WEBHOOK_PORT", port.to_string());
        step("the SDK's script", &mut node)
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
