//! The operator as a process: a setting that cannot work ends it with one line that names the setting.
#![allow(clippy::unwrap_used, reason = "test support: clippy knows tests only by their attribute")]

use std::path::Path;
use std::process::{Command, Output};

fn operator(environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roomscribe-operator"))
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn install(folder: &Path) -> String {
    std::fs::write(folder.join("id"), "0a1b2c3d").unwrap();
    std::fs::write(folder.join("key"), [7; 32]).unwrap();
    folder.to_str().unwrap().to_owned()
}

#[test]
fn a_setting_that_cannot_work_ends_with_64_and_names_itself() {
    let folder = tempfile::tempdir().unwrap();
    let install = install(folder.path());
    let half = [("LIVEKIT_HTTP_URL", "https://h"), ("LIVEKIT_API_KEY", "k"), ("INSTALL_DIR", &*install)];
    let cases: [(&[(&str, &str)], &str); 7] = [
        (&half, "LIVEKIT_API_SECRET"),
        (&[("INSTALL_DIR", "/nowhere")], "INSTALL_DIR"),
        (&[("INSTALL_DIR", &install), ("RUST_LOG", "=nonsense=")], "RUST_LOG"),
        (&[("INSTALL_DIR", &install), ("METRICS_LISTEN", "here")], "METRICS_LISTEN"),
        (&[("INSTALL_DIR", &install), ("LEASE_SECONDS", "0")], "LEASE_SECONDS"),
        (&[("INSTALL_DIR", &install), ("LIVEKIT_RATE", "0")], "LIVEKIT_RATE"),
        (
            &[("INSTALL_DIR", &install), ("WORKER_RESOURCES", r#"{"limits":{"memory":"64m"}}"#)],
            "write 64Mi for 64 mebibytes",
        ),
    ];
    for (environment, named) in cases {
        let output = operator(environment);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{named}: {said}");
        assert!(said.contains(named), "{named}: {said}");
    }
}

#[test]
fn without_a_kubernetes_api_it_ends_with_69_and_says_how_to_give_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = operator(&[("INSTALL_DIR", &install(folder.path())), ("KUBECONFIG", "/nowhere")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("KUBECONFIG"), "{said}");
}

#[test]
fn help_names_every_setting_and_shows_no_secret() {
    let output = Command::new(env!("CARGO_BIN_EXE_roomscribe-operator"))
        .arg("--help")
        .env("LIVEKIT_API_SECRET", "hush-hush")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for setting in ["LIVEKIT_HTTP_URL", "GLADIA_API_KEY", "INSTALL_DIR", "WORKER_IMAGE", "WATCH_NAMESPACES"] {
        assert!(said.contains(setting), "{setting}: {said}");
    }
    assert!(!said.contains("hush-hush"));
}
