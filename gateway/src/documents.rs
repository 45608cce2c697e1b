//! Session documents: create, list, get, stop, erase, keys, tickets.

use std::sync::{Arc, MutexGuard, PoisonError};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use roomscribe_transcript::SessionId;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::app::Shared;
use crate::auth::{Grant, Need};
use crate::body;
use crate::idempotency::{KeyOf, Remembered, Seen};
use crate::problem::Problem;
use crate::routes::Key;
use crate::sessions::{CreateSession, IngestAddress, Once, SessionDocument};
use crate::validate::wrong_fields;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Characters of an idempotency key at most.
const KEY_MAX: usize = 255;

/// The document of contract §3, in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    #[serde(flatten)]
    document: SessionDocument,
    epoch: Option<String>,
    head: u64,
    /// Wall time of media 0, as in `hello`: who connected before the first sound learns it here.
    media_zero_at: Option<String>,
    links: Links,
    #[serde(skip_serializing_if = "Option::is_none")]
    ingest: Option<IngestAddress>,
}

#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    own: String,
    stream: String,
    transcript: String,
}

impl Shared {
    /// The session that a path names, if this grant may do that with it.
    pub(crate) async fn find(
        &self,
        grant: &Grant,
        need: Need,
        key: &str,
    ) -> Result<SessionDocument, Problem> {
        grant.check_scope(need)?;
        let document = self.sessions.get(key).await?;
        grant.check(need, &document.id, &document.room_name)?;
        Ok(document)
    }

    async fn view(&self, grant: &Grant, mut document: SessionDocument) -> View {
        let ingest = document.ingest.take().filter(|_| grant.has(Need::Control));
        let head = match SessionId::parse(&document.id) {
            Some(id) => self.log().head(&id).await.ok(),
            None => None,
        };
        let links = self.links(&document.id);
        let media_zero_at = head.as_ref().and_then(|head| head.note.as_ref()?.media_zero_at.clone());
        let (epoch, head) = head.map_or((None, 0), |head| (Some(head.epoch), head.head.0));
        View { document, epoch, head, media_zero_at, links, ingest }
    }

    fn links(&self, id: &str) -> Links {
        let base = self.config.public_url.as_deref().unwrap_or_default().trim_end_matches('/');
        let own = format!("{base}/v1/sessions/{id}");
        // http → ws, https → wss.
        let socket = own.strip_prefix("http").map_or_else(|| own.clone(), |rest| format!("ws{rest}"));
        Links { stream: format!("{socket}/stream"), transcript: format!("{own}/transcript"), own }
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) async fn create(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let grant = shared.grant(&headers)?;
    grant.check_scope(Need::Control)?;
    let request: CreateSession =
        body::parse_over(&shared.config.session_defaults, &headers, &whole(&shared, bytes)?)?;
    let wrong = wrong_fields(&request);
    if !wrong.is_empty() {
        return Err(Problem::fields(wrong));
    }
    // Only a grant for all sessions, or for this very room, may start one.
    grant.check(Need::Control, "", &request.room_name)?;
    let key = idempotency_key(&headers, &grant)?;
    let digest = fingerprint(&request);
    if let Some(key) = &key {
        let seen = shared.remembered().begin(key, digest, shared.now());
        if let Some(answer) = replay(&shared, &grant, seen).await {
            return answer;
        }
    }
    // In a task of its own: a client that hangs up must not leave half a session, or a key at work for ever.
    let work = tokio::spawn(start(Arc::clone(&shared), request, key, digest));
    let created = work.await.map_err(|_| Problem::unavailable("The session could not be started."))??;
    let status = if created.fresh { StatusCode::CREATED } else { StatusCode::OK };
    let view = shared.view(&grant, created.session).await;
    Ok((status, [(header::LOCATION, view.links.own.clone())], Json(view)).into_response())
}

async fn start(
    shared: Arc<Shared>,
    request: CreateSession,
    key: Option<KeyOf>,
    digest: [u8; 32],
) -> Result<crate::sessions::Created, Problem> {
    let Some(key) = key else { return Ok(shared.sessions.create(request).await?) };
    let once = Once { key: hex(&key_digest(&key)), body: hex(&digest) };
    let guard = FreeOnDrop { shared: Arc::clone(&shared), key };
    let created = shared.sessions.create_once(request, once).await?;
    shared.remembered().done(&guard.key, &created.session.id);
    Ok(created)
}

fn key_digest((subject, key): &KeyOf) -> [u8; 32] {
    // Header values hold no control characters.
    Sha256::digest(format!("{subject}\n{key}")).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Frees the key unless the request was done, also when `create` panics.
struct FreeOnDrop {
    shared: Arc<Shared>,
    key: KeyOf,
}

impl Drop for FreeOnDrop {
    fn drop(&mut self) {
        self.shared.remembered().failed(&self.key);
    }
}

async fn replay(shared: &Shared, grant: &Grant, seen: Seen) -> Option<Result<Response, Problem>> {
    match seen {
        Seen::First => None,
        Seen::OtherBody => Some(Err(crate::sessions::SessionsError::KeyReused.into())),
        Seen::AtWork => Some(Err(Problem::conflict(
            "idempotency-key-in-use",
            "The first request with this Idempotency-Key is still at work: try again in a second.",
        )
        .after(1))),
        Seen::Replay(id) => Some(match shared.sessions.get(&id).await {
            Ok(document) => Ok(Json(shared.view(grant, document).await).into_response()),
            Err(crate::sessions::SessionsError::NotFound) => {
                Err(Problem::gone("The session that this Idempotency-Key started does not exist any more."))
            }
            Err(error) => Err(error.into()),
        }),
    }
}

fn idempotency_key(headers: &HeaderMap, grant: &Grant) -> Result<Option<KeyOf>, Problem> {
    let Some(value) = headers.get(&IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(Problem::bad_request(format!(
            "Idempotency-Key must hold 1 to {KEY_MAX} printable ASCII characters."
        )));
    }
    Ok(Some((grant.subject.clone(), key.into())))
}

/// Of what was asked, not of how it was written.
fn fingerprint(request: &CreateSession) -> [u8; 32] {
    Sha256::digest(serde_json::to_vec(request).unwrap_or_default()).into()
}

fn whole(shared: &Shared, bytes: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    bytes.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("The body is over {} bytes.", shared.config.limits.body_bytes);
            Problem::new(413, "body-too-large", "Body too large", detail)
        }
        _ => Problem::bad_request("The body could not be read."),
    })
}

pub(crate) async fn list(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Response, Problem> {
    let grant = shared.grant(&headers)?;
    grant.check_scope(Need::Read)?;
    let mut sessions = Vec::new();
    for document in shared.sessions.list().await? {
        if grant.reaches(&document.id, &document.room_name) {
            sessions.push(shared.view(&grant, document).await);
        }
    }
    Ok(Json(json!({ "sessions": sessions })).into_response())
}

pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let grant = shared.grant(&headers)?;
    let document = shared.find(&grant, Need::Read, &key).await?;
    Ok(Json(shared.view(&grant, document).await).into_response())
}

pub(crate) async fn stop(
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let grant = shared.grant(&headers)?;
    let document = shared.find(&grant, Need::Control, &key).await?;
    let document = shared.sessions.stop(&document.id).await?;
    Ok(Json(shared.view(&grant, document).await).into_response())
}

pub(crate) async fn erase(
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let grant = shared.grant(&headers)?;
    let document = shared.find(&grant, Need::Control, &key).await?;
    shared.sessions.erase(&document.id).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

pub(crate) async fn rotate(
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let grant = shared.grant(&headers)?;
    let document = shared.find(&grant, Need::Control, &key).await?;
    let document = shared.sessions.rotate_ingest_key(&document.id).await?;
    Ok(Json(shared.view(&grant, document).await).into_response())
}

pub(crate) async fn ticket(
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let grant = shared.grant(&headers)?;
    let document = shared.find(&grant, Need::Read, &key).await?;
    let (ticket, expires) = shared.gatekeeper.issue(&grant, &document.id, shared.unix());
    let expires = i64::try_from(expires).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    let body = json!({ "ticket": ticket, "expiresAt": expires.map(|at| at.to_string()) });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}
