//! What tests fetch once and keep outside the checkout.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// LiveKit's own SDKs: scripts and package lists.
pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e/livekit-sdk")
}

pub(crate) fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    set("ROOMSCRIBE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("roomscribe")))
        .unwrap_or_else(|| set("HOME").unwrap().join(".cache/roomscribe"))
}

/// Runs a step; its failure names what is missing.
pub(crate) fn step(what: &str, command: &mut Command) -> Output {
    let output =
        command.output().unwrap_or_else(|error| panic!("{what} cannot be run ({error}): install it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what} failed: {said}");
    output
}

/// A folder with packages, prepared once per version of their list; two test processes may prepare it at once.
fn prepared(list: &str, prepare: impl FnOnce(&Path, &Path)) -> PathBuf {
    let list = scripts().join(list);
    let sum = std::fs::read(&list).unwrap().iter().fold(5381_u64, |h, b| h.wrapping_mul(33) ^ u64::from(*b));
    let folder = cache().join(format!("sdk-livekit-{sum:016x}"));
    std::fs::create_dir_all(&folder).unwrap();
    let lock = std::fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    if !folder.join("ready").exists() {
        prepare(&folder, &list);
        std::fs::write(folder.join("ready"), "").unwrap();
    }
    folder
}

/// The folder with `node_modules`.
pub(crate) fn node() -> PathBuf {
    prepared("package.json", |folder, list| {
        std::fs::copy(list, folder.join("package.json")).unwrap();
        let mut npm = Command::new("npm");
        step(
            "npm (node 20 or later)",
            npm.args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(folder),
        );
    })
}

/// The Python that has the packages.
pub(crate) fn python() -> PathBuf {
    let folder = prepared("requirements.txt", |folder, list| {
        let mut venv = Command::new("python3");
        step("python3 with venv (Debian: python3-venv)", venv.args(["-m", "venv"]).arg(folder.join("venv")));
        let mut pip = Command::new(folder.join("venv/bin/python"));
        step("pip", pip.args(["-m", "pip", "install", "-q", "--no-deps", "-r"]).arg(list));
    });
    folder.join("venv/bin/python")
}
