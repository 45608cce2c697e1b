//! What is generated from the types is committed, and is the same. `UPDATE=1 cargo test -p roomscribe-crds` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

use roomscribe_crds::reason::Reason;
use roomscribe_crds::{TranscriptionSession, TranscriptionSessionSpec, crd_yaml};
use std::fmt::Write;
use std::path::Path;

fn same(path: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == made, "{} differs from the types: run `make generate`", path.display());
}

#[test]
fn the_committed_crd_is_the_one_of_the_types() {
    same("transcriptionsessions.yaml", &crd_yaml().unwrap());
}

#[test]
fn the_documented_reasons_are_the_ones_of_the_code() {
    let mut page = String::from(
        "# Conditions: what each reason means, and what to do\n\n`kubectl get ts` shows the reason of `Ready`; `kubectl describe ts NAME` shows all conditions with their messages.\nThis page is made from the code (`make generate`).\n\n| reason | what it means | what to do |\n|---|---|---|\n",
    );
    for reason in Reason::ALL {
        writeln!(page, "| `{reason}` | {} | {} |", reason.meaning(), reason.action()).unwrap();
    }
    same("../docs/conditions.md", &page);
}

#[test]
fn every_reason_is_one_word_in_camel_case() {
    for reason in Reason::ALL {
        let word = reason.as_str();
        assert!(word.starts_with(|c: char| c.is_ascii_uppercase()), "{word}");
        assert!(word.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{word}");
    }
}

#[test]
fn a_session_with_nothing_but_a_room_has_the_defaults_of_the_contract() {
    let read: TranscriptionSessionSpec = serde_json::from_str(r#"{"roomName":"standup"}"#).unwrap();
    assert_eq!(read, TranscriptionSessionSpec::for_room("standup"));
    let shown = serde_json::to_value(&read).unwrap();
    for (pointer, expected) in [
        ("/desiredState", "\"Running\""),
        ("/capture/mode", "\"Auto\""),
        ("/capture/fallbackAfterSeconds", "60"),
        ("/ingest/exposure", "\"LoadBalancer\""),
        ("/ingest/addressTimeoutSeconds", "180"),
        ("/ingest/keyGeneration", "1"),
        ("/speech/endpointingMilliseconds", "300"),
        ("/speech/partials", "true"),
        ("/speakers/source", "\"ActiveSpeakers\""),
        ("/speakers/postCall", "\"None\""),
        ("/speakers/postCallDeadlineSeconds", "900"),
        ("/limits/startDeadlineSeconds", "600"),
        ("/limits/maxDurationSeconds", "43200"),
        ("/limits/roomEmptyTimeoutSeconds", "300"),
        ("/ttlSecondsAfterFinished", "3600"),
        ("/worker/disruption", "\"Move\""),
        ("/replicas", "1"),
    ] {
        let value = shown.pointer(pointer).map(ToString::to_string);
        assert_eq!(value.as_deref(), Some(expected), "{pointer}");
    }
}

#[test]
fn every_field_is_documented_for_kubectl_explain() {
    use kube::CustomResourceExt;
    let crd = serde_json::to_value(TranscriptionSession::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut silent = Vec::new();
    for part in ["spec", "status"] {
        undocumented(&schema[part], part, &mut silent);
    }
    assert_eq!(silent, Vec::<String>::new());
}

fn undocumented(schema: &serde_json::Value, path: &str, silent: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if property["description"].as_str().is_none_or(str::is_empty) {
            silent.push(path.clone());
        }
        undocumented(property, &path, silent);
        undocumented(&property["items"], &path, silent);
    }
}
