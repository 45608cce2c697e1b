//! One run of a `roomscribe` command: what it prints, and how it ends.

use crate::{PATIENCE, roomscribe};
use anyhow::{Context, Result};
use serde_json::Value;
use std::process::Stdio;
use tokio::process::Command;
use tokio::time::timeout;

/// What a command left.
#[derive(Debug)]
pub struct Finished {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Finished {
    /// Standard output as JSON, one value per line.
    pub fn json(&self) -> Result<Vec<Value>> {
        self.out.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// The only line of standard error.
    pub fn line(&self) -> &str {
        assert_eq!(self.err.trim_end().lines().count(), 1, "not one line: {}", self.err);
        self.err.trim_end()
    }
}

/// Runs a command to its end.
pub async fn finish(mut command: Command) -> Result<Finished> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = timeout(PATIENCE, command.output()).await.context("the command did not end")??;
    Ok(Finished {
        code: output.status.code().context("it was killed")?,
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

/// Runs `roomscribe WORDS…` against a gateway.
pub async fn run(url: &str, words: &[&str]) -> Result<Finished> {
    let mut command = roomscribe()?;
    command.args(words).env("ROOMSCRIBE_URL", url).current_dir("/");
    finish(command).await
}
