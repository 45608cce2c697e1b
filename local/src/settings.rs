//! `serve`'s settings, checked before anything listens: a wrong one ends with exit code 64 and one line that names
//! the setting and the mend.

use crate::cli::{Serve, SpeechChoice};
use crate::exit::Failure;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// The default of `GLADIA_API_URL`: the one that always needs a key.
const GLADIA: &str = "https://api.gladia.io";
/// HS256 with a shorter secret can be guessed (RFC 7518 §3.2).
const JWT_SECRET_BYTES: usize = 32;

/// Checked settings of `serve`.
pub(crate) struct Settings {
    /// Where HTTP listens.
    pub http_listen: SocketAddr,
    /// Where RTMP listens.
    pub rtmp_listen: SocketAddr,
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
    /// Checks the flags.
    pub(crate) fn check(args: Serve) -> Result<Self, Failure> {
        let speech = speech(&args)?;
        let http_listen = http_listen(&args)?;
        let api_keys = list(args.api_key.as_deref());
        if !http_listen.ip().is_loopback() && api_keys.is_empty() {
            return Err(Failure::setting(
                "HTTP_LISTEN",
                format_args!(
                    "{http_listen} is reachable from outside: set ROOMSCRIBE_API_KEY, or listen on 127.0.0.1"
                ),
            ));
        }
        if let Some(key) = api_keys.iter().find(|key| key.len() < 16) {
            let length = key.len();
            return Err(Failure::setting(
                "ROOMSCRIBE_API_KEY",
                format_args!("a key of {length} characters can be guessed: use at least 16"),
            ));
        }
        Ok(Self {
            http_listen,
            speech,
            api_keys,
            rtmp_listen: address("RTMP_LISTEN", &args.rtmp_listen)?,
            metrics_listen: args
                .metrics_listen
                .as_deref()
                .map(|text| address("METRICS_LISTEN", text))
                .transpose()?,
            rtmp_host: args.rtmp_host.map(rtmp_host).transpose()?,
            rtmp_port: args.rtmp_port.as_deref().map(|text| port("RTMP_PORT", text)).transpose()?,
            data_dir: args.data_dir.map_or_else(default_data_dir, Ok)?,
            retention_days: days(&args.retention_days)?,
            jwt_secret: args.jwt_secret.map(jwt_secret).transpose()?,
            allowed_origins: list(args.allowed_origins.as_deref()),
            public_url: args.public_url.map(public_url).transpose()?,
            max_sessions: args.max_sessions,
            speech_rollover_seconds: rollover(args.speech_rollover_seconds)?,
        })
    }
}

fn speech(args: &Serve) -> Result<SpeechSettings, Failure> {
    if args.speech == SpeechChoice::Local {
        return Ok(SpeechSettings::Embedded);
    }
    let url = args.gladia_api_url.trim_end_matches('/').to_owned();
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(Failure::setting(
            "GLADIA_API_URL",
            format_args!("`{url}` must begin with https:// or http://"),
        ));
    }
    let key = args.gladia_api_key.clone().unwrap_or_default();
    if key.is_empty() && url == GLADIA {
        return Err(Failure::setting(
            "GLADIA_API_KEY",
            "is not set: set it, or use --speech local (English, no account)",
        ));
    }
    match args.gladia_region.as_deref() {
        None | Some("us-west" | "eu-west") => {}
        Some(other) => {
            return Err(Failure::setting(
                "GLADIA_REGION",
                format_args!("`{other}` is neither us-west nor eu-west"),
            ));
        }
    }
    Ok(SpeechSettings::Remote { url, key, region: args.gladia_region.clone() })
}

fn http_listen(args: &Serve) -> Result<SocketAddr, Failure> {
    match (&args.http_listen, &args.port) {
        (Some(text), _) => address("HTTP_LISTEN", text),
        (None, Some(text)) => Ok(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), port("PORT", text)?)),
        (None, None) => Ok(SocketAddr::from(([127, 0, 0, 1], 8080))),
    }
}

/// `host:port`, `:port` or a bare port, for a listener.
pub(crate) fn address(name: &str, text: &str) -> Result<SocketAddr, Failure> {
    let wrong =
        || Failure::setting(name, format_args!("`{text}` is not an address: write e.g. 127.0.0.1:8080"));
    let whole = match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None if text.parse::<u16>().is_ok() => format!("127.0.0.1:{text}"),
        None => text.to_owned(),
    };
    whole.to_socket_addrs().map_err(|_| wrong())?.next().ok_or_else(wrong)
}

fn port(name: &str, text: &str) -> Result<u16, Failure> {
    match text.trim().parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Failure::setting(
            name,
            format_args!("`{text}` is not a port: write a number from 1 to 65535"),
        )),
    }
}

fn rtmp_host(host: String) -> Result<String, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(plain) {
        return Err(Failure::setting(
            "RTMP_HOST",
            format_args!("`{host}` is not a host: no scheme, no path, no port"),
        ));
    }
    Ok(host)
}

fn days(text: &str) -> Result<u32, Failure> {
    match text.trim().parse() {
        Ok(days) if days > 0 => Ok(days),
        _ => Err(Failure::setting("RETENTION_DAYS", format_args!("`{text}` is not a number of days from 1"))),
    }
}

fn jwt_secret(secret: String) -> Result<String, Failure> {
    if secret.len() < JWT_SECRET_BYTES {
        return Err(Failure::setting(
            "ROOMSCRIBE_JWT_SECRET",
            "is shorter than 32 bytes: make one with `openssl rand -hex 32`",
        ));
    }
    Ok(secret)
}

fn public_url(url: String) -> Result<String, Failure> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(Failure::setting(
            "PUBLIC_URL",
            format_args!("`{url}` must begin with http:// or https://"),
        ));
    }
    Ok(url.trim_end_matches('/').to_owned())
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

fn list(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

fn default_data_dir() -> Result<PathBuf, Failure> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let base = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).or_else(home);
    base.map(|base| base.join("roomscribe"))
        .ok_or_else(|| Failure::setting("DATA_DIR", "is not set and there is no HOME"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn check(flags: &[&str]) -> Result<Settings, Failure> {
        let words = ["roomscribe", "serve"].iter().chain(flags);
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Command::Serve(serve)) => Settings::check(*serve),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wrong_setting_ends_with_64_and_a_line_that_names_it() {
        let cases: &[(&[&str], &str)] = &[
            (&[], "GLADIA_API_KEY"),
            (&["--speech", "local", "--http-listen", "0.0.0.0:8080"], "HTTP_LISTEN"),
            (&["--speech", "local", "--port", "8080"], "HTTP_LISTEN"),
            (&["--speech", "local", "--http-listen", "nonsense"], "HTTP_LISTEN"),
            (&["--speech", "local", "--rtmp-listen", "127.0.0.1:99999"], "RTMP_LISTEN"),
            (&["--speech", "local", "--rtmp-host", "rtmp://x/y"], "RTMP_HOST"),
            (&["--speech", "local", "--rtmp-port", "0"], "RTMP_PORT"),
            (&["--speech", "local", "--retention-days", "0"], "RETENTION_DAYS"),
            (&["--speech", "local", "--api-key", "short"], "ROOMSCRIBE_API_KEY"),
            (&["--speech", "local", "--jwt-secret", "short"], "ROOMSCRIBE_JWT_SECRET"),
            (&["--speech", "local", "--public-url", "example.com"], "PUBLIC_URL"),
            (&["--gladia-api-url", "gladia.io"], "GLADIA_API_URL"),
            (&["--gladia-api-key", "k", "--gladia-region", "moon"], "GLADIA_REGION"),
        ];
        for (flags, setting) in cases {
            let Err(failure) = check(flags) else { panic!("{flags:?} passed") };
            assert_eq!(failure.code, crate::exit::SETTINGS, "{flags:?}");
            assert!(failure.to_string().starts_with(setting), "{flags:?}: {failure}");
        }
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
