//! The options of the speech service stand in three places, because neither gateway, worker nor resource may know another
//! (see `tests/e2e/tests/arrows.rs`). Names and defaults must be the same in all, or an option is lost on its way.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What only the worker knows.
const WORKERS_OWN: [&str; 2] = ["rolloverAfterSeconds", "idleCloseAfterSeconds"];

/// What `T` makes of `given`.
fn read<T: DeserializeOwned + Serialize>(given: &Value) -> Value {
    let read: T = serde_json::from_value(given.clone()).unwrap_or_else(|error| panic!("{given}: {error}"));
    let mut written = serde_json::to_value(read).unwrap();
    if let Some(fields) = written.as_object_mut() {
        WORKERS_OWN.iter().for_each(|own| drop(fields.remove(*own)));
    }
    written
}

fn by_all(given: &Value) -> [(&'static str, Value); 3] {
    [
        ("gateway", read::<roomscribe_gateway::sessions::SpeechSpec>(given)),
        ("worker", read::<roomscribe_worker::pipeline::SpeechSettings>(given)),
        ("resource", read::<roomscribe_crds::Speech>(given)),
    ]
}

#[test]
fn request_resource_and_worker_have_the_same_speech_options_and_defaults() {
    let [(_, gateway), others @ ..] = by_all(&json!({}));
    assert_eq!(gateway["endpointingMilliseconds"], 300, "contract §1");
    for (place, defaults) in others {
        assert_eq!(defaults, gateway, "{place} and gateway differ");
    }
}

#[test]
fn every_speech_option_arrives_in_request_resource_and_worker() {
    let all = json!({
        "languages": ["ru", "en"],
        "codeSwitching": true,
        "vocabulary": [{"value": "Roomscribe", "pronunciations": ["room scribe"]}],
        "translateTo": ["de"],
        "endpointingMilliseconds": 200,
        "partials": false,
    });
    for (place, read) in by_all(&all) {
        assert_eq!(read, all, "{place}");
    }
}

#[test]
fn request_and_resource_have_the_same_limits_and_defaults() {
    let nothing = json!({});
    assert_eq!(
        read::<roomscribe_gateway::sessions::Limits>(&nothing),
        read::<roomscribe_crds::Limits>(&nothing)
    );
}
