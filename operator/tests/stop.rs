//! The end of a session, as a worker is told of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use roomscribe_operator::workers;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

type Heard = Arc<Mutex<Vec<(Method, String, String)>>>;

/// A status port that answers everything with this; its address, and what it was asked.
async fn port(status: StatusCode) -> (String, Heard) {
    let heard = Heard::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let kept = heard.clone();
    let app = Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap| async move {
        let authorization = headers["authorization"].to_str().unwrap().to_owned();
        kept.lock().unwrap().push((method, uri.to_string(), authorization));
        status
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, heard)
}

async fn stop(address: &str) -> Result<(), String> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    workers::stop(&http, address, "t0ken", "RoomEnded").await
}

#[tokio::test]
async fn a_worker_hears_reason_and_token_once() {
    let (address, heard) = port(StatusCode::ACCEPTED).await;
    assert_eq!(stop(&address).await, Ok(()));
    let expected = (Method::POST, "/stop?reason=RoomEnded".to_owned(), "Bearer t0ken".to_owned());
    assert_eq!(*heard.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn a_worker_that_refuses_or_is_not_there_is_asked_once_and_the_token_is_not_told() {
    let (address, heard) = port(StatusCode::UNAUTHORIZED).await;
    assert_eq!(stop(&address).await, Err("it answered 401".into()));
    assert_eq!(heard.lock().unwrap().len(), 1);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let error = stop(&nobody).await.unwrap_err();
    assert!(!error.contains("t0ken") && !error.contains("RoomEnded"), "{error}");
}

#[tokio::test]
async fn a_worker_that_hangs_does_not_keep_its_pod() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let patience = std::time::Duration::from_secs(30);
    assert!(tokio::time::timeout(patience, stop(&address)).await.unwrap().is_err());
    drop(listener);
}
