//! Any recording as ADTS AAC: as it is when it is that already, otherwise through ffmpeg.

use crate::adts;
use crate::egress::AudioSource;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Two hours at 96 kbit/s.
const MAX_BYTES: u64 = 100 * 1024 * 1024;

/// Why a recording cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// The file is too long.
    #[error("is longer than {} MiB", MAX_BYTES / 1024 / 1024)]
    TooLong,
    /// ffmpeg is not there.
    #[error(
        "is not ADTS AAC, and ffmpeg, which could convert it, is missing: install ffmpeg, or give an .aac file"
    )]
    NoFfmpeg,
    /// ffmpeg refused.
    #[error("ffmpeg cannot read it: {0}")]
    Convert(String),
}

/// Loads a recording.
pub async fn load(path: &Path) -> Result<AudioSource, LoadError> {
    if tokio::fs::metadata(path).await?.len() <= MAX_BYTES {
        let bytes = tokio::fs::read(path).await?;
        if adts::parse(&bytes).is_ok() {
            return Ok(AudioSource::Adts(bytes));
        }
    }
    convert(path).await.map(AudioSource::Adts)
}

async fn convert(path: &Path) -> Result<Vec<u8>, LoadError> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-i"]).arg(path);
    command.args(["-vn", "-ac", "2", "-ar", "48000", "-c:a", "aac", "-b:a", "96k", "-f", "adts", "pipe:1"]);
    let output =
        command.stdin(Stdio::null()).kill_on_drop(true).output().await.map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::NotFound => LoadError::NoFfmpeg,
                _ => LoadError::Read(error),
            }
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(LoadError::Convert(said.lines().last().unwrap_or("no reason given").to_owned()));
    }
    if output.stdout.len() as u64 > MAX_BYTES { Err(LoadError::TooLong) } else { Ok(output.stdout) }
}
