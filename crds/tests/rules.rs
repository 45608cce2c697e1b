//! The CEL rules in process. The same cases (`rules.json`) run against a real API server in the cluster tests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

use roomscribe_crds::{TranscriptionSession, TranscriptionSessionSpec};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Case {
    case: String,
    #[serde(default = "standup")]
    name: String,
    old: Option<Value>,
    spec: Value,
    refused: Option<String>,
}

fn standup() -> String {
    "standup".into()
}

fn session(name: &str, spec: &Value) -> TranscriptionSession {
    // Reading fills in the defaults, as the API server does before it asks the rules.
    let spec: TranscriptionSessionSpec = serde_json::from_value(spec.clone()).unwrap();
    TranscriptionSession::new(name, spec)
}

#[test]
fn every_case_is_accepted_or_refused_with_its_sentence() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("rules.json")).unwrap();
    for case in cases {
        let new = session(&case.name, &case.spec);
        let said = match &case.old {
            None => new.validate_cel(),
            Some(old) => new.validate_cel_update(&session(&case.name, old)),
        };
        match (said, &case.refused) {
            (Ok(()), None) => {}
            (Err(errors), Some(expected)) => {
                let errors = errors.to_string();
                assert!(errors.contains(expected), "{}: {errors}", case.case);
            }
            (Ok(()), Some(_)) => panic!("{}: accepted", case.case),
            (Err(errors), None) => panic!("{}: {errors}", case.case),
        }
    }
}
