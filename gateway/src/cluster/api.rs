//! Calls to the API server: each has a deadline, and whether it answers is remembered.

use super::cache::Session;
use super::refusal;
use crate::sessions::SessionsError;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::{Request, Status};
use kube::{Client, Resource};
use roomscribe_crds::TranscriptionSession;
use serde_json::Value;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// kube repeats 429, 503 and 504 by itself; this bounds all of it.
const DEADLINE: Duration = Duration::from_secs(8);
/// Sessions of one room that are looked at; its finished ones go with their time.
const LIST_LIMIT: u32 = 500;

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The API server said no.
    Refused(Box<Status>),
    /// No answer, or one that passes by itself.
    Away(String),
}

/// The API server, as the gateway uses it.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
    away: Arc<Mutex<Option<Instant>>>,
}

impl Server {
    pub(super) fn new(client: Client) -> Self {
        Self { client, away: Arc::default() }
    }

    pub(super) fn api(&self, namespace: &str) -> Api<TranscriptionSession> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// How long it has not answered; `None` while it does.
    pub(super) fn away_for(&self) -> Option<Duration> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since.elapsed())
    }

    /// Notes that it has answered, or has not; is this news?
    pub(super) fn heard(&self, answered: bool) -> bool {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let news = away.is_some() == answered;
        *away = if answered { None } else { away.or_else(|| Some(Instant::now())) };
        news
    }

    /// Past the cache: the sessions of a room, or with a label.
    pub(super) async fn list(
        &self,
        namespace: &str,
        params: &ListParams,
    ) -> Result<Vec<Session>, SessionsError> {
        let api = self.api(namespace);
        let params = params.clone().limit(LIST_LIMIT);
        let listed = self.bounded(api.list(&params)).await;
        let listed = listed.map_err(|error| error.explain("list sessions", namespace))?;
        Ok(listed.items.into_iter().map(Arc::new).collect())
    }

    /// Past the cache: one session.
    pub(super) async fn get(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<TranscriptionSession>, SessionsError> {
        let api = self.api(namespace);
        match self.bounded(api.get(name)).await {
            Ok(session) => Ok(Some(session)),
            Err(ApiError::Refused(status)) if is_of_object(&status) => Ok(None),
            Err(error) => Err(error.explain("read sessions", namespace)),
        }
    }

    /// Creates it; fields that the resource does not have are refused, never dropped.
    pub(super) async fn create(
        &self,
        namespace: &str,
        resource: &Value,
    ) -> Result<TranscriptionSession, ApiError> {
        let url = TranscriptionSession::url_path(&(), Some(namespace));
        let params = PostParams { field_manager: Some("roomscribe-gateway".into()), ..PostParams::default() };
        let body = serde_json::to_vec(resource).unwrap_or_default();
        let mut request =
            Request::new(url).create(&params, body).map_err(|error| ApiError::Away(error.to_string()))?;
        let strict = format!("{}&fieldValidation=Strict", request.uri());
        *request.uri_mut() =
            strict.parse().map_err(|_| ApiError::Away("the URL cannot be written".into()))?;
        self.bounded(self.client.request(request)).await
    }

    /// Changes it.
    pub(super) async fn patch(
        &self,
        namespace: &str,
        name: &str,
        change: &Value,
    ) -> Result<TranscriptionSession, ApiError> {
        let api = self.api(namespace);
        let params =
            PatchParams { field_manager: Some("roomscribe-gateway".into()), ..PatchParams::default() };
        self.bounded(api.patch(name, &params, &Patch::Merge(change))).await
    }

    async fn bounded<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
        let result = match tokio::time::timeout(DEADLINE, call).await {
            Err(_) => Err(ApiError::Away(format!("no answer in {} s", DEADLINE.as_secs()))),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) if status.code < 500 && !matches!(status.code, 401 | 429) => {
                Err(ApiError::Refused(status))
            }
            Ok(Err(kube::Error::Api(status))) => Err(ApiError::Away(status.message)),
            Ok(Err(error)) => Err(ApiError::Away(error.to_string())),
        };
        self.heard(!matches!(result, Err(ApiError::Away(_))));
        result
    }
}

/// The object is not there; its namespace and kind are.
pub(super) fn is_of_object(status: &Status) -> bool {
    status.is_not_found()
        && status
            .details
            .as_ref()
            .is_some_and(|details| details.kind != "namespaces" && !details.name.is_empty())
}

impl ApiError {
    /// For the caller; `what` as in "create sessions".
    pub(super) fn explain(self, what: &str, namespace: &str) -> SessionsError {
        match self {
            Self::Refused(status) => refusal::explain(&status, what, namespace),
            Self::Away(error) => {
                tracing::warn!(
                    error,
                    what,
                    "the Kubernetes API server does not answer: whoever runs the cluster must look at it"
                );
                SessionsError::Unavailable(
                    "the Kubernetes API server does not answer: try again; if this stays, whoever runs the cluster must look at it. Transcripts can be read meanwhile.".into(),
                )
            }
        }
    }
}
