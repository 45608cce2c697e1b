//! The program `roomscribe-gateway` as whoever starts it sees it: help, version, wrong settings. What it does with an API
//! server and NATS: `tests/cluster/tests/gateway`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

use std::path::Path;
use std::process::{Command, Output};

const KEY: &str = "the-api-key-of-this-test";
/// In values that must not be shown.
const SECRET: &str = "hush-hush";

fn gateway(settings: &[(&str, &str)], flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomscribe-gateway"));
    // Somewhere without a cluster, whoever runs this test.
    command.env_clear().env("KUBECONFIG", "/nowhere").envs(settings.iter().copied()).args(flags);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Settings that are right, in a folder.
fn good(folder: &Path) -> Vec<(&'static str, String)> {
    std::fs::write(folder.join("id"), "9f2c01ab").unwrap();
    std::fs::write(folder.join("key"), [7; 32]).unwrap();
    vec![
        ("INSTALL_DIR", folder.display().to_string()),
        ("NATS_URL", "nats://user:hush-hush@127.0.0.1:1".to_owned()),
        ("ROOMSCRIBE_API_KEY", KEY.to_owned()),
    ]
}

#[test]
fn help_and_version_are_successes_and_show_no_secret_of_the_environment() {
    let secrets = [("ROOMSCRIBE_API_KEY", SECRET), ("ROOMSCRIBE_JWT_SECRET", SECRET), ("NATS_URL", SECRET)];
    let help = gateway(&secrets, &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let said = text(&help.stdout);
    assert!(said.contains("NATS_URL") && said.contains("--session-defaults"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
    let version = gateway(&[], &["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(text(&version.stdout).starts_with(concat!("roomscribe-gateway ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_wrong_setting_is_64_and_one_line_that_names_it_and_quotes_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let right = good(folder.path());
    for (setting, wrong) in [
        ("NATS_URL", ""),
        ("NATS_URL", "http://user:hush-hush@h"),
        ("NATS_CREDS", "/not/there"),
        ("NATS_REPLICAS", "7"),
        ("RETENTION_DAYS", "0"),
        ("INSTALL_DIR", "/not/there"),
        ("HTTP_LISTEN", "nowhere"),
        ("METRICS_LISTEN", "9090"),
        ("ROOMSCRIBE_API_KEY", "hush-hush"),
        ("ROOMSCRIBE_API_KEY", ""),
        ("ROOMSCRIBE_API_KEY_FILE", "/not/there"),
        ("ROOMSCRIBE_JWT_SECRET", "hush-hush"),
        ("ROOMSCRIBE_JWKS_URL", "https://user:hush-hush@h/keys"),
        ("ROOMSCRIBE_JWKS_URL", "keys"),
        ("SESSION_DEFAULTS", r#"{"colour": 1}"#),
        ("SETTLE_SECONDS", "soon"),
        ("RUST_LOG", "=="),
    ] {
        let mut settings: Vec<(&str, &str)> =
            right.iter().map(|(name, value)| (*name, value.as_str())).collect();
        settings.retain(|(name, _)| *name != setting);
        settings.push((setting, wrong));
        let output = gateway(&settings, &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{setting}={wrong}: {said}");
        assert!(said.starts_with(&format!("roomscribe-gateway: {setting}")), "{setting}={wrong}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!said.contains(SECRET) && !said.contains(KEY), "{said}");
    }
    let flag = gateway(&[], &["--colour", "red"]);
    assert_eq!((flag.status.code(), text(&flag.stderr).contains("--colour")), (Some(64), true));
}

#[test]
fn outside_a_cluster_it_is_69_and_says_where_it_looked() {
    let folder = tempfile::tempdir().unwrap();
    let right = good(folder.path());
    let settings: Vec<(&str, &str)> = right.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = gateway(&settings, &[]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("KUBECONFIG") && !said.contains(SECRET), "{said}");
}
