//! The arrows between crates are those of the design; another one is a decision, not an accident.

use serde_json::Value;
use std::process::Command;

/// Who may depend on whom. What is not here is forbidden.
const ARROWS: &[(&str, &[&str])] = &[
    ("roomscribe-rtmp", &[]),
    ("roomscribe-transcript", &[]),
    ("roomscribe-pipeline", &["roomscribe-rtmp", "roomscribe-transcript"]),
    ("roomscribe-worker", &["roomscribe-pipeline", "roomscribe-rtmp", "roomscribe-transcript"]),
    ("roomscribe-crds", &[]),
    ("roomscribe-plan", &["roomscribe-crds"]),
    ("roomscribe-livekit", &[]),
    ("roomscribe-calls", &["roomscribe-crds", "roomscribe-livekit", "roomscribe-plan"]),
    (
        "roomscribe-operator",
        &["roomscribe-calls", "roomscribe-crds", "roomscribe-livekit", "roomscribe-plan"],
    ),
    ("roomscribe-gateway", &["roomscribe-crds", "roomscribe-livekit", "roomscribe-transcript"]),
    ("roomscribe-speech", &[]),
    ("roomscribe-sims", &[]),
    (
        "roomscribe",
        &[
            "roomscribe-calls",
            "roomscribe-crds",
            "roomscribe-gateway",
            "roomscribe-livekit",
            "roomscribe-plan",
            "roomscribe-sims",
            "roomscribe-speech",
            "roomscribe-transcript",
            "roomscribe-worker",
        ],
    ),
    (
        "roomscribe-cluster",
        &["roomscribe-crds", "roomscribe-gateway", "roomscribe-sims", "roomscribe-transcript"],
    ),
    ("roomscribe-e2e", &["roomscribe-sims"]),
    ("roomscribe-load", &["roomscribe-gateway", "roomscribe-transcript"]),
];

/// Tests of any crate may use the simulators and the speech server, never the other way round; a crate may switch its
/// own test features on.
const FOR_TESTS: &[&str] = &["roomscribe-sims", "roomscribe-speech"];

#[test]
fn no_crate_depends_on_one_that_the_design_does_not_list() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(forbidden(&metadata), Vec::<String>::new());
}

#[test]
fn a_forbidden_arrow_is_found() {
    let package = |name: &str, dependency: &str, kind: Value| serde_json::json!({"name": name, "dependencies": [{"name": dependency, "kind": kind, "path": "x"}]});
    let cases = [
        (package("roomscribe-worker", "roomscribe-gateway", Value::Null), true),
        (package("roomscribe-sims", "roomscribe-rtmp", Value::Null), true),
        (package("roomscribe-sims", "roomscribe-livekit", Value::Null), true),
        (package("roomscribe-livekit", "roomscribe-sims", "dev".into()), false),
        (package("roomscribe-plan", "roomscribe-livekit", Value::Null), true),
        (package("roomscribe-worker", "roomscribe-livekit", Value::Null), true),
        (package("roomscribe-rtmp", "roomscribe-transcript", "dev".into()), true),
        (package("roomscribe-rtmp", "roomscribe-sims", "dev".into()), false),
        (package("roomscribe-worker", "roomscribe-speech", "dev".into()), false),
        (package("roomscribe-worker", "roomscribe-speech", Value::Null), true),
        (package("roomscribe-worker", "roomscribe-rtmp", Value::Null), false),
        (package("roomscribe-new", "roomscribe-rtmp", Value::Null), true),
    ];
    for (package, expected) in cases {
        let found = forbidden(&serde_json::json!({"packages": [package]}));
        assert_eq!(!found.is_empty(), expected, "{package}");
    }
}

/// `A → B` for each arrow between our crates that is not allowed.
fn forbidden(metadata: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let allowed = ARROWS.iter().find(|(from, _)| *from == name).map_or(&[][..], |(_, to)| to);
        for dependency in package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| !dependency["path"].is_null())
        {
            let to = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"] == "dev" && (FOR_TESTS.contains(&to) || to == name);
            if !allowed.contains(&to) && !for_tests {
                found.push(format!("{name} → {to}"));
            }
        }
    }
    found
}
