//! A Gladia-v2-live-compatible speech server for one machine.
//!
//! Protocol facts come from Gladia's OpenAPI document, its AsyncAPI document and its own SDKs
//! (PyPI `gladiaio-sdk`, npm `@gladiaio/sdk`), which also prove it: `tests/e2e/sdk`.

mod acoustic;
mod actor;
mod audio;
mod connection;
mod control;
mod endpoint;
mod http;
mod intake;
mod listing;
mod metrics;
mod moonshine;
mod outcome;
mod pool;
mod problem;
mod recording;
mod request;
mod reset;
mod scripted;
mod server;
mod session;
mod session_io;
mod session_say;
mod session_state;
mod socket;
mod store;
mod tones;
mod track;
mod wire;
mod words;

#[cfg(test)]
mod overload_tests;
#[cfg(test)]
mod session_tests;

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
    /// The start-up task panicked.
    #[error("the speech server's start was interrupted")]
    Interrupted,
}

/// The server's routes, for mounting in another server. Loads the recogniser: blocking, about 0.5 s per thread.
/// Must be called within a tokio runtime's context only when requests are served, which [`serve`] sees to.
///
/// # Errors
/// [`ServeError::Recogniser`] when the library or the model does not load.
pub fn router(config: Config) -> Result<axum::Router, ServeError> {
    Ok(http::routes(server::Server::new(config)?))
}

/// Serves until `shutdown` is ready; then live connections are closed with 1012.
///
/// # Errors
/// [`ServeError`] when the recogniser or the socket fails.
pub async fn serve(
    listener: tokio::net::TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    if let Some(dir) = &config.audio_dir {
        tokio::fs::create_dir_all(dir).await?;
    }
    let server = tokio::task::spawn_blocking(|| server::Server::new(config)).await;
    let server = server.map_err(|_| ServeError::Interrupted)??;
    let routes = http::routes(std::sync::Arc::clone(&server));
    let service = routes.into_make_service_with_connect_info::<reset::Resetter>();
    let stop = async move {
        shutdown.await;
        server.shut_down().await;
    };
    Ok(axum::serve(reset::Listener(listener), service).with_graceful_shutdown(stop).await?)
}
