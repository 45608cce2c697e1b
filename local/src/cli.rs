//! The command line: every flag has the environment variable of contract §6 beside it.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Live, named, replayable transcripts.
#[derive(Debug, Parser)]
#[command(
    name = "roomscribe",
    version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("ROOMSCRIBE_COMMIT"), ")"),
    about,
    max_term_width = 100,
    after_help = "Try `roomscribe demo`: a meeting end to end, no account needed."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Log filter, e.g. `info` or `roomscribe_worker=debug`.
    #[arg(long, env = "RUST_LOG", global = true, default_value = "warn", value_name = "FILTER")]
    pub log: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A meeting end to end with no account: real RTMP, real recogniser, live captions here and in the browser.
    #[cfg(feature = "demo")]
    Demo(Demo),
    /// Run for real on one machine: HTTP gateway, RTMP ingest, transcripts on disk.
    Serve(Box<Serve>),
    /// Run only the speech server (Gladia's v2 live protocol) on this machine.
    Speech(Speech),
    /// Start a session on a gateway.
    Start(Start),
    /// Stop a session.
    Stop(Named),
    /// List sessions.
    List(List),
    /// Follow a session's transcript; resumes by itself after a cut.
    Tail(Tail),
    /// Download a transcript.
    Export(Export),
    /// Print the CustomResourceDefinition of TranscriptionSession, for `kubectl apply --server-side -f -`.
    Crd,
}

/// `roomscribe demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// End with the meeting instead of waiting for Ctrl-C.
    #[arg(long)]
    pub once: bool,
    /// What to print on standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Publish this recording instead of the built-in meeting (AAC; anything else through ffmpeg).
    #[arg(long, value_name = "FILE")]
    pub audio: Option<PathBuf>,
    /// Publish this many times faster than real time; the recogniser must keep up.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub speed: f64,
    /// Where the page is served.
    #[arg(long, env = "HTTP_LISTEN", default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub http_listen: String,
}

/// Output of every command that prints something but a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object per line: wire events, or session documents.
    Json,
}

/// Who recognises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpeechChoice {
    /// Gladia's live API, or what GLADIA_API_URL names.
    Gladia,
    /// The embedded English recogniser, on this machine.
    Local,
}

/// `roomscribe serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// LiveKit's API, e.g. https://PROJECT.livekit.cloud; with its key and secret sessions capture LiveKit rooms.
    #[arg(long, env = "LIVEKIT_HTTP_URL", value_name = "URL")]
    pub livekit_http_url: Option<String>,
    /// Key of the LiveKit project.
    #[arg(long, env = "LIVEKIT_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub livekit_api_key: Option<String>,
    /// Secret of the LiveKit project.
    #[arg(long, env = "LIVEKIT_API_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub livekit_api_secret: Option<String>,
    /// Public host of the RTMP URL that LiveKit and publishers get (default: the listening address).
    #[arg(long, env = "RTMP_HOST", value_name = "HOST")]
    pub rtmp_host: Option<String>,
    /// Public port of the RTMP URL (default: the listening port).
    #[arg(long, env = "RTMP_PORT", value_name = "PORT")]
    pub rtmp_port: Option<String>,
    /// Local RTMP address (default: 127.0.0.1:1935).
    #[arg(long, env = "RTMP_LISTEN", value_name = "ADDRESS")]
    pub rtmp_listen: Option<String>,
    /// RTMPS: certificate chain (PEM file); the RTMP port then speaks TLS only. HTTP stays plain: a proxy ends its TLS.
    #[arg(long, env = "TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<OsString>,
    /// RTMPS: private key of TLS_CERT (PEM file). Both files are looked at once a minute, for renewals.
    #[arg(long, env = "TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<OsString>,
    /// Local HTTP address (default: 127.0.0.1:8080); beyond loopback it needs ROOMSCRIBE_API_KEY.
    #[arg(long, env = "HTTP_LISTEN", value_name = "ADDRESS")]
    pub http_listen: Option<String>,
    /// HTTP port on every address, as platforms set it; HTTP_LISTEN wins.
    #[arg(long, env = "PORT", value_name = "PORT")]
    pub port: Option<String>,
    /// Metrics address without auth; default: none of its own, `/metrics` on HTTP_LISTEN.
    #[arg(long, env = "METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<String>,
    /// URL under which viewers reach the gateway, behind a proxy.
    #[arg(long, env = "PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Who recognises.
    #[arg(long, value_enum, default_value_t = SpeechChoice::Gladia)]
    pub speech: SpeechChoice,
    /// Key of the speech service.
    #[arg(long, env = "GLADIA_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub gladia_api_key: Option<String>,
    /// Base URL of the speech service (default: https://api.gladia.io).
    #[arg(long, env = "GLADIA_API_URL", value_name = "URL")]
    pub gladia_api_url: Option<String>,
    /// `us-west` or `eu-west`.
    #[arg(long, env = "GLADIA_REGION", value_name = "REGION")]
    pub gladia_region: Option<String>,
    /// Where transcripts live (default: ~/.local/share/roomscribe).
    #[arg(long, env = "DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<OsString>,
    /// Finished transcripts are deleted after this many days (default: 30).
    #[arg(long, env = "RETENTION_DAYS", value_name = "DAYS")]
    pub retention_days: Option<String>,
    /// Keys of backends, separated by commas.
    #[arg(long, env = "ROOMSCRIBE_API_KEY", hide_env_values = true, value_name = "KEYS")]
    pub api_key: Option<String>,
    /// HS256 secret of viewers' JWTs, at least 32 bytes.
    #[arg(long, env = "ROOMSCRIBE_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub jwt_secret: Option<String>,
    /// Origins whose pages may connect, separated by commas; `*.example.com` is allowed.
    #[arg(long, env = "ALLOWED_ORIGINS", value_name = "ORIGINS")]
    pub allowed_origins: Option<String>,
    /// Sessions at a time.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub max_sessions: usize,
    /// A speech session is replaced after this many seconds, before the service's cap of 3 hours.
    #[arg(long, default_value_t = 10_200, value_name = "SECONDS", hide = true)]
    pub speech_rollover_seconds: u64,
    /// A start that LiveKit has not answered is looked for so long; less only suits a simulated one whose clock runs faster.
    #[arg(long, default_value_t = 90, value_name = "SECONDS", hide = true)]
    pub start_unknown_seconds: u32,
}

/// `roomscribe speech`.
#[derive(Debug, Args)]
pub(crate) struct Speech {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS")]
    pub listen: String,
    /// Keys that clients must send as `x-gladia-key`, separated by commas; needed beyond loopback.
    #[arg(long, env = "SPEECH_API_KEY", hide_env_values = true, value_name = "KEYS")]
    pub api_key: Option<String>,
    /// Recognise from this timeline (JSON) instead of the model: for tests.
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Sessions at a time.
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub max_sessions: usize,
}

/// Which gateway.
#[derive(Debug, Clone, Args)]
pub(crate) struct Gateway {
    /// The gateway.
    #[arg(long, env = "ROOMSCRIBE_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub url: String,
    /// API key or viewer token.
    #[arg(long, env = "ROOMSCRIBE_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub api_key: Option<String>,
}

/// How audio reaches the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CaptureChoice {
    /// Room Composite, then Track Egress.
    Auto,
    /// One mixed stream of the room.
    RoomComposite,
    /// One stream per microphone.
    TrackEgress,
    /// No LiveKit: publish RTMP yourself to the URL in the answer.
    Push,
}

/// `roomscribe start`.
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The room's name.
    pub room: String,
    /// Name of the session, for commands and URLs: a-z, 0-9 and - (default: made from the room's name).
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// How audio reaches the session.
    #[arg(long, value_enum, default_value_t = CaptureChoice::Auto)]
    pub capture: CaptureChoice,
    /// Languages spoken, e.g. `en` or `ru,en`; none = detect.
    #[arg(long, value_delimiter = ',', value_name = "CODES")]
    pub languages: Vec<String>,
    /// Translate into these languages.
    #[arg(long, value_delimiter = ',', value_name = "CODES")]
    pub translate_to: Vec<String>,
    /// The language may change from utterance to utterance.
    #[arg(long)]
    pub code_switching: bool,
    /// Words the recogniser should know, each with how it may sound: `Roomscribe=room scribe|rum scribe,Kubernetes`.
    #[arg(long, value_delimiter = ',', value_name = "WORDS")]
    pub vocabulary: Vec<String>,
    /// Silence that ends an utterance (default: 300).
    #[arg(long, value_name = "MS")]
    pub endpointing_milliseconds: Option<u32>,
    /// Show finished utterances only.
    #[arg(long)]
    pub no_partials: bool,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The gateway.
    #[command(flatten)]
    pub gateway: Gateway,
}

/// `roomscribe stop`.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Id or name of the session.
    pub session: String,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The gateway.
    #[command(flatten)]
    pub gateway: Gateway,
}

/// `roomscribe list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The gateway.
    #[command(flatten)]
    pub gateway: Gateway,
}

/// `roomscribe tail`.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Id or name of the session.
    pub session: String,
    /// Begin after this offset; 0 = from the beginning.
    #[arg(long, default_value_t = 0, value_name = "OFFSET")]
    pub after: u64,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The gateway.
    #[command(flatten)]
    pub gateway: Gateway,
}

/// File formats of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Everything.
    Json,
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
    /// Plain text.
    Txt,
}

/// `roomscribe export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Id or name of the session.
    pub session: String,
    /// File format.
    #[arg(long, value_enum, default_value_t = ExportFormat::Txt)]
    pub format: ExportFormat,
    /// Write here instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The gateway.
    #[command(flatten)]
    pub gateway: Gateway,
}
