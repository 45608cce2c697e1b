//! `serve` beside a simulated LiveKit and a scripted speech service.

use crate::speech::{Front, Mood, Scripted, sentences};
use crate::{PATIENCE, Place, Program, Viewer, eventually, signal};
use anyhow::{Context, Result, ensure};
use roomscribe_sims::livekit::{Config, Keys, Person, Simulator, Truth};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Stdio;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The room of most tests.
pub const ROOM: &str = "standup";
const KEY: &str = "devkey";
const SECRET: &str = "secret-of-the-simulated-livekit-0";

/// A LiveKit that repeats its recording for ever, at `speed` times real time.
pub async fn livekit(listen: SocketAddr, speed: f64) -> Result<Simulator> {
    let config = Config {
        listen,
        speed,
        ..Config::repeating(Keys { api_key: KEY.into(), api_secret: SECRET.into() })
    };
    Ok(Simulator::start(config).await?)
}

/// Somebody with an open microphone.
pub fn speaker(identity: &str) -> Person {
    Person::speaking(identity)
}

/// Everything that a machine with `serve` on it talks to, and the machine.
pub struct Studio {
    /// LiveKit.
    pub livekit: Simulator,
    /// Behind [`Self::speech`].
    pub scripted: Scripted,
    /// The speech service that `serve` asks.
    pub speech: Front,
    /// The machine.
    pub place: Place,
    speed: f64,
}

impl Studio {
    /// A LiveKit without rooms; a sentence a second.
    pub async fn open(speed: f64) -> Result<Self> {
        let scripted = Scripted::start(&sentences(3000, 1.0, 0.6, |n| format!("Sentence {n}."))).await?;
        let speech = Front::start(&scripted.address, Mood::Open).await?;
        let livekit = livekit(([127, 0, 0, 1], 0).into(), speed).await?;
        Ok(Self { livekit, scripted, speech, place: Place::new()?, speed })
    }

    /// `serve` with the `.env` of a VPS.
    pub async fn serve(&self) -> Result<Program> {
        self.place.run(self.command(&self.place)?).await
    }

    /// `serve` of another machine on the same LiveKit.
    pub fn command(&self, place: &Place) -> Result<Command> {
        let mut command = place.command(&["--gladia-api-url", &self.speech.url])?;
        command.envs(settings(&self.livekit.url()));
        Ok(command)
    }

    /// `serve`, and what it writes to standard error from `RUST_LOG=info` on.
    pub async fn serve_and_listen(&self) -> Result<(Child, Program)> {
        let mut command = self.command(&self.place)?;
        command.env("RUST_LOG", "info").stderr(Stdio::piped());
        let child = command.spawn()?;
        Ok((child, self.place.watch().await?))
    }

    /// LiveKit goes away with everything that runs on it, and is at the same address for the next one.
    pub fn end_livekit(self) -> Away {
        let Self { livekit, scripted, speech, place, speed } = self;
        let address = livekit.address();
        drop(livekit);
        Away { address, speed, scripted, speech, place }
    }

    /// People with open microphones.
    pub fn people(&self, count: usize) {
        for number in 0..count {
            self.livekit.join(ROOM, &speaker(&format!("speaker-{number}")));
        }
    }

    /// Egresses that have not ended.
    pub fn running(&self) -> Vec<Truth> {
        let mut all = self.livekit.egresses();
        all.retain(is_running);
        all
    }

    /// Answered starts.
    pub fn starts(&self) -> u64 {
        let calls = self.livekit.calls();
        calls.iter().filter(|(call, _)| call.starts_with("StartRoomCompositeEgress")).map(|(_, n)| n).sum()
    }

    /// Waits until no egress runs.
    pub async fn until_quiet(&self) -> Result<()> {
        eventually(|| async { self.running().is_empty() }).await
    }
}

/// LiveKit is away.
pub struct Away {
    address: SocketAddr,
    speed: f64,
    /// Behind [`Self::speech`].
    pub scripted: Scripted,
    /// The speech service that `serve` asks.
    pub speech: Front,
    /// The machine.
    pub place: Place,
}

impl Away {
    /// `serve` with the same settings.
    pub async fn serve(&self) -> Result<Program> {
        let mut command = self.place.command(&["--gladia-api-url", &self.speech.url])?;
        command.envs(settings(&format!("http://{}", self.address)));
        self.place.run(command).await
    }

    /// LiveKit comes back and knows nothing.
    pub async fn come_back(self) -> Result<Studio> {
        let Self { address, speed, scripted, speech, place } = self;
        Ok(Studio { livekit: livekit(address, speed).await?, scripted, speech, place, speed })
    }
}

/// SIGTERM; then everything that the program has said, without colours.
pub async fn last_log(mut child: Child) -> Result<String> {
    let mut err = child.stderr.take().context("its standard error is not piped")?;
    signal(&child, "TERM").await?;
    let mut said = String::new();
    timeout(PATIENCE, err.read_to_string(&mut said)).await.context("it did not end")??;
    ensure!(child.wait().await?.success(), "it failed: {said}");
    let mut parts = said.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    Ok(parts.fold(first, |plain, part| plain + part.split_once('m').map_or(part, |(_, text)| text)))
}

/// The three settings.
pub fn settings(url: &str) -> [(&'static str, String); 3] {
    [("LIVEKIT_HTTP_URL", url.into()), ("LIVEKIT_API_KEY", KEY.into()), ("LIVEKIT_API_SECRET", SECRET.into())]
}

/// It may still send, whatever LiveKit says of it.
pub fn is_running(egress: &Truth) -> bool {
    ["EGRESS_STARTING", "EGRESS_ACTIVE", "EGRESS_ENDING"].contains(&egress.status)
}

/// `POST /v1/sessions` with nothing but the room.
pub async fn start(program: &Program, room: &str) -> Result<Value> {
    let body = json!({ "roomName": room });
    let post = reqwest::Client::new().post(format!("{}/v1/sessions", program.url)).json(&body);
    let answer = post.send().await?;
    ensure!(answer.status().is_success(), "start: {} {}", answer.status(), answer.text().await?);
    Ok(answer.json().await?)
}

/// The session's document.
pub fn path(session: &Value) -> String {
    format!("/v1/sessions/{}", session["id"].as_str().unwrap_or_default())
}

/// Waits until the document is finished.
pub async fn until_finished(program: &Program, session: &Value) -> Result<Value> {
    program.until(&path(session), |now| now["completedAt"].is_string()).await
}

/// Waits for this reason.
pub async fn until_reason(program: &Program, session: &Value, reason: &str) -> Result<Value> {
    program.until(&path(session), |now| now["reason"] == reason).await
}

/// Waits for so many finals.
pub async fn hear(viewer: &mut Viewer, finals: usize) -> Result<()> {
    let wanted = viewer.finals().len() + finals;
    viewer.watch_until(move |viewer| viewer.finals().len() >= wanted).await
}

/// A session in mid-meeting: somebody speaks, and words have come.
pub async fn in_mid_meeting(studio: &Studio) -> Result<(Program, Value, Viewer)> {
    studio.people(1);
    let program = studio.serve().await?;
    let (session, viewer) = meet(&program).await?;
    Ok((program, session, viewer))
}

/// The same with a log that can be read at the end.
pub async fn in_mid_meeting_with_log(studio: &Studio) -> Result<(Child, Program, Value, Viewer)> {
    studio.people(1);
    let (child, program) = studio.serve_and_listen().await?;
    let (session, viewer) = meet(&program).await?;
    Ok((child, program, session, viewer))
}

async fn meet(program: &Program) -> Result<(Value, Viewer)> {
    let session = start(program, ROOM).await?;
    let mut viewer = Viewer::new(&program.url, &session);
    hear(&mut viewer, 2).await.context("no words came")?;
    Ok((session, viewer))
}
