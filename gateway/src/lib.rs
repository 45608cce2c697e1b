//! People's door: HTTP API, WebSocket fan-out, captions, one embedded page.
//!
//! - [`fanout`]: the pure hub of one session: who has what, what is sent next, who is too slow. No tokio.
//! - [`sessions`]: what the gateway asks of whoever runs sessions.
//! - `auth`, `origin`, `idempotency`, `validate`, `bucket`: pure decisions about a request.
//! - `rooms`: one log subscription per watched session, feeding its hub. `socket`: one WebSocket.
//! - `cluster` (feature): sessions on Kubernetes, and the process `roomscribe-gateway`.
//! - `server`: sockets, limits, draining. `app`: routes.

mod app;
mod auth;
mod body;
mod bucket;
#[cfg(feature = "cluster")]
pub mod cluster;
mod config;
mod connections;
mod documents;
mod export;
pub mod fanout;
mod health;
mod idempotency;
mod metrics;
mod origin;
mod page;
mod problem;
mod rooms;
mod routes;
mod server;
pub mod sessions;
mod socket;
mod validate;
mod wire;

pub use app::{Gateway, app};
pub use config::{Auth, Config, GatewayLimits, KeySet, Secret};
pub use sessions::*;
