//! `serve`'s settings, checked before anything listens: a wrong one ends with exit code 64 and one line that names
//! the setting and the mend.

use crate::cli::{Serve, SpeechChoice};
use crate::exit::Failure;
use crate::livekit::LiveKit;
use crate::values::{self, address, given};
use roomscribe_worker::tls::Tls;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The default of `GLADIA_API_URL`: the one that always needs a key.
const GLADIA: &str = "https://api.gladia.io";
/// Settings of other installations. Doing without them in silence would be a lie.
const FOREIGN: &[(&str, &str)] = &[
    ("ROOMSCRIBE_JWKS_URL", "is not supported here: sign viewers' tokens with ROOMSCRIBE_JWT_SECRET"),
    ("NATS_URL", "is not supported here: transcripts are files in DATA_DIR"),
];

/// Checked settings of `serve`.
pub(crate) struct Settings {
    /// Where HTTP listens.
    pub http_listen: SocketAddr,
    /// The LiveKit project whose rooms are captured.
    pub livekit: Option<LiveKit>,
    /// Where RTMP listens.
    pub rtmp_listen: SocketAddr,
    /// The RTMP port speaks RTMPS.
    pub tls: Option<Tls>,
    /// Metrics without auth, for a scraper.
    pub metrics_listen: Option<SocketAddr>,
    /// Public host of RTMP URLs; the listening address when absent.
    pub rtmp_host: Option<String>,
    /// Public port of RTMP URLs; the listening port when absent.
    pub rtmp_port: Option<u16>,
    /// Who recognises.
    pub speech: SpeechSettings,
    /// Transcripts, spool and installation.
    pub data_dir: PathBuf,
    /// How long finished transcripts stay.
    pub retention_days: u32,
    /// Backends' keys.
    pub api_keys: Vec<String>,
    /// Viewers' JWT secret.
    pub jwt_secret: Option<String>,
    /// Browser origins.
    pub allowed_origins: Vec<String>,
    /// Behind a proxy.
    pub public_url: Option<String>,
    /// Sessions at a time.
    pub max_sessions: usize,
    /// Speech session roll-over.
    pub speech_rollover_seconds: u64,
    /// A start without an answer is looked for so long.
    pub start_unknown_seconds: u32,
}

/// Who recognises.
pub(crate) enum SpeechSettings {
    /// A server that speaks Gladia's protocol.
    Remote {
        /// Base URL.
        url: String,
        /// Key.
        key: String,
        /// Region.
        region: Option<String>,
    },
    /// The embedded recogniser.
    Embedded,
}

impl Settings {
    /// Checks the flags; `environment` is asked for settings that have no flag.
    pub(crate) fn check(args: Serve, environment: impl Fn(&str) -> bool) -> Result<Self, Failure> {
        if let Some((name, mend)) = FOREIGN.iter().find(|(name, _)| environment(name)) {
            return Err(Failure::setting(name, mend));
        }
        let speech = speech(&args)?;
        let http_listen = http_listen(&args)?;
        let api_keys = values::keys("ROOMSCRIBE_API_KEY", args.api_key.as_deref())?;
        if !http_listen.ip().is_loopback() && api_keys.is_empty() {
            return Err(exposed(&args, http_listen));
        }
        let (cert, key) = (args.tls_cert.as_ref().map(Path::new), args.tls_key.as_ref().map(Path::new));
        let tls = Tls::open(cert, key).map_err(|error| Failure::setting(error.setting(), error))?;
        let livekit = LiveKit::check(args.livekit_http_url, args.livekit_api_key, args.livekit_api_secret)?;
        let rtmp_listen = given(args.rtmp_listen).unwrap_or_else(|| "127.0.0.1:1935".into());
        let (metrics, host) = (given(args.metrics_listen), given(args.rtmp_host));
        let (port, url) = (given(args.rtmp_port), given(args.public_url));
        let days = given(args.retention_days).unwrap_or_else(|| "30".into());
        Ok(Self {
            http_listen,
            livekit,
            speech,
            api_keys,
            tls,
            rtmp_listen: address("RTMP_LISTEN", &rtmp_listen)?,
            metrics_listen: metrics.map(|text| address("METRICS_LISTEN", &text)).transpose()?,
            rtmp_host: host.map(|text| values::host("RTMP_HOST", &text)).transpose()?,
            rtmp_port: port.map(|text| values::port("RTMP_PORT", &text)).transpose()?,
            data_dir: match args.data_dir.filter(|folder| !folder.is_empty()) {
                Some(folder) => folder.into(),
                None => default_data_dir()?,
            },
            retention_days: values::days("RETENTION_DAYS", &days)?,
            jwt_secret: given(args.jwt_secret)
                .map(|secret| values::jwt_secret("ROOMSCRIBE_JWT_SECRET", secret))
                .transpose()?,
            allowed_origins: values::origins(
                "ALLOWED_ORIGINS",
                args.allowed_origins.as_deref().unwrap_or_default(),
            )?,
            public_url: url.map(|text| values::url("PUBLIC_URL", &text)).transpose()?,
            max_sessions: values::count("--max-sessions", args.max_sessions)?,
            speech_rollover_seconds: rollover(args.speech_rollover_seconds)?,
            start_unknown_seconds: args.start_unknown_seconds,
        })
    }
}

fn speech(args: &Serve) -> Result<SpeechSettings, Failure> {
    if args.speech == SpeechChoice::Local {
        return Ok(SpeechSettings::Embedded);
    }
    let url = given(args.gladia_api_url.clone()).unwrap_or_else(|| GLADIA.to_owned());
    let url = values::url("GLADIA_API_URL", &url)?;
    let key = given(args.gladia_api_key.clone()).unwrap_or_default();
    if key.is_empty() && url == GLADIA {
        return Err(Failure::setting(
            "GLADIA_API_KEY",
            "is not set: set it, or use --speech local (English, no account)",
        ));
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::setting(
            "GLADIA_API_KEY",
            "has a character that no HTTP header takes: copy it again",
        ));
    }
    let region = given(args.gladia_region.clone());
    match region.as_deref() {
        None | Some("us-west" | "eu-west") => Ok(SpeechSettings::Remote { url, key, region }),
        Some(other) => Err(Failure::setting(
            "GLADIA_REGION",
            format_args!("`{other}` is no region: write us-west or eu-west"),
        )),
    }
}

fn http_listen(args: &Serve) -> Result<SocketAddr, Failure> {
    match (given(args.http_listen.clone()), given(args.port.clone())) {
        (Some(text), _) => address("HTTP_LISTEN", &text),
        (None, Some(text)) => Ok(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), values::port("PORT", &text)?)),
        (None, None) => Ok(SocketAddr::from(([127, 0, 0, 1], 8080))),
    }
}

/// Names the setting that was given.
fn exposed(args: &Serve, address: SocketAddr) -> Failure {
    let name = if given(args.http_listen.clone()).is_some() { "HTTP_LISTEN" } else { "PORT" };
    Failure::setting(
        name,
        format_args!(
            "{address} is reachable from outside: set ROOMSCRIBE_API_KEY, or listen on 127.0.0.1 (HTTP_LISTEN)"
        ),
    )
}

fn rollover(seconds: u64) -> Result<u64, Failure> {
    if !(5..=10_740).contains(&seconds) {
        return Err(Failure::setting(
            "--speech-rollover-seconds",
            "must be from 5 to 10740: the service ends a session at 3 hours",
        ));
    }
    Ok(seconds)
}

fn default_data_dir() -> Result<PathBuf, Failure> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let base = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).or_else(home);
    base.map(|base| base.join("roomscribe"))
        .ok_or_else(|| Failure::setting("DATA_DIR", "is not set and there is no HOME: set it to a folder"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn check(flags: &[&str]) -> Result<Settings, Failure> {
        let words = ["roomscribe", "serve"].iter().chain(flags);
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Command::Serve(serve)) => Settings::check(*serve, |_| false),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wrong_setting_ends_with_64_and_a_line_that_names_it() {
        let cases: &[(&[&str], &str)] = &[
            (&[], "GLADIA_API_KEY"),
            (&["--gladia-api-key", "k\u{e9}y"], "GLADIA_API_KEY"),
            (&["--speech", "local", "--http-listen", "0.0.0.0:8080"], "HTTP_LISTEN"),
            (&["--speech", "local", "--port", "8080"], "PORT"),
            (&["--speech", "local", "--port", "web"], "PORT"),
            (&["--speech", "local", "--http-listen", "nonsense"], "HTTP_LISTEN"),
            (&["--speech", "local", "--rtmp-listen", "127.0.0.1:99999"], "RTMP_LISTEN"),
            (&["--speech", "local", "--metrics-listen", "here"], "METRICS_LISTEN"),
            (&["--speech", "local", "--rtmp-host", "rtmp://x/y"], "RTMP_HOST"),
            (&["--speech", "local", "--rtmp-host", "example.com:1935"], "RTMP_HOST"),
            (&["--speech", "local", "--rtmp-port", "0"], "RTMP_PORT"),
            (&["--speech", "local", "--tls-cert", "/dev/null"], "TLS_KEY"),
            (&["--speech", "local", "--tls-key", "/dev/null", "--tls-cert="], "TLS_CERT"),
            (&["--speech", "local", "--tls-key", "/dev/null", "--tls-cert", "/dev/null"], "TLS_CERT"),
            (&["--speech", "local", "--retention-days", "0"], "RETENTION_DAYS"),
            (&["--speech", "local", "--api-key", "short"], "ROOMSCRIBE_API_KEY"),
            (&["--speech", "local", "--jwt-secret", "short"], "ROOMSCRIBE_JWT_SECRET"),
            (&["--speech", "local", "--public-url", "example.com"], "PUBLIC_URL"),
            (&["--speech", "local", "--allowed-origins", "example.com"], "ALLOWED_ORIGINS"),
            (&["--speech", "local", "--max-sessions", "0"], "--max-sessions"),
            (&["--speech", "local", "--speech-rollover-seconds", "1"], "--speech-rollover-seconds"),
            (&["--gladia-api-url", "gladia.io"], "GLADIA_API_URL"),
            (&["--gladia-api-key", "k", "--gladia-region", "moon"], "GLADIA_REGION"),
        ];
        for (flags, setting) in cases {
            let Err(failure) = check(flags) else { panic!("{flags:?} passed") };
            assert_eq!(failure.code, crate::exit::SETTINGS, "{flags:?}");
            let line = failure.to_string();
            assert!(line.starts_with(&format!("{setting}: ")) && !line.contains('\n'), "{flags:?}: {line}");
        }
    }

    #[test]
    fn an_empty_setting_is_no_setting() {
        let mut flags = vec!["--speech", "local"];
        for name in
            ["rtmp-host", "rtmp-port", "rtmp-listen", "http-listen", "port", "metrics-listen", "public-url"]
        {
            flags.push(Box::leak(format!("--{name}=").into_boxed_str()));
        }
        flags.extend([
            "--retention-days=",
            "--api-key=",
            "--jwt-secret=",
            "--allowed-origins=",
            "--data-dir=",
            "--tls-cert=",
            "--tls-key=",
        ]);
        let settings = check(&flags).unwrap();
        assert_eq!((settings.rtmp_listen.port(), settings.retention_days), (1935, 30));
        assert!(settings.rtmp_host.is_none() && settings.jwt_secret.is_none() && settings.tls.is_none());
    }

    #[test]
    fn a_setting_of_another_installation_is_not_ignored() {
        let words = ["roomscribe", "serve", "--speech", "local"];
        let Ok(Command::Serve(serve)) = Cli::try_parse_from(words).map(|cli| cli.command) else { panic!() };
        let failure = Settings::check(*serve, |name| name == "NATS_URL").err().unwrap();
        assert!(failure.to_string().starts_with("NATS_URL: "), "{failure}");
    }

    #[test]
    fn beyond_loopback_is_allowed_with_a_key() {
        let flags = ["--speech", "local", "--http-listen", "0.0.0.0:8080", "--api-key", "0123456789abcdef"];
        assert!(check(&flags).is_ok());
    }

    #[test]
    fn a_compatible_server_needs_no_key() {
        assert!(check(&["--gladia-api-url", "http://127.0.0.1:8090"]).is_ok());
    }
}
