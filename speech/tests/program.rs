//! `roomscribe-speech` as a cluster runs it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_roomscribe-speech"));
    for name in [
        "HTTP_LISTEN",
        "SPEECH_API_KEY",
        "SPEECH_MAX_SESSIONS",
        "SPEECH_MODEL_DIR",
        "SPEECH_SCRIPT",
        "RUST_LOG",
    ] {
        program.env_remove(name);
    }
    program
}

fn refused(output: &Output, code: i32, word: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(word) && said.trim().lines().count() == 1, "{said}");
}

#[test]
fn a_setting_that_cannot_be_used_is_named_in_one_line() {
    refused(&program().output().unwrap(), 64, "SPEECH_API_KEY");
    refused(&program().env("SPEECH_MAX_SESSIONS", "0").output().unwrap(), 64, "--max-sessions");
    let missing = program().env("SPEECH_API_KEY", "k").env("SPEECH_MODEL_DIR", "/nowhere").output().unwrap();
    refused(&missing, 69, "SPEECH_MODEL_DIR");
    let script = program().env("SPEECH_API_KEY", "k").env("SPEECH_SCRIPT", "/nowhere").output().unwrap();
    refused(&script, 64, "SPEECH_SCRIPT");
}

#[tokio::test]
async fn it_hears_a_script_asks_for_its_key_and_ends_well_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script.json");
    std::fs::write(&script, r#"{"utterances":[{"start":0.0,"end":1.0,"text":"One."}]}"#).unwrap();
    let mut child = program()
        .args(["--http-listen", "127.0.0.1:0", "--api-key", "first,second", "--script"])
        .arg(&script)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = said.next().unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = format!("http://{}/v2/live", line["fields"]["address"].as_str().unwrap());
    let ask = |key: &'static str| {
        let body =
            serde_json::json!({"encoding": "wav/pcm", "sample_rate": 16000, "bit_depth": 16, "channels": 1});
        reqwest::Client::new().post(&url).header("x-gladia-key", key).json(&body).send()
    };
    assert_eq!(ask("second").await.unwrap().status(), 201);
    assert_eq!(ask("third").await.unwrap().status(), 401);
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(child.wait().unwrap().success());
}
