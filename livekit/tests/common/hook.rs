//! A receiver of webhooks.

use axum::extract::State;
use axum::http::HeaderMap;
use std::sync::{Arc, Mutex};

/// One POST.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) authorization: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Got {
    /// The event is called so.
    pub(crate) fn names(&self, event: &str) -> bool {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body["event"] == event
    }
}

/// What has come, in order; all clones hear the same.
#[derive(Clone)]
pub(crate) struct Hook {
    pub(crate) url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

async fn note(State(got): State<Arc<Mutex<Vec<Got>>>>, headers: HeaderMap, body: String) {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (authorization, content_type) = (header("authorization"), header("content-type"));
    got.lock().unwrap().push(Got { authorization, content_type, body });
}

impl Hook {
    pub(crate) async fn listen() -> Self {
        let got = Arc::<Mutex<Vec<Got>>>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhook", listener.local_addr().unwrap());
        let app =
            axum::Router::new().route("/webhook", axum::routing::post(note)).with_state(Arc::clone(&got));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, got }
    }

    pub(crate) fn heard(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}
