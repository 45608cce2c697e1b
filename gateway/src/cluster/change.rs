//! What callers ask of sessions: a start, an end, an erasure, a new stream key.

use super::api::{ApiError, is_of_object};
use super::cache::Session;
use super::document::{self, is_active, is_finished};
use super::ends::ERASE;
use super::find::log_is_away;
use super::request;
use super::sessions::Shared;
use crate::sessions::{CreateSession, Created, Once, SessionDocument, SessionsError};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use roomscribe_crds::{CaptureMode as Asked, TranscriptionSession};
use roomscribe_transcript::{LogError, SessionId};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The operator may take so long to answer a raised `keyGeneration`; then the new key is not in the answer.
const NEW_KEY: Duration = Duration::from_secs(5);
/// Names that may be taken by others while we look for one.
const TRIES: usize = 16;

impl Shared {
    pub(super) async fn start(
        &self,
        asked: CreateSession,
        once: Option<Once>,
    ) -> Result<Created, SessionsError> {
        if let Some(once) = &once
            && let Some(session) = self.made_by(once).await?
        {
            return Ok(Created { session: self.document(&session), fresh: false });
        }
        let namespace = self.namespace().to_owned();
        let of_room = self.of_room(&asked.room_name).await?;
        if let Some(running) = request::running(&asked, &namespace, &of_room) {
            return Ok(Created { session: self.document(running), fresh: false });
        }
        let mut taken = request::taken(&namespace, &of_room);
        for _ in 0..TRIES {
            let name = request::name(&asked, &taken);
            let resource = request::resource(&asked, &name, &namespace, once.as_ref());
            match self.server.create(&namespace, &resource).await {
                Ok(session) => {
                    let document = self.document(&session);
                    tracing::info!(
                        session = format!("{namespace}/{name}"),
                        uid = document.id,
                        "session created"
                    );
                    self.put(session);
                    return Ok(Created { session: document, fresh: true });
                }
                Err(ApiError::Refused(status)) if status.is_already_exists() => {}
                Err(error) => return Err(error.explain("create sessions", &namespace)),
            }
            let Some(holder) = self.server.get(&namespace, &name).await? else { continue };
            let holder = Arc::new(holder);
            if request::running(&asked, &namespace, std::slice::from_ref(&holder)).is_some()
                && holder.spec.room_name == asked.room_name
            {
                self.put((*holder).clone());
                return Ok(Created { session: self.document(&holder), fresh: false });
            }
            if asked.name.is_some() {
                return Err(in_use(&holder));
            }
            taken.insert(name);
        }
        Err(SessionsError::Unavailable(
            "the names of this room's sessions are taken as fast as they are free: try again".into(),
        ))
    }

    async fn made_by(&self, once: &Once) -> Result<Option<Session>, SessionsError> {
        let labelled =
            ListParams::default().labels(&format!("{}={}", request::KEY_LABEL, request::key_value(once)));
        let made = self.server.list(self.namespace(), &labelled).await?;
        match made.into_iter().min_by_key(|session| document::age(session)) {
            Some(session) if request::is_same(&session, once) => Ok(Some(session)),
            Some(_) => Err(SessionsError::KeyReused),
            None => Ok(None),
        }
    }

    /// Past the cache, which may lag behind another replica's create.
    async fn of_room(&self, room: &str) -> Result<Vec<Session>, SessionsError> {
        let params = ListParams::default().fields(&format!("spec.roomName={}", escaped(room)));
        let mut all = Vec::new();
        for namespace in &self.place.namespaces {
            all.extend(self.server.list(namespace, &params).await?);
        }
        Ok(all)
    }

    /// Changes the resource of this very session; `None` when it is gone.
    async fn change(
        &self,
        session: &Session,
        what: &str,
        mut change: Value,
    ) -> Result<Option<TranscriptionSession>, SessionsError> {
        let (namespace, name) = (session.namespace().unwrap_or_default(), session.name_any());
        // Another session with the same name is not meant.
        change["metadata"]["uid"] = session.uid().into();
        match self.server.patch(&namespace, &name, &change).await {
            Ok(changed) => {
                self.put(changed.clone());
                Ok(Some(changed))
            }
            Err(ApiError::Refused(status)) if status.is_conflict() || is_of_object(&status) => Ok(None),
            Err(error) => Err(error.explain(what, &namespace)),
        }
    }

    pub(super) async fn end(&self, key: &str, change: Value) -> Result<SessionDocument, SessionsError> {
        let Some(session) = self.held(key)? else { return self.find(key).await };
        let idle = change == stopped() && !is_active(&session);
        if idle {
            return Ok(self.document(&session));
        }
        match self.change(&session, "stop sessions", change).await? {
            Some(changed) => Ok(self.document(&changed)),
            None => Ok(document::of_gone(&session, &self.place.install, &Time(Timestamp::now()))),
        }
    }

    pub(super) async fn wipe(&self, key: &str) -> Result<(), SessionsError> {
        let id = match self.held(key)? {
            Some(session) if !is_finished(&session) => {
                let mut change = stopped();
                change["metadata"]["annotations"][ERASE] = "requested".into();
                self.end(key, change).await?;
                return Ok(());
            }
            Some(session) => session.uid().unwrap_or_default(),
            None => self.find(key).await?.id,
        };
        let id = SessionId::parse(&id).ok_or(SessionsError::NotFound)?;
        match self.log.erase(&id).await {
            Ok(()) | Err(LogError::NoSession) => Ok(()),
            Err(error) => Err(log_is_away(&error)),
        }
    }

    pub(super) async fn rotate(&self, key: &str) -> Result<SessionDocument, SessionsError> {
        let Some(session) = self.held(key)? else {
            self.find(key).await?;
            return Err(SessionsError::Conflict("the session has finished; start a new one".into()));
        };
        if !is_active(&session) {
            return Err(SessionsError::Conflict(
                "the session has finished, or is stopping; start a new one".into(),
            ));
        }
        if session.spec.capture.mode != Asked::Push {
            return Err(SessionsError::Conflict(
                "only a session with capture Push has a key to give away; LiveKit's keys change by themselves".into(),
            ));
        }
        let next = session.spec.ingest.key_generation + 1;
        let change = json!({"spec": {"ingest": {"keyGeneration": next}}});
        let changed =
            self.change(&session, "change sessions", change).await?.ok_or(SessionsError::NotFound)?;
        let uid = changed.uid().unwrap_or_default();
        let answered = |shared: &Self| {
            let document = shared.document(&*shared.cache().by_uid(&uid)?);
            document.ingest.is_some().then_some(document)
        };
        Ok(self.await_cache(NEW_KEY, answered).await.unwrap_or_else(|| self.document(&changed)))
    }
}

/// The change that asks for a session's end.
pub(super) fn stopped() -> Value {
    json!({"spec": {"desiredState": "Stopped"}})
}

fn in_use(holder: &TranscriptionSession) -> SessionsError {
    let (name, namespace) = (holder.name_any(), holder.namespace().unwrap_or_default());
    SessionsError::Conflict(if is_finished(holder) {
        format!(
            "{name} is the name of a session that has finished; its resource keeps the name for ttlSecondsAfterFinished: choose another name, or `kubectl -n {namespace} delete ts {name}`"
        )
    } else {
        format!(
            "{name} is the name of a session of another room, or of one that is stopping: choose another name, or wait for its end"
        )
    })
}

/// For a field selector.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, character| {
        if matches!(character, '\\' | ',' | '=') {
            escaped.push('\\');
        }
        escaped.push(character);
        escaped
    })
}
