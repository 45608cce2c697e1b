//! `roomscribe speech`: Gladia's protocol from the built program, and what it says to bad settings.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use roomscribe_e2e::{PATIENCE, binary};
use serde_json::{Value, json};
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

fn speech(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary().unwrap());
    command.arg("speech").args(arguments).env_remove("SPEECH_API_KEY").kill_on_drop(true);
    command
}

async fn ended(arguments: &[&str]) -> Output {
    timeout(PATIENCE, speech(arguments).output()).await.unwrap().unwrap()
}

#[tokio::test]
async fn it_says_where_it_listens_hears_a_script_and_ends_well_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script.json");
    std::fs::write(
        &script,
        json!({"utterances": [{"start": 0.1, "end": 0.4, "text": " Hello"}]}).to_string(),
    )
    .unwrap();
    let mut child = speech(&["--listen", "127.0.0.1:0", "--script", script.to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, said.next_line()).await.unwrap().unwrap().unwrap();
    let base = line.split("GLADIA_API_URL=").nth(1).unwrap_or_else(|| panic!("no address in: {line}"));
    let client = reqwest::Client::new();
    let reply = client.post(format!("{base}/v2/live")).json(&json!({})).send().await.unwrap();
    assert_eq!(reply.status().as_u16(), 201);
    let reply: Value = reply.json().await.unwrap();
    assert!(reply["url"].as_str().unwrap().starts_with("ws://127.0.0.1:"), "{reply}");
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn beyond_loopback_it_wants_a_key_and_names_the_setting() {
    for arguments in [&["--listen", "0.0.0.0:0"][..], &["--listen", "nowhere"]] {
        let output = ended(arguments).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
        assert!(said.contains("--listen"), "{said}");
    }
    let missing = ended(&["--listen", "127.0.0.1:0", "--script", "/nonexistent.json"]).await;
    assert_eq!(missing.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nonexistent.json"));
}
