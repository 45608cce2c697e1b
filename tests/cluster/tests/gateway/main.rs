//! The gateway on a real API server, as its ServiceAccount with the committed Role. The operator is played: tests write the
//! status themselves.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

mod ends;
mod names;
#[path = "../../../../transcript/tests/server/mod.rs"]
mod nats_server;
mod outage;
mod process;
mod processes;
mod refused;
mod rights;
mod rolling;
mod sessions;
mod viewers;
mod world;
