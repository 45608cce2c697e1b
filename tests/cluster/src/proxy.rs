//! A proxy between a client and the API server: plain HTTP in front, the user's certificate behind, faults in between.

use crate::access::file_of;
use crate::api_server::ApiServer;
use anyhow::Context;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use reqwest::{Certificate, Identity};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Largest request that is passed on, as etcd's own limit.
const MAX_BODY: usize = 2 * 1024 * 1024;

/// What happens to requests of a kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    methods: Vec<Method>,
    path: String,
    share: f64,
    at_most: u64,
    harm: Harm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Answer { status: u16, retry_after: Option<u64> },
    Lose { status: u16 },
    Delay(Duration),
    Hang,
    HangAfter,
    Close,
}

impl Fault {
    fn new(harm: Harm) -> Self {
        Self { methods: Vec::new(), path: String::new(), share: 1.0, at_most: u64::MAX, harm }
    }

    /// Answers this status; the API server never sees the request.
    pub fn answer(status: u16) -> Self {
        Self::new(Harm::Answer { status, retry_after: None })
    }

    /// 429 with `Retry-After`; the API server never sees the request.
    pub fn busy(retry_after_seconds: u64) -> Self {
        Self::new(Harm::Answer { status: 429, retry_after: Some(retry_after_seconds) })
    }

    /// The API server does it, the answer is this status instead.
    pub fn lose(status: u16) -> Self {
        Self::new(Harm::Lose { status })
    }

    /// Passes it on later.
    pub fn delay(time: Duration) -> Self {
        Self::new(Harm::Delay(time))
    }

    /// No answer ever; the API server never sees the request.
    pub fn hang() -> Self {
        Self::new(Harm::Hang)
    }

    /// The API server does it, no answer ever comes.
    pub fn hang_after() -> Self {
        Self::new(Harm::HangAfter)
    }

    /// The API server does it, the connection breaks instead of an answer.
    pub fn close() -> Self {
        Self::new(Harm::Close)
    }

    /// Only of this method, and those named before.
    #[must_use]
    pub fn on(mut self, method: &str) -> Self {
        self.methods.extend(Method::from_bytes(method.as_bytes()));
        self
    }

    /// Only of URLs (path and query) that contain this: `/pods`, `/status`, `watch=true`.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Only this share of them, from 0 to 1.
    #[must_use]
    pub fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Only the first so many.
    #[must_use]
    pub fn at_most(mut self, count: u64) -> Self {
        self.at_most = count;
        self
    }

    fn is_meant(&self, method: &Method, url: &str) -> bool {
        (self.methods.is_empty() || self.methods.contains(method)) && url.contains(&self.path)
    }
}

struct Faults {
    list: Vec<Fault>,
    done: Vec<u64>,
    random: fastrand::Rng,
}

impl Faults {
    /// The first fault that is meant for it and drawn.
    fn draw(&mut self, method: &Method, url: &str) -> Option<Harm> {
        for (fault, done) in self.list.iter().zip(&mut self.done) {
            if fault.is_meant(method, url) && *done < fault.at_most && self.random.f64() < fault.share {
                *done += 1;
                return Some(fault.harm);
            }
        }
        None
    }
}

struct Shared {
    server: String,
    client: reqwest::Client,
    faults: Mutex<Faults>,
    requests: AtomicU64,
    cuts: watch::Sender<u64>,
}

/// See the module. It ends with this value.
pub struct ApiProxy {
    kubeconfig: PathBuf,
    url: String,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

impl ApiProxy {
    /// Starts it on the current tokio runtime; what passes it acts as `user` (see [`ApiServer::kubeconfig`]).
    ///
    /// # Errors
    /// No port; no certificate.
    pub async fn start(api: &ApiServer, user: &str, seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        api.kubeconfig(user)?;
        let kubeconfig = api.folder().join(format!("{}-proxy-{seed}.kubeconfig", file_of(user)));
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {{server: '{url}'}}\nusers:\n- name: u\n  user: {{}}\n\
             contexts:\n- name: c\n  context: {{cluster: c, user: u}}\ncurrent-context: c\n"
        );
        std::fs::write(&kubeconfig, text)?;
        let random = fastrand::Rng::with_seed(seed);
        let shared = Arc::new(Shared {
            server: api.url(),
            client: behind(api, user)?,
            faults: Mutex::new(Faults { list: Vec::new(), done: Vec::new(), random }),
            requests: AtomicU64::new(0),
            cuts: watch::Sender::new(0),
        });
        let app = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!("the API proxy ended: {error}");
            }
        });
        Ok(Self { kubeconfig, url, shared, _serving: serving })
    }

    /// For a process that goes through it.
    pub fn kubeconfig(&self) -> &PathBuf {
        &self.kubeconfig
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Of requests from now on; for each, the first fault that fits and is drawn.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        let mut locked = lock(&self.shared);
        locked.done = vec![0; faults.len()];
        locked.list = faults;
    }

    /// How often each of the faults happened, in their order.
    pub fn happened(&self) -> Vec<u64> {
        lock(&self.shared).done.clone()
    }

    /// Requests that came.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Breaks every answer that is on its way: watches, above all.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Faults> {
    shared.faults.lock().unwrap_or_else(PoisonError::into_inner)
}

fn behind(api: &ApiServer, user: &str) -> anyhow::Result<reqwest::Client> {
    let file = |name: &str| std::fs::read(api.certificate(name)).with_context(|| name.to_owned());
    let name = file_of(user);
    let mut identity = file(&format!("{name}.crt"))?;
    identity.extend(file(&format!("{name}.key"))?);
    let authority = Certificate::from_pem(&file("ca.crt")?)?;
    let builder = reqwest::Client::builder().tls_certs_only([authority]).no_proxy();
    Ok(builder.identity(Identity::from_pem(&identity)?).build()?)
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let url = request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let harm = lock(&shared).draw(request.method(), &url);
    match harm {
        Some(Harm::Answer { status, retry_after }) => return refusal(status, retry_after),
        Some(Harm::Hang) => std::future::pending::<()>().await,
        Some(Harm::Delay(time)) => tokio::time::sleep(time).await,
        Some(Harm::Lose { .. } | Harm::HangAfter | Harm::Close) | None => {}
    }
    let answer = forward(&shared, request, &url).await;
    match harm {
        Some(Harm::HangAfter) => std::future::pending().await,
        Some(Harm::Lose { status }) => refusal(status, None),
        Some(Harm::Close) => broken(),
        _ => answer,
    }
}

async fn forward(shared: &Shared, request: Request, url: &str) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let sent = shared
        .client
        .request(head.method, format!("{}{url}", shared.server))
        .headers(end_to_end(&head.headers))
        .body(body)
        .send()
        .await;
    match sent {
        Ok(answer) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = answer.status();
            *response.headers_mut() = end_to_end(answer.headers());
            *response.body_mut() = Body::from_stream(until_cut(answer, shared.cuts.subscribe()));
            response
        }
        // As if the API server itself was not there.
        Err(_) => broken(),
    }
}

/// An answer's body, that breaks at the next cut.
fn until_cut(
    answer: reqwest::Response,
    cuts: watch::Receiver<u64>,
) -> impl futures_util::Stream<Item = std::io::Result<bytes::Bytes>> {
    futures_util::stream::unfold(Some((answer, cuts)), |state| async move {
        let (mut answer, mut cuts) = state?;
        tokio::select! {
            chunk = answer.chunk() => match chunk {
                Ok(chunk) => chunk.map(|chunk| (Ok(chunk), Some((answer, cuts)))),
                Err(error) => Some((Err(std::io::Error::other(error)), None)),
            },
            _ = cuts.changed() => Some((Err(std::io::ErrorKind::ConnectionReset.into()), None)),
        }
    })
}

/// A response whose connection breaks before its body.
fn broken() -> Response {
    let error: std::io::Result<bytes::Bytes> = Err(std::io::ErrorKind::ConnectionReset.into());
    Response::new(Body::from_stream(futures_util::stream::iter([error])))
}

fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in
        [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::UPGRADE]
    {
        headers.remove(name);
    }
    headers
}

/// A `Status` as the API server writes it.
fn refusal(status: u16, retry_after: Option<u64>) -> Response {
    let reason = match status {
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("the fault proxy says {status}"), "reason": reason, "code": status,
    });
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (code, Json(body)).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test support")]
mod tests {
    use super::*;

    #[test]
    fn a_fault_meets_only_what_it_is_meant_for_and_ends() {
        let list = vec![Fault::answer(409).on("PUT").at("/status").at_most(2), Fault::lose(504).on("POST")];
        let mut faults = Faults { done: vec![0; 2], list, random: fastrand::Rng::with_seed(1) };
        assert_eq!(faults.draw(&Method::PUT, "/api/v1/pods/a"), None);
        assert_eq!(faults.draw(&Method::POST, "/x"), Some(Harm::Lose { status: 504 }));
        for _ in 0..2 {
            assert!(faults.draw(&Method::PUT, "/x/status").is_some());
        }
        assert_eq!(faults.draw(&Method::PUT, "/x/status"), None);
        assert_eq!(faults.done, [2, 1]);
    }

    #[test]
    fn a_share_is_of_the_seed() {
        let draw = |seed| {
            let list = vec![Fault::answer(429).share(0.25)];
            let random = fastrand::Rng::with_seed(seed);
            let mut faults = Faults { done: vec![0], list, random };
            (0..1000).map(|_| faults.draw(&Method::GET, "/").is_some()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        let count = draw(7).iter().filter(|hit| **hit).count();
        assert!((200..300).contains(&count), "{count}");
    }
}
