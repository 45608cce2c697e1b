//! The Secret `ts-<name>`: session files and keys.

use super::installation::Installation;
use super::{names, session_file};
use crate::stream_key::{Ingest, rtmp_url};
use k8s_openapi::api::core::v1::Secret;
use roomscribe_crds::{CaptureMode, TranscriptionSession};
use std::collections::BTreeMap;

/// Key of the speech service's API key.
pub(super) const SPEECH_KEY: &str = "GLADIA_API_KEY";
/// Key of the NATS credentials file.
pub(super) const NATS_CREDS: &str = "nats.creds";

/// Name of an attempt's session file in the Secret.
///
/// There is one file per attempt, because workers of two attempts live side by side during a planned move and either may
/// restart. With one common file, a restart of the older worker would read the newer attempt: it would refuse the egress
/// that still sends to it, and write into the log with the right of its successor. So each pod sees its own file only, and
/// `attempts` must hold every pod that is there: a key that a mounted volume misses keeps a restarting container down.
pub(super) fn session_key(attempt: u32) -> String {
    format!("session-{attempt}.json")
}

/// The Secret for the pods of these attempts: those that are there, and the one that is to come.
pub fn secret(session: &TranscriptionSession, installation: &Installation, attempts: &[u32]) -> Secret {
    let mut data: BTreeMap<String, String> = attempts
        .iter()
        .map(|attempt| (session_key(*attempt), session_file(session, installation, *attempt)))
        .collect();
    if let Some(key) = own_key(session, installation) {
        data.insert(SPEECH_KEY.to_owned(), key.to_owned());
    }
    if let Some(creds) = installation.log.creds() {
        data.insert(NATS_CREDS.to_owned(), creds.reveal().to_owned());
    }
    Secret {
        metadata: names::metadata(session, names::shared(session), names::labels(session), BTreeMap::new()),
        type_: Some("Opaque".into()),
        string_data: None,
        data: Some(
            data.into_iter().map(|(name, text)| (name, k8s_openapi::ByteString(text.into_bytes()))).collect(),
        ),
        ..Secret::default()
    }
}

/// With capture Push: where a publisher sends its RTMP, for people and encoders: `url` is `server/streamKey`. The attempt in
/// it is the stream key's, and stays when a pod is replaced. Empty with every other mode: LiveKit is told by us.
pub fn publisher(
    session: &TranscriptionSession,
    installation: &Installation,
    host: &str,
    port: u16,
) -> BTreeMap<String, k8s_openapi::ByteString> {
    let attempt = session.status.as_ref().and_then(|status| u32::try_from(status.attempt?).ok());
    let (CaptureMode::Push, Some(attempt)) = (session.spec.capture.mode, attempt) else {
        return BTreeMap::new();
    };
    let ingest = Ingest { tls: session.spec.ingest.tls.is_some(), host, port };
    let url = rtmp_url(ingest, &installation.install, &installation.key, names::id(session), attempt);
    let (server, key) = url.rsplit_once('/').unwrap_or_default();
    [("server", server), ("streamKey", key), ("url", url.as_str())]
        .into_iter()
        .map(|(name, text)| (name.to_owned(), k8s_openapi::ByteString(text.as_bytes().to_vec())))
        .collect()
}

/// The installation's key, where it is the session's too. It goes to the installation's own speech service only: whoever
/// may write a session could otherwise send it to a server of their own by `speech.apiUrl`.
pub(super) fn own_key<'a>(session: &TranscriptionSession, installation: &'a Installation) -> Option<&'a str> {
    let speech = &session.spec.speech;
    let elsewhere = speech.api_url.is_some() && !same_service(session, installation);
    if speech.secret_ref.is_some() || elsewhere {
        return None;
    }
    installation.speech.api_key.as_ref().map(super::Hidden::reveal)
}

/// The session's speech service is the installation's.
pub(super) fn same_service(session: &TranscriptionSession, installation: &Installation) -> bool {
    let own = installation.speech.api_url.as_deref().unwrap_or(super::pod::GLADIA);
    session.spec.speech.api_url.as_deref().is_none_or(|url| same_url(url, own))
}

/// Two base URLs of one speech service: the installation's key goes where this says yes, and nowhere else.
pub fn same_url(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}
