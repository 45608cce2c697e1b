//! A worker's own settings: flags, then environment. The session comes as one JSON file (contract §6).

use crate::speech_http::{SpeechApi, SpeechSettingsError};
use crate::tls::{RENEWAL_INTERVAL, Tls, TlsError};
use clap::Parser;
use roomscribe_pipeline::Settings;
use roomscribe_pipeline::stream_key::SessionSecret;
use roomscribe_transcript::SessionId;
use serde::Deserialize;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// As images are built (`images/pack.sh`), with the commit.
const VERSION: &str = match option_env!("ROOMSCRIBE_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// One session: RTMP in, transcript out.
#[derive(Debug, Parser)]
#[command(name = "roomscribe-worker", version = VERSION, about)]
pub struct Args {
    /// The session, as the operator wrote it.
    #[arg(long, value_name = "FILE")]
    pub session: PathBuf,
    /// RTMP address; [::] is every address of this machine, IPv4 and IPv6.
    #[arg(long, env = "RTMP_LISTEN", default_value = "[::]:1935", value_name = "ADDRESS")]
    pub rtmp_listen: SocketAddr,
    /// Health, metrics, status, and the owner's stop.
    #[arg(long, env = "METRICS_LISTEN", default_value = "[::]:9090", value_name = "ADDRESS")]
    pub metrics_listen: SocketAddr,
    /// Spool; and, without NATS_URL, the transcript log.
    #[arg(long, env = "DATA_DIR", value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// The transcript log in NATS JetStream: nats://HOST:4222, several separated by commas.
    #[arg(long, env = "NATS_URL", hide_env_values = true, default_value = "", value_name = "URL")]
    pub nats_url: String,
    /// Credentials file for NATS.
    #[arg(long, env = "NATS_CREDS", value_name = "FILE")]
    pub nats_creds: Option<PathBuf>,
    /// Copies of the log, when this process is the one that makes the stream.
    #[arg(long, env = "NATS_REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5), value_name = "COUNT")]
    pub nats_replicas: u8,
    /// Days that NATS keeps a transcript, when this process is the one that makes the stream.
    #[arg(long, env = "RETENTION_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..), value_name = "DAYS")]
    pub retention_days: u16,
    /// RTMPS: certificate chain, a PEM file; looked at once a minute, so that a renewed one needs no restart.
    #[arg(long, env = "TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<OsString>,
    /// RTMPS: private key of TLS_CERT, a PEM file.
    #[arg(long, env = "TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<OsString>,
    /// How often the TLS files are looked at.
    #[arg(long, default_value_t = RENEWAL_INTERVAL.as_secs(), value_name = "SECONDS", hide = true)]
    pub tls_renewal_seconds: u64,
    /// Key of the speech service.
    #[arg(long, env = "GLADIA_API_KEY", hide_env_values = true, default_value = "", value_name = "KEY")]
    pub gladia_api_key: String,
    /// Base URL of the speech service.
    #[arg(long, env = "GLADIA_API_URL", default_value = "https://api.gladia.io", value_name = "URL")]
    pub gladia_api_url: String,
    /// `us-west` or `eu-west`.
    #[arg(long, env = "GLADIA_REGION", value_name = "REGION")]
    pub gladia_region: Option<String>,
    /// Seconds between SIGTERM and SIGKILL: the publisher may stay until 20 s before its end.
    #[arg(long, default_value_t = 90, value_name = "SECONDS")]
    pub grace_seconds: u64,
    /// Another worker still hears this session and hands it over (a planned move): its last words are waited for, at most 10 s.
    #[arg(long, env = "HANDOVER")]
    pub handover: bool,
    /// … and is killed by then (RFC 3339): it is not waited for after that.
    #[arg(long, env = "HANDOVER_UNTIL", value_name = "TIME")]
    pub handover_until: Option<jiff::Timestamp>,
    /// Log filter.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

/// The session file, `"v":1`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionFile {
    v: u32,
    /// Session secret (contract §2), base64url: stream keys are derived from it.
    pub secret: String,
    /// Lowest attempt that a stream key may have; by default `gen`: a key that was rotated away stays away.
    #[serde(default)]
    pub lowest_attempt: Option<u32>,
    /// Identity, attempt, speech options.
    #[serde(flatten)]
    pub settings: Settings,
}

/// What a worker cannot start without; each says which setting to mend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("--session {path}: {error}")]
    Read {
        /// As given.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not a session file.
    #[error("--session {path}: {detail}; it must be the session file that the operator writes")]
    Parse {
        /// As given.
        path: PathBuf,
        /// Field and position, never a value.
        detail: String,
    },
    /// The speech service's URL or key cannot be used.
    #[error("{}: {error}", error.setting())]
    Speech {
        /// Which, and why.
        #[from]
        error: SpeechSettingsError,
    },
    /// The certificate or its key cannot be used.
    #[error("{}: {error}", error.setting())]
    Tls {
        /// Which, and why.
        #[from]
        error: TlsError,
    },
    /// Flags or environment.
    #[error("{0}")]
    Flags(String),
    /// `RUST_LOG`.
    #[error("RUST_LOG: {0}; give a filter such as info or roomscribe_worker=debug")]
    Log(String),
}

impl Args {
    /// Reads the command line; what clap prints for `--help` and `--version` is an `Ok(None)`.
    pub fn read() -> Result<Option<Self>, ConfigError> {
        match Self::try_parse() {
            Ok(args) => Ok(Some(args)),
            Err(error) if error.use_stderr() => Err(ConfigError::Flags(one_line(&error.to_string()))),
            Err(error) => {
                // A closed standard output is the reader's wish.
                let _ = error.print();
                Ok(None)
            }
        }
    }

    /// Reads the session file.
    pub fn session_file(&self) -> Result<(SessionFile, SessionSecret), ConfigError> {
        let bytes = std::fs::read(&self.session)
            .map_err(|error| ConfigError::Read { path: self.session.clone(), error })?;
        parse(&bytes).map_err(|detail| ConfigError::Parse { path: self.session.clone(), detail })
    }

    /// The speech service.
    pub fn speech(&self) -> Result<SpeechApi, ConfigError> {
        Ok(SpeechApi::new(&self.gladia_api_url, &self.gladia_api_key, self.gladia_region.clone())?)
    }

    /// The certificate of the RTMP port; `None`: it speaks plain RTMP.
    pub fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let path = |given: &Option<OsString>| given.as_ref().map(PathBuf::from);
        Ok(Tls::open(path(&self.tls_cert).as_deref(), path(&self.tls_key).as_deref())?)
    }

    /// The log filter. What libraries dump (the WebSocket's TRACE has the URL of the speech session, which is a secret) is never
    /// shown, whatever it says: `roomscribe_transcript::discreet`.
    pub fn filter(&self) -> Result<tracing_subscriber::EnvFilter, ConfigError> {
        tracing_subscriber::EnvFilter::try_new(&self.log).map_err(|error| ConfigError::Log(error.to_string()))
    }
}

fn parse(bytes: &[u8]) -> Result<(SessionFile, SessionSecret), String> {
    let file: SessionFile =
        serde_json::from_slice(bytes).map_err(|error| without_value(&error.to_string()))?;
    if file.v != 1 {
        return Err(format!("v: {} is not 1: use a worker of the operator's version", file.v));
    }
    if file.settings.generation.0 == 0 {
        return Err("gen: attempts count from 1".to_owned());
    }
    // The id becomes a folder's name.
    if SessionId::parse(file.settings.session.as_str()).is_none() {
        return Err("session: not a UUID".to_owned());
    }
    let secret = SessionSecret::from_base64url(&file.secret)
        .ok_or_else(|| "secret: not 32 bytes of base64url without padding".to_owned())?;
    Ok((file, secret))
}

/// serde_json quotes the value it did not expect, and that may be the secret.
fn without_value(error: &str) -> String {
    match (error.split_once(": "), error.split_once(", expected ")) {
        (Some((what, _)), Some((_, expected))) if what.starts_with("invalid ") => {
            format!("{what}, expected {expected}")
        }
        _ => error.to_owned(),
    }
}

/// clap's first paragraph: what is wrong. The usage after it is `--help`'s.
fn one_line(error: &str) -> String {
    let first = error.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
    format!("{}; see --help", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomscribe_pipeline::VocabularyEntry;
    use roomscribe_pipeline::stream_key::derive;
    use roomscribe_transcript::Generation;
    use std::time::Duration;

    const GOOD: &str = r#"{"v":1,"secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","session":"0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000","gen":1,"roomName":"standup"}"#;

    #[test]
    fn a_session_file_that_cannot_be_used_names_the_field_and_never_its_value() {
        assert!(parse(GOOD.as_bytes()).is_ok());
        for (from, to, named) in [
            ("\"v\":1", "\"v\":2", "v:"),
            ("\"gen\":1", "\"gen\":0", "gen:"),
            ("\"AAAA", "\"hushhush", "secret:"),
            ("\"secret\"", "\"secrets\"", "missing field `secret`"),
            ("\"v\":1", "\"v\":\"hushhush\"", "invalid type, expected u32"),
            ("0199aaaa", "hushhush", "session: not a UUID"),
            ("{\"v\"", "\"hushhush\" {\"v\"", "invalid type, expected struct SessionFile"),
        ] {
            let broken = GOOD.replacen(from, to, 1);
            assert_ne!(broken, GOOD, "{from}");
            let error = parse(broken.as_bytes()).err().unwrap();
            assert!(error.contains(named), "{broken}: {error}");
            assert!(!error.contains("hushhush"), "{error}");
        }
    }

    /// The operator's own tests say that it writes exactly this file.
    #[test]
    fn the_operator_s_session_file_is_read_to_its_last_field() {
        let (file, _) = parse(include_bytes!("../../operator/tests/golden/session-file.json")).unwrap();
        let id = SessionId::parse("0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000").unwrap();
        let mut expected = Settings::new(id.clone(), Generation(3), "standup".to_owned());
        expected.max_duration = Duration::from_secs(7200);
        let speech = &mut expected.speech;
        (speech.languages, speech.translate_to) =
            (vec!["ru".to_owned(), "en".to_owned()], vec!["de".to_owned()]);
        (speech.code_switching, speech.partials, speech.endpointing_milliseconds) = (true, false, 200);
        let (value, pronunciations) = ("Roomscribe".to_owned(), vec!["room scribe".to_owned()]);
        speech.vocabulary = vec![VocabularyEntry { value, pronunciations }];
        assert_eq!(file.settings, expected);
        // The secret that both derive from the same key.
        let secret = SessionSecret::from_base64url(&file.secret).unwrap();
        assert_eq!(derive(&secret, &id, 1), derive(&SessionSecret::derive(b"install key", &id), &id, 1));
    }

    #[test]
    fn what_clap_says_becomes_one_line_that_names_the_flag() {
        let error = Args::try_parse_from(["worker", "--data-dir", "x"]).unwrap_err();
        let line = one_line(&error.to_string());
        assert!(line.contains("--session") && !line.contains('\n'), "{line}");
    }
}
