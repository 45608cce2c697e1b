//! The three receivers of one publisher: ours, node-media-server with an ffmpeg that pulls from it, ffmpeg alone.

use crate::process::{Running, command, free_port, until_listening};
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Where the programs under test are.
#[derive(Debug, Clone, clap::Args)]
pub struct Programs {
    /// Folder of the release build's programs.
    #[arg(long)]
    pub programs: PathBuf,
    /// Folder with the peers' scripts and their node_modules.
    #[arg(long)]
    pub peers: PathBuf,
}

/// Where utterances of the scripted recogniser end, seconds of audio; its final follows 300 ms of audio later.
pub const UTTERANCE_SECONDS: f64 = 1.0;
/// Endpointing that sessions ask for by default.
pub const ENDPOINTING_SECONDS: f64 = 0.3;
const SESSION: &str = "019aaaaa-0000-7000-8000-00000000bec4";
const SECRET: [u8; 32] = [7; 32];

/// A timeline of one utterance every 4 s: the first from 0.2 s to 1 s.
pub fn script(folder: &Path, seconds: u64) -> Result<PathBuf> {
    let utterance = |nth: u64| {
        let start = 0.2 + 4.0 * nth as f64;
        let length = if nth == 0 { UTTERANCE_SECONDS - 0.2 } else { 3.0 };
        json!({"start": start, "end": start + length, "text": "and then we agreed that the microphones would be moved"})
    };
    let utterances: Vec<_> = (0..seconds / 4 + 1).map(utterance).collect();
    let path = folder.join("script.json");
    fs::write(&path, json!({"utterances": utterances}).to_string())?;
    Ok(path)
}

/// `roomscribe speech` with the scripted recogniser: the stand-in for a speech service, in its own process.
pub fn speech(programs: &Programs, script: &Path, sessions: usize) -> Result<(Running, u16)> {
    let port = free_port()?;
    let mut command = command(programs.programs.join("roomscribe"), None);
    command.args(["speech", "--listen", &format!("127.0.0.1:{port}"), "--script"]).arg(script);
    command.args(["--max-sessions", &sessions.to_string()]).stdout(Stdio::null());
    let mut speech = Running::start("roomscribe speech", &mut command)?;
    until_listening(port, &mut speech)?;
    Ok((speech, port))
}

/// Our worker and what its publisher must know.
#[derive(Debug)]
pub struct Ours {
    /// The worker.
    pub worker: Running,
    /// RTMP port.
    pub port: u16,
    log: PathBuf,
}

impl Ours {
    /// Starts `roomscribe-worker` for one session, with its speech service on `speech_port`.
    pub fn start(programs: &Programs, folder: &Path, speech_port: u16) -> Result<Self> {
        let (port, metrics) = (free_port()?, free_port()?);
        let file = folder.join("session.json");
        let session = json!({"v": 1, "secret": URL_SAFE_NO_PAD.encode(SECRET), "session": SESSION, "gen": 1, "roomName": "bench"});
        fs::write(&file, session.to_string())?;
        let data = folder.join("data");
        let log = data.join("sessions").join(SESSION).join("log.rsl");
        let mut command = command(programs.programs.join("roomscribe-worker"), None);
        command.args(["--log", "warn", "--session"]).arg(&file).arg("--data-dir").arg(&data);
        command.args(["--rtmp-listen", &format!("127.0.0.1:{port}")]);
        command.args(["--metrics-listen", &format!("127.0.0.1:{metrics}")]);
        command.args(["--gladia-api-url", &format!("http://127.0.0.1:{speech_port}")]);
        let mut worker = Running::start("roomscribe-worker", &mut command)?;
        until_listening(port, &mut worker)?;
        Ok(Self { worker, port, log })
    }

    /// `/live/<install>/<id>.<attempt>/<key>` (contract §2) on a port.
    pub fn url(port: u16) -> Result<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&SECRET)?;
        for part in ["rtmp", SESSION, "1"] {
            mac.update(part.as_bytes());
        }
        let key = URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16]);
        Ok(format!("rtmp://127.0.0.1:{port}/live/0000bec4/{SESSION}.1/{key}"))
    }

    /// Finals in the log's file.
    pub fn finals(&self) -> usize {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let marker = br#""type":"final""#;
        bytes.windows(marker.len()).filter(|window| window == marker).count()
    }
}

/// An ffmpeg that writes s16le 16 kHz mono, which is read and thrown away.
#[derive(Debug)]
pub struct Ffmpeg {
    /// The process.
    pub process: Running,
    /// When its first byte came.
    pub first_pcm: Receiver<Instant>,
}

impl Ffmpeg {
    /// `ffmpeg -listen 1`, a receiver of its own.
    pub fn listen(port: u16) -> Result<Self> {
        let mut ffmpeg = Self::start(&["-listen", "1"], port)?;
        until_listening(port, &mut ffmpeg.process)?;
        Ok(ffmpeg)
    }

    /// Pulls from a server.
    pub fn pull(port: u16) -> Result<Self> {
        Self::start(&[], port)
    }

    /// The stream's URL at a port, the same for both.
    pub fn url(port: u16) -> String {
        format!("rtmp://127.0.0.1:{port}/live/key")
    }

    fn start(listen: &[&str], port: u16) -> Result<Self> {
        let mut ffmpeg: Command = command("ffmpeg", None);
        ffmpeg.args(["-nostdin", "-loglevel", "error"]).args(listen).args(["-i", &Self::url(port)]);
        ffmpeg.args(["-vn", "-ac", "1", "-ar", "16000", "-f", "s16le", "pipe:1"]).stdout(Stdio::piped());
        let mut process = Running::start("ffmpeg", &mut ffmpeg)?;
        let mut output = process.child().stdout.take().context("output of ffmpeg")?;
        let (first, first_pcm) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0u8; 64 * 1024];
            let mut said = false;
            while matches!(output.read(&mut buffer), Ok(count) if count > 0) {
                if !std::mem::replace(&mut said, true) {
                    // Nobody may wait for it.
                    let _ = first.send(Instant::now());
                }
            }
        });
        Ok(Self { process, first_pcm })
    }
}

/// node-media-server.
#[derive(Debug)]
pub struct NodeMediaServer {
    /// The process.
    pub process: Running,
    /// RTMP port.
    pub port: u16,
    lines: Receiver<String>,
}

impl NodeMediaServer {
    /// Starts it.
    pub fn start(programs: &Programs, folder: &Path) -> Result<Self> {
        let port = free_port()?;
        let mut node = command("node", None);
        node.current_dir(&programs.peers).arg("nms.cjs").arg(port.to_string()).arg(folder.join("nms"));
        let mut process = Running::start("node-media-server", node.stdout(Stdio::piped()))?;
        let lines = process.lines()?;
        until_listening(port, &mut process)?;
        Ok(Self { process, port, lines })
    }

    /// Waits for the publisher, then starts the ffmpeg that pulls.
    pub fn pull(&self) -> Result<Ffmpeg> {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(20));
            if line.context("node-media-server saw no publisher")? == "publishing" {
                return Ffmpeg::pull(self.port);
            }
        }
    }
}
