//! The gateway over real sockets on loopback: one file per subject.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

mod common;

mod auth;
mod closing;
mod edges;
mod health;
mod hub;
mod idempotency;
mod limits;
mod liveness;
mod partials;
mod replicas;
mod scopes;
mod sessions;
mod slow;
mod stream;
mod transcript;
mod upgrade;
