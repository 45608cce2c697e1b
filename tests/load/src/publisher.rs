//! The publisher: one ffmpeg that paces a 48 kHz stereo AAC file and copies it, packet by packet, to all receivers.

use crate::process::{Running, command};
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Encodes the meeting as FLV, 48 kHz stereo AAC at 128 kbit/s, `seconds` long.
pub fn encode(meeting: &Path, folder: &Path, seconds: u64) -> Result<PathBuf> {
    let file = folder.join("speech.flv");
    let done = command("ffmpeg", None)
        .args(["-nostdin", "-loglevel", "error", "-y", "-stream_loop", "-1", "-i"])
        .arg(meeting)
        .args(["-t", &seconds.to_string(), "-vn", "-ac", "2", "-ar", "48000", "-c:a", "aac", "-b:a", "128k"])
        .args(["-f", "flv"])
        .arg(&file)
        .status()?;
    ensure!(done.success(), "ffmpeg cannot encode {}", meeting.display());
    Ok(file)
}

/// Publishes in real time; one URL alone, or several through the tee muxer, which gives all the same packets.
pub fn publish(file: &Path, urls: &[String]) -> Result<Running> {
    let mut ffmpeg = command("ffmpeg", None);
    ffmpeg
        .args(["-nostdin", "-loglevel", "error", "-re", "-i"])
        .arg(file)
        .args(["-map", "0:a", "-c", "copy"]);
    match urls {
        [url] => ffmpeg.args(["-f", "flv", url]),
        urls => {
            let slaves: Vec<_> = urls.iter().map(|url| format!("[f=flv]{url}")).collect();
            ffmpeg.args(["-f", "tee", &slaves.join("|")])
        }
    };
    Running::start("the publisher (ffmpeg)", ffmpeg.stdout(Stdio::null()))
}
