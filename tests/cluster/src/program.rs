//! Where the cluster program is.

use anyhow::{Context, ensure};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Builds it first if it was never built (see `build.sh`); its progress goes to stderr.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/build.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output().context(script)?;
    ensure!(output.status.success(), "{script} failed");
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
