//! The LiveKit API as Roomscribe uses it: tokens, rooms, egress, webhooks.
//!
//! Tokens and webhook signatures come from livekit-api. The calls are our own thin Twirp requests over livekit-protocol's
//! messages: livekit-api's client loses the HTTP status of every answer that is not Twirp JSON, and a refused key (401, plain
//! text) would look like a network failure. Nothing here retries: who may repeat a call is decided by `operator/plan`.

pub mod bucket;
mod client;
pub mod error;
mod redact;
pub mod tag;
mod twirp;
pub mod view;
pub mod webhook;

pub use client::{Client, Credentials};
pub use error::{ApiError, ErrorKind};
