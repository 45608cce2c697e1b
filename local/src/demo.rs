//! `roomscribe demo`: a recorded meeting in a simulated LiveKit, captured as `serve` captures any: its egress is started over
//! Twirp and publishes real RTMP to the real worker, the embedded recogniser transcribes it, the real gateway shows it.
//! Nothing on this path is canned.

use crate::cli::{Demo, Format, Gateway};
use crate::client::{Client, Follower};
use crate::exit::{self, Failure};
use crate::livekit::LiveKit;
use crate::serve::{Doors, Stack};
use crate::settings::{Settings, SpeechSettings};
use crate::speech::Embedded;
use crate::terminal::{Captions, print};
use crate::values::{address, given};
use roomscribe_gateway::sessions::{Capture, CaptureMode, CreateSession, SessionDocument, Sessions};
use roomscribe_sims::audio_file;
use roomscribe_sims::egress::AudioSource;
use roomscribe_sims::livekit::{AtEnd, Config, Faults, Keys, Microphone, Person, Simulator};
use roomscribe_sims::meeting::MEETING_AAC;
use roomscribe_worker::signals::StopSignals;
use std::path::PathBuf;
use std::time::Duration;

/// Faster than this the recogniser of one machine cannot keep up, and RTMP pacing loses its meaning.
const MAX_SPEED: f64 = 20.0;
/// Who speaks in the built-in meeting.
const PEOPLE: [&str; 3] = ["Anna", "Robert", "Andrew"];
/// How often is looked whether everybody has left.
const LOOK: Duration = Duration::from_millis(50);

/// Plays the meeting to its end, or until Ctrl-C.
pub(crate) async fn run(args: Demo) -> Result<(), Failure> {
    if !(0.1..=MAX_SPEED).contains(&args.speed) {
        return Err(Failure::new(
            exit::SETTINGS,
            format_args!("--speed: {} is not from 0.1 to {MAX_SPEED}", args.speed),
        ));
    }
    let audio = source(args.audio.clone()).await?;
    let data = DataDir::make()?;
    let meeting = Meeting::begin(&args, audio).await?;
    let settings = settings(&args, &meeting, data.0.clone())?;
    let doors = Doors::open(&settings).await?;
    let embedded = Embedded::start(2).await?;
    let stack = Stack::start(&settings, doors, Some(&embedded)).await?;
    let session = stack.sessions.create(request(&meeting.room)).await.map_err(Failure::unavailable)?.session;
    say(&args, &format!("page  http://{}/#/s/{}", stack.http, session.id))?;
    say(&args, &format!("room  {} at a simulated LiveKit, {}", meeting.room, meeting.livekit.url()))?;
    say(&args, &format!("speed {}x; Ctrl-C ends the demo\n", args.speed))?;
    let mut signals = StopSignals::listen();
    tokio::select! {
        played = play(&args, &stack, &session, &meeting) => played?,
        _ = signals.next() => {}
    }
    stack.stop().await;
    embedded.stop().await;
    Ok(())
}

/// A room of a simulated LiveKit, in which a recording is heard.
struct Meeting {
    livekit: Simulator,
    keys: Keys,
    room: String,
}

impl Meeting {
    /// People are in the room, and speak as soon as somebody listens.
    async fn begin(args: &Demo, audio: AudioSource) -> Result<Self, Failure> {
        let keys = Keys { api_key: "demo".into(), api_secret: crate::install::random_hex(16)? };
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            keys: keys.clone(),
            webhook_url: None,
            audio,
            at_end: AtEnd::Leave,
            speed: args.speed,
            seed: fastrand::u64(..),
            // What every egress does; what goes wrong now and then is for tests.
            faults: Faults { start_answer_s: 0.3, start_burst_s: 0.4, ..Faults::default() },
        };
        let livekit = Simulator::start(config).await.map_err(Failure::unavailable)?;
        let (room, people) = match &args.audio {
            None => ("Demo meeting".to_owned(), PEOPLE.as_slice()),
            Some(path) => (
                path.file_stem()
                    .map_or_else(|| "Recording".to_owned(), |stem| stem.to_string_lossy().into_owned()),
                ["Recording"].as_slice(),
            ),
        };
        for name in people {
            let (identity, name) = (name.to_lowercase(), (*name).to_owned());
            livekit
                .join(&room, &Person { identity, name, microphone: Microphone::Open, ..Person::default() });
        }
        Ok(Self { livekit, keys, room })
    }

    /// They leave when they have said everything; the last one closes the room.
    async fn end(&self) {
        while self.livekit.people(&self.room) > 0 {
            tokio::time::sleep(LOOK).await;
        }
        self.livekit.close_room(&self.room);
    }
}

/// Shows until the transcript ends with its room; without `--once` the page then stays until Ctrl-C.
async fn play(
    args: &Demo,
    stack: &Stack,
    session: &SessionDocument,
    meeting: &Meeting,
) -> Result<(), Failure> {
    let gateway = Gateway { url: format!("http://{}", stack.http), api_key: None };
    let follower = Follower::new(Client::new(&gateway)?, session.id.clone(), 0);
    let mut captions = Captions::new(args.format);
    let meeting = async {
        meeting.end().await;
        Ok(())
    };
    tokio::try_join!(meeting, follower.run(|event| captions.show(event)))?;
    if !args.once {
        say(args, "\nthe meeting is over; the page stays until Ctrl-C")?;
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// For people: never on the standard output of `--format json`.
fn say(args: &Demo, line: &str) -> Result<(), Failure> {
    match args.format {
        Format::Text => print(line),
        Format::Json => {
            eprintln!("{line}");
            Ok(())
        }
    }
}

async fn source(file: Option<PathBuf>) -> Result<AudioSource, Failure> {
    let Some(path) = file else { return Ok(AudioSource::Adts(MEETING_AAC.to_vec())) };
    let loaded = audio_file::load(&path).await;
    loaded.map_err(|error| Failure::new(exit::SETTINGS, format_args!("--audio {}: {error}", path.display())))
}

fn request(room: &str) -> CreateSession {
    CreateSession {
        capture: Capture { mode: CaptureMode::Auto, fallback_after_seconds: None },
        ..CreateSession::for_room(room)
    }
}

fn settings(args: &Demo, meeting: &Meeting, data_dir: PathBuf) -> Result<Settings, Failure> {
    let listen = given(Some(args.http_listen.clone())).unwrap_or_else(|| "127.0.0.1:0".into());
    let mut http_listen = address("--http-listen", &listen)?;
    if http_listen.ip().is_unspecified() {
        // The address that `serve` has in the same .env.
        http_listen = ([127, 0, 0, 1], http_listen.port()).into();
    }
    if !http_listen.ip().is_loopback() {
        return Err(Failure::setting(
            "--http-listen",
            "the demo has no keys and listens on loopback only: write e.g. 127.0.0.1:8080",
        ));
    }
    let Keys { api_key, api_secret } = meeting.keys.clone();
    let livekit = LiveKit::check(Some(meeting.livekit.url()), Some(api_key), Some(api_secret))?;
    Ok(Settings {
        http_listen,
        livekit,
        rtmp_listen: ([127, 0, 0, 1], 0).into(),
        metrics_listen: None,
        rtmp_host: None,
        rtmp_port: None,
        tls: None,
        speech: SpeechSettings::Embedded,
        data_dir,
        retention_days: 1,
        api_keys: Vec::new(),
        jwt_secret: None,
        allowed_origins: Vec::new(),
        public_url: None,
        max_sessions: 1,
        speech_rollover_seconds: 10_200,
        start_unknown_seconds: 90,
    })
}

/// A folder of this run, gone with it.
struct DataDir(PathBuf);

impl DataDir {
    fn make() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("roomscribe-demo-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&folder)
            .map_err(|error| Failure::unavailable(format_args!("{}: {error}", folder.display())))?;
        Ok(Self(folder))
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
