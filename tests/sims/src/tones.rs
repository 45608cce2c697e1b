//! Audio whose every word has an identity and a time: `tone<n>` sounds from `n · PERIOD` s on, so that a recogniser of
//! tones shows what was lost, doubled or displaced.

use std::process::Command;

/// From one tone to the next, seconds.
pub const PERIOD: f64 = 1.5;
/// Length of a tone, seconds.
pub const LENGTH: f64 = 0.8;
/// So many have a pitch of their own: `400 + 50 n` Hz.
pub const TONES: u32 = 60;

/// So many seconds of them, ADTS AAC of 48 kHz, made by ffmpeg.
///
/// # Errors
/// ffmpeg is missing, or says what is wrong.
pub fn encode(seconds: f64) -> Result<Vec<u8>, String> {
    let expression = format!("0.3*sin(2*PI*(400+50*floor(t/{PERIOD}))*t)*lt(mod(t\\,{PERIOD})\\,{LENGTH})");
    let source = format!("aevalsrc={expression}:s=48000:d={seconds}");
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", &source])
        .args(["-ac", "1", "-c:a", "aac", "-b:a", "64k", "-f", "adts", "pipe:1"])
        .output()
        .map_err(|error| format!("ffmpeg is missing, install it: {error}"))?;
    output
        .status
        .success()
        .then_some(output.stdout)
        .ok_or_else(|| String::from_utf8_lossy(&output.stderr).into())
}
