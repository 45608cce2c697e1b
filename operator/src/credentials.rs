//! Whose LiveKit project and whose speech key a session uses.

use crate::api::{self, Error};
use crate::cells::lock;
use crate::children;
use crate::observe::address;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use roomscribe_calls::{Project, Tally};
use roomscribe_crds::{CaptureMode, TranscriptionSession};
use roomscribe_plan::Secrets;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

/// LiveKit projects that one operator keeps clients of; further sessions are told so.
const MAX_PROJECTS: usize = 1000;

/// What a session's credentials came to.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its LiveKit project.
    pub project: Option<Project>,
    /// Names the project; the same for every Secret that leads to it.
    pub project_key: String,
    /// LiveKit is not in a private network.
    pub livekit_is_public: bool,
    /// For the plan.
    pub secrets: Secrets,
}

/// What the operator was installed with.
pub struct Own {
    /// LiveKit's settings, when given.
    pub livekit: Option<roomscribe_livekit::Credentials>,
    /// Its speech service.
    pub speech: OwnSpeech,
    /// Changes with the keys.
    pub version: u64,
    /// Calls a second and at once to one project.
    pub rate: (f64, f64),
}

/// The speech service that the operator was installed with.
pub struct OwnSpeech {
    /// Base URL.
    pub api_url: String,
    /// There is a key.
    pub has_key: bool,
}

impl OwnSpeech {
    /// What a session without a key of its own lacks: the installation's goes to the installation's service only, and a
    /// worker that has none for Gladia ends with 64 again and again. The words follow "add".
    fn lacks(&self, api_url: Option<&str>) -> Option<&'static str> {
        let url = api_url.unwrap_or(&self.api_url);
        match (needs_key(url), children::same_url(url, &self.api_url), self.has_key) {
            (false, ..) | (true, true, true) => None,
            (true, true, false) => Some("GLADIA_API_KEY to the operator, or speech.secretRef to the session"),
            (true, false, _) => Some(
                "speech.secretRef to the session, or leave speech.apiUrl out: Gladia needs a key, and the operator's is for its own speech service only",
            ),
        }
    }
}

/// As the worker decides it (`worker/src/speech_http.rs`).
fn needs_key(api_url: &str) -> bool {
    let url = reqwest::Url::parse(api_url).ok();
    url.and_then(|url| url.host_str().map(|host| host.ends_with("gladia.io"))).unwrap_or(false)
}

/// Keeps one client per LiveKit project, so that all its sessions share one token bucket.
pub struct Vault {
    own: Mutex<Arc<Own>>,
    per_session: bool,
    install: String,
    tally: Tally,
    /// By project: what its client was made from, and the client. A rotated secret replaces it.
    projects: Mutex<HashMap<String, (u64, Project)>>,
}

/// Names a LiveKit project, whichever Secret leads to it.
fn key_of(livekit: &roomscribe_livekit::Credentials) -> String {
    let url = livekit.url.trim().trim_end_matches('/').replacen("ws", "http", 1);
    format!("{url} {}", livekit.api_key)
}

impl Vault {
    /// `per_session`: Secrets of sessions may be read.
    pub fn new(own: Own, per_session: bool, install: String, tally: Tally) -> Self {
        Self { own: Mutex::new(Arc::new(own)), per_session, install, tally, projects: Mutex::default() }
    }

    fn own(&self) -> Arc<Own> {
        lock(&self.own).clone()
    }

    /// The installation's keys have changed. Nothing is asked with the old ones any more.
    pub fn renew(&self, own: Own) {
        let before = std::mem::replace(&mut *lock(&self.own), Arc::new(own));
        if let Some(livekit) = &before.livekit {
            lock(&self.projects).remove(&key_of(livekit));
        }
    }

    /// Every project that has been used: for the collector.
    pub fn projects(&self) -> Vec<(String, Project)> {
        // The own one is there from the start: its orphans are looked for even when no session is left.
        if let Some(livekit) = &self.own().livekit {
            let _ = self.project(livekit.clone());
        }
        lock(&self.projects).iter().map(|(key, (_, project))| (key.clone(), project.clone())).collect()
    }

    /// The project of sessions without livekitRef; empty when there is none.
    pub fn own_project(&self) -> String {
        self.own().livekit.as_ref().map(key_of).unwrap_or_default()
    }

    /// Does looking up need the API server?
    pub fn asks(&self, session: &TranscriptionSession) -> bool {
        let spec = &session.spec;
        self.per_session && (spec.livekit_ref.is_some() || spec.speech.secret_ref.is_some())
    }

    /// Looks them up.
    ///
    /// # Errors
    /// When the API server does not say whether a Secret is there.
    pub async fn find(&self, client: &Client, session: &TranscriptionSession) -> Result<Found, Error> {
        let spec = &session.spec;
        if !self.per_session && (spec.livekit_ref.is_some() || spec.speech.secret_ref.is_some()) {
            return Ok(Found::refused(Secrets::Disabled));
        }
        let namespace = session.metadata.namespace.as_deref().unwrap_or_default();
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let mut version = DefaultHasher::new();
        self.own().version.hash(&mut version);
        let livekit = match &spec.livekit_ref {
            None => self.own().livekit.clone(),
            Some(reference) => match livekit(&secrets, &reference.name, &mut version).await? {
                Ok(livekit) => Some(livekit),
                Err(refused) => return Ok(Found::refused(refused)),
            },
        };
        if livekit.is_none() && spec.capture.mode != CaptureMode::Push {
            let mend = "livekitRef to the session, or LIVEKIT_HTTP_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET to the operator";
            return Ok(Found::refused(Secrets::KeyMissing(mend.into())));
        }
        if let Some(refused) = self.speech(&secrets, session, &mut version).await? {
            return Ok(Found::refused(refused));
        }
        let livekit_is_public = livekit.as_ref().is_some_and(|livekit| address::is_public_url(&livekit.url));
        let project_key = livekit.as_ref().map(key_of).unwrap_or_default();
        let project = match livekit {
            None => None,
            Some(livekit) => match self.project(livekit) {
                Ok(project) => Some(project),
                Err(detail) => return Ok(Found::refused(Secrets::KeyMissing(detail))),
            },
        };
        Ok(Found {
            project,
            project_key,
            livekit_is_public,
            secrets: Secrets::Ready { version: version.finish() },
        })
    }

    async fn speech(
        &self,
        secrets: &Api<Secret>,
        session: &TranscriptionSession,
        version: &mut DefaultHasher,
    ) -> Result<Option<Secrets>, Error> {
        let Some(reference) = &session.spec.speech.secret_ref else {
            let lack = self.own().speech.lacks(session.spec.speech.api_url.as_deref());
            return Ok(lack.map(|lack| Secrets::KeyMissing(lack.into())));
        };
        let secret = api::bounded("get a Secret", secrets.get_opt(&reference.name)).await?;
        Ok(match values(secret.as_ref(), &reference.name, [reference.key.as_str()]) {
            Ok(key) => {
                key.hash(version);
                None
            }
            Err(refused) => Some(refused),
        })
    }

    fn project(&self, livekit: roomscribe_livekit::Credentials) -> Result<Project, String> {
        let (key, made_from) = (key_of(&livekit), version_of(&[&livekit.url, &livekit.api_secret]));
        let mut projects = lock(&self.projects);
        if let Some((_, project)) = projects.get(&key).filter(|(before, _)| *before == made_from) {
            return Ok(project.clone());
        }
        if projects.len() >= MAX_PROJECTS && !projects.contains_key(&key) {
            return Err(format!("fewer LiveKit projects: one operator serves at most {MAX_PROJECTS}"));
        }
        let (rate, burst) = self.own().rate;
        let client = roomscribe_livekit::Client::new(livekit)
            .map_err(|error| format!("a usable url: {}", error.message))?;
        let project = Project::new(client.with_rate(rate, burst), &self.install, self.tally.clone());
        projects.insert(key, (made_from, project.clone()));
        Ok(project)
    }
}

impl Found {
    fn refused(secrets: Secrets) -> Self {
        Self { project: None, project_key: String::new(), livekit_is_public: false, secrets }
    }
}

async fn livekit(
    secrets: &Api<Secret>,
    name: &str,
    version: &mut DefaultHasher,
) -> Result<Result<roomscribe_livekit::Credentials, Secrets>, Error> {
    let secret = api::bounded("get a Secret", secrets.get_opt(name)).await?;
    Ok(livekit_of(secret.as_ref(), name).inspect(|credentials| {
        [&credentials.url, &credentials.api_key, &credentials.api_secret].hash(version);
    }))
}

fn livekit_of(secret: Option<&Secret>, name: &str) -> Result<roomscribe_livekit::Credentials, Secrets> {
    let [url, api_key, api_secret] = values(secret, name, ["url", "apiKey", "apiSecret"])?;
    Ok(roomscribe_livekit::Credentials { url, api_key, api_secret })
}

/// The values of these keys, or what to tell people of the first that cannot be used.
fn values<const N: usize>(
    secret: Option<&Secret>,
    name: &str,
    keys: [&str; N],
) -> Result<[String; N], Secrets> {
    let secret = secret.ok_or_else(|| Secrets::Missing(name.into()))?;
    let mut values = [const { String::new() }; N];
    for (place, key) in values.iter_mut().zip(keys) {
        *place = value(secret, key).ok_or_else(|| Secrets::KeyMissing(format!("{name}/{key}")))?;
    }
    Ok(values)
}

fn value(secret: &Secret, key: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(key)?;
    let text = String::from_utf8_lossy(&bytes.0).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Changes when one of the words does.
pub fn version_of(words: &[&str]) -> u64 {
    let mut hash = DefaultHasher::new();
    words.hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    const GLADIA: &str = "https://api.gladia.io";
    const OTHER: &str = "http://speech.speech.svc:8080";

    fn own(api_url: &str, has_key: bool) -> OwnSpeech {
        OwnSpeech { api_url: api_url.into(), has_key }
    }

    fn secret(data: &[(&str, &str)]) -> Secret {
        let data = data.iter().map(|(key, value)| ((*key).into(), ByteString(value.as_bytes().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    #[test]
    fn a_session_at_gladia_without_a_key_is_refused_where_the_operator_s_is_for_another_service() {
        for has_key in [true, false] {
            for url in [GLADIA, "https://api.gladia.io/", "https://eu.API.gladia.io"] {
                let lack = own(OTHER, has_key).lacks(Some(url));
                assert!(lack.is_some_and(|lack| lack.starts_with("speech.secretRef")), "{url}: {lack:?}");
            }
        }
    }

    #[test]
    fn the_operator_s_key_opens_its_own_service_however_it_is_written() {
        for url in [None, Some(GLADIA), Some("https://api.gladia.io/")] {
            assert_eq!(own(GLADIA, true).lacks(url), None);
            let lack = own(GLADIA, false).lacks(url);
            assert!(lack.is_some_and(|lack| lack.starts_with("GLADIA_API_KEY")), "{url:?}: {lack:?}");
        }
    }

    #[test]
    fn a_service_that_is_not_gladia_s_needs_no_key_as_far_as_we_know() {
        assert_eq!(own(GLADIA, false).lacks(Some(OTHER)), None);
        assert_eq!(own(OTHER, false).lacks(None), None);
        assert_eq!(own(OTHER, false).lacks(Some("https://speech.example.com")), None);
    }

    #[test]
    fn a_secret_that_lacks_something_is_named_with_the_key() {
        let whole = secret(&[("url", "wss://lk "), ("apiKey", "k"), ("apiSecret", "s3cret\n")]);
        let found = livekit_of(Some(&whole), "lk").unwrap();
        assert_eq!(
            (found.url.as_str(), found.api_key.as_str(), found.api_secret.as_str()),
            ("wss://lk", "k", "s3cret")
        );
        assert_eq!(key_of(&found), "https://lk k");
        assert_eq!(livekit_of(None, "lk").err(), Some(Secrets::Missing("lk".into())));
        for broken in [
            secret(&[("url", "wss://lk"), ("apiSecret", "s")]),
            secret(&[("url", "wss://lk"), ("apiKey", " \n"), ("apiSecret", "s")]),
        ] {
            assert_eq!(livekit_of(Some(&broken), "lk").err(), Some(Secrets::KeyMissing("lk/apiKey".into())));
        }
        assert_eq!(
            values(Some(&Secret::default()), "g", ["key"]).err(),
            Some(Secrets::KeyMissing("g/key".into()))
        );
    }

    #[test]
    fn a_project_is_the_same_whichever_secret_leads_to_it_and_a_rotated_one_gets_another_client() {
        let livekit = |url: &str, api_secret: &str| roomscribe_livekit::Credentials {
            url: url.into(),
            api_key: "k".into(),
            api_secret: api_secret.into(),
        };
        let own = Own {
            livekit: Some(livekit("wss://lk/", "a")),
            speech: own(OTHER, false),
            version: 1,
            rate: (10.0, 50.0),
        };
        let vault = Vault::new(own, true, "0a1b2c3d".into(), std::sync::Arc::new(|_, _| {}));
        for (url, api_secret) in [("https://lk", "a"), ("wss://lk", "b"), ("https://lk/", "b")] {
            vault.project(livekit(url, api_secret)).unwrap();
        }
        assert_eq!(lock(&vault.projects).keys().collect::<Vec<_>>(), [&vault.own_project()]);
    }
}
