//! Gladia's own SDKs transcribe through our server: partials, resume after a reset, 1009, stop, result, file, deletion.
//! Scripts and package lists: `tests/e2e/sdk`. Packages are installed once, outside the checkout.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;
#[path = "common/wer.rs"]
mod wer;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::Server;
use roomscribe_speech::{Config, RecogniserKind, model_files};
use serde_json::{Value, json};

const TWO_CITIES: &str = include_str!("two_cities.txt");
/// The fixture's length, seconds.
const DURATION: f64 = 44.374;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e/sdk")
}

/// Runs a step of the preparation; its failure names what is missing.
fn step(what: &str, command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{what} cannot be run ({e}): install it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what} failed: {}", said.lines().last().unwrap_or_default());
    output
}

/// A folder that is prepared once per version of `list`; two test processes may prepare it at once.
fn prepared(name: &str, list: &str, prepare: impl FnOnce(&Path)) -> PathBuf {
    let sum = list.bytes().fold(5381_u64, |h, b| h.wrapping_mul(33) ^ u64::from(b));
    let folder = model_files::default_cache().join(format!("sdk-{name}-{sum:016x}"));
    let lock =
        std::fs::create_dir_all(&folder).and_then(|()| std::fs::File::create(folder.join("lock"))).unwrap();
    lock.lock().unwrap();
    if !folder.join("ready").exists() {
        prepare(&folder);
        std::fs::write(folder.join("ready"), "").unwrap();
    }
    folder
}

fn python(base: &str, wav: &Path, scenario: &str) -> Command {
    let list = scripts().join("requirements.txt");
    let folder = prepared("python", &std::fs::read_to_string(&list).unwrap(), |folder| {
        step(
            "python3 with venv (Debian: python3-venv)",
            Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")),
        );
        let mut pip = Command::new(folder.join("venv/bin/python"));
        step("pip", pip.args(["-m", "pip", "install", "-q", "--no-deps", "-r"]).arg(&list));
    });
    let mut command = Command::new(folder.join("venv/bin/python"));
    command.arg(scripts().join("python.py")).args([base]).arg(wav).arg(scenario);
    command
}

fn node(base: &str, wav: &Path, scenario: &str) -> Command {
    let list = scripts().join("package.json");
    let folder = prepared("node", &std::fs::read_to_string(&list).unwrap(), |folder| {
        std::fs::copy(&list, folder.join("package.json")).unwrap();
        let mut npm = Command::new("npm");
        step(
            "npm (node 20 or later)",
            npm.args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(folder),
        );
    });
    let mut command = Command::new("node");
    command.arg(scripts().join("node.mjs")).args([base]).arg(wav).arg(scenario).env("NODE_PACKAGES", folder);
    command
}

/// The recogniser's files; they bring the fixtures too.
async fn recogniser() -> model_files::MoonshineFiles {
    let fetch = || model_files::ensure(&model_files::default_cache(), &mut |_| ());
    tokio::task::spawn_blocking(fetch).await.unwrap().unwrap_or_else(|e| panic!("{e}"))
}

/// What an SDK saw when it sent `wav` to a server of this configuration.
async fn run(
    sdk: fn(&str, &Path, &str) -> Command,
    wav: PathBuf,
    scenario: &'static str,
    mut config: Config,
) -> Value {
    let dir = tempfile::tempdir().unwrap();
    config.audio_dir = Some(dir.path().into());
    let server = Server::start(config).await;
    let base = server.base.clone();
    let output =
        tokio::task::spawn_blocking(move || step("the SDK's script", &mut sdk(&base, &wav, scenario)));
    serde_json::from_slice(&output.await.unwrap().stdout).unwrap()
}

/// The opening of "A Tale of Two Cities", heard by the real recogniser.
async fn two_cities(sdk: fn(&str, &Path, &str) -> Command, scenario: &'static str, faults: Value) -> Value {
    let files = recogniser().await;
    let wav = files.two_cities_wav.clone();
    let mut config = Config::new(RecogniserKind::Moonshine(files));
    config.faults = serde_json::from_value(faults).unwrap();
    run(sdk, wav, scenario, config).await
}

/// Partials depend on the machine's load with the real recogniser, never with a script.
async fn partials(sdk: fn(&str, &Path, &str) -> Command) {
    let wav = recogniser().await.beckett_wav;
    let seen = run(sdk, wav, "paced", common::scripted(common::two_sentences())).await;
    assert_eq!(seen["finals"], json!([" Hello dear world", " Второе предложение"]));
    assert!(seen["partials"].as_u64().unwrap() >= 2, "{seen}");
}

fn judge(seen: &Value, connections: u64, slack: f64) {
    let text = seen["text"].as_str().unwrap();
    let error_rate = wer::wer(TWO_CITIES, text);
    println!("{}: WER {error_rate:.3}, {} partials", seen["sdk"], seen["partials"]);
    assert!(error_rate <= 0.15, "{error_rate}: {text}");
    let finals: String = seen["finals"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    assert_eq!(finals.trim(), text, "the socket and the result must agree");
    assert_eq!(
        (&seen["code"], &seen["status"], &seen["connections"]),
        (&json!(1000), &json!("done"), &json!(connections))
    );
    let duration = seen["duration"].as_f64().unwrap();
    assert!((DURATION - 0.01..DURATION + slack).contains(&duration), "{duration} s: audio lost or doubled");
    assert_eq!(
        (&seen["file"]["head"], &seen["listed"], &seen["deleted"]),
        (&json!("RIFF"), &json!(true), &json!(true))
    );
    for kind in [
        "start_session",
        "start_recording",
        "speech_start",
        "speech_end",
        "stop_recording",
        "end_recording",
        "post_transcript",
        "post_final_transcript",
        "end_session",
    ] {
        assert!(seen["types"].as_array().unwrap().contains(&json!(kind)), "{kind} was not seen");
    }
}

/// A reset takes acknowledgments with it that were on their way: what they covered is sent twice.
const IN_FLIGHT: f64 = 1.0;

fn reset() -> Value {
    json!({"cuts": [{"atSeconds": 7.0, "how": "reset"}]})
}

#[tokio::test]
async fn the_python_sdk_resumes_after_a_reset_and_gets_the_whole_transcript() {
    judge(&two_cities(python, "paced", reset()).await, 2, IN_FLIGHT);
}

#[tokio::test]
async fn the_python_sdk_resends_an_over_long_frame_in_smaller_ones() {
    judge(&two_cities(python, "overlong", json!({})).await, 2, 0.01);
}

#[tokio::test]
async fn the_javascript_sdk_resumes_after_a_reset_and_gets_the_whole_transcript() {
    judge(&two_cities(node, "paced", reset()).await, 2, IN_FLIGHT);
}

#[tokio::test]
async fn the_javascript_sdk_resends_an_over_long_frame_in_smaller_ones() {
    judge(&two_cities(node, "overlong", json!({})).await, 2, 0.01);
}

#[tokio::test]
async fn the_python_sdk_sees_partials_and_the_same_finals_as_the_script() {
    partials(python).await;
}

#[tokio::test]
async fn the_javascript_sdk_sees_partials_and_the_same_finals_as_the_script() {
    partials(node).await;
}
