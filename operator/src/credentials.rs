//! Whose LiveKit project and whose speech key a session uses.

use crate::api::{self, Error};
use crate::cells::lock;
use crate::observe::address;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use roomscribe_calls::{Project, Tally};
use roomscribe_crds::{CaptureMode, TranscriptionSession};
use roomscribe_plan::Secrets;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Mutex;

/// LiveKit projects that one operator keeps clients of; further sessions are told so.
const MAX_PROJECTS: usize = 1000;
/// The name of the project that sessions without livekitRef use.
pub const OWN_PROJECT: &str = "own";

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
    /// There is a speech key, or the speech service needs none.
    pub speech: bool,
    /// Changes with the keys.
    pub version: u64,
    /// Calls a second and at once to one project.
    pub rate: (f64, f64),
}

/// Keeps one client per LiveKit project, so that all its sessions share one token bucket.
pub struct Vault {
    own: Own,
    per_session: bool,
    install: String,
    tally: Tally,
    projects: Mutex<HashMap<String, Project>>,
}

impl Vault {
    /// `per_session`: Secrets of sessions may be read.
    pub fn new(own: Own, per_session: bool, install: String, tally: Tally) -> Self {
        Self { own, per_session, install, tally, projects: Mutex::default() }
    }

    /// Every project that has been used: for the collector.
    pub fn projects(&self) -> Vec<(String, Project)> {
        // The own one is there from the start: its orphans are looked for even when no session is left.
        if let Some(livekit) = &self.own.livekit {
            let _ = self.project(OWN_PROJECT, livekit.clone());
        }
        lock(&self.projects).iter().map(|(key, project)| (key.clone(), project.clone())).collect()
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
        self.own.version.hash(&mut version);
        let (project_key, livekit) = match &spec.livekit_ref {
            None => (OWN_PROJECT.to_owned(), self.own.livekit.clone()),
            Some(reference) => match livekit(&secrets, &reference.name, &mut version).await? {
                Ok((key, livekit)) => (key, Some(livekit)),
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
        let project = match livekit {
            None => None,
            Some(livekit) => match self.project(&project_key, livekit) {
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
            let missing = !self.own.speech && session.spec.speech.api_url.is_none();
            let mend = "GLADIA_API_KEY to the operator, or speech.secretRef to the session";
            return Ok(missing.then(|| Secrets::KeyMissing(mend.into())));
        };
        let Some(secret) = api::bounded("get a Secret", secrets.get_opt(&reference.name)).await? else {
            return Ok(Some(Secrets::Missing(reference.name.clone())));
        };
        match value(&secret, &reference.key) {
            Some(key) => {
                key.hash(version);
                Ok(None)
            }
            None => Ok(Some(Secrets::KeyMissing(format!("{}/{}", reference.name, reference.key)))),
        }
    }

    fn project(&self, key: &str, livekit: roomscribe_livekit::Credentials) -> Result<Project, String> {
        let mut projects = lock(&self.projects);
        if let Some(project) = projects.get(key) {
            return Ok(project.clone());
        }
        if projects.len() >= MAX_PROJECTS {
            return Err(format!("fewer LiveKit projects: one operator serves at most {MAX_PROJECTS}"));
        }
        let (rate, burst) = self.own.rate;
        let client = roomscribe_livekit::Client::new(livekit)
            .map_err(|error| format!("a usable url: {}", error.message))?;
        let project = Project::new(client.with_rate(rate, burst), &self.install, self.tally.clone());
        projects.insert(key.to_owned(), project.clone());
        Ok(project)
    }
}

impl Found {
    fn refused(secrets: Secrets) -> Self {
        Self { project: None, project_key: String::new(), livekit_is_public: false, secrets }
    }
}

type LiveKit = (String, roomscribe_livekit::Credentials);

async fn livekit(
    secrets: &Api<Secret>,
    name: &str,
    version: &mut DefaultHasher,
) -> Result<Result<LiveKit, Secrets>, Error> {
    let Some(secret) = api::bounded("get a Secret", secrets.get_opt(name)).await? else {
        return Ok(Err(Secrets::Missing(name.into())));
    };
    let mut values = Vec::new();
    for key in ["url", "apiKey", "apiSecret"] {
        match value(&secret, key) {
            Some(value) => values.push(value),
            None => return Ok(Err(Secrets::KeyMissing(format!("{name}/{key}")))),
        }
    }
    values.hash(version);
    let [url, api_key, api_secret] = <[String; 3]>::try_from(values).unwrap_or_default();
    // The secret is part of the key: a rotated one is another client.
    let mut hash = DefaultHasher::new();
    (&url, &api_key, &api_secret).hash(&mut hash);
    let key = format!("{url} {api_key} {:016x}", hash.finish());
    Ok(Ok((key, roomscribe_livekit::Credentials { url, api_key, api_secret })))
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
