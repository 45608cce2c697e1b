//! What is built outside cargo: the cluster program, what enforces policies on it, and the images that a node itself needs.

use anyhow::{Context, ensure};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Builds it first if it was never built (see `build.sh`); its progress goes to stderr.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    script("build.sh", &[])
}

/// The path that a script of this crate prints.
pub(crate) fn script(name: &str, arguments: &[&str]) -> anyhow::Result<PathBuf> {
    let script = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(&script)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| script.clone())?;
    ensure!(output.status.success(), "{script} failed");
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
