//! A session's Pod, Service and Secret as they should be. Pure: spec and installation in, objects out.
//!
//! A pod is made once and never applied again with another spec (most of a pod's spec cannot be changed); Secret and
//! Service are applied whenever their pod is.

mod edits;
mod installation;
pub mod names;
mod pod;
mod secret;
mod service;
mod session_file;

pub use edits::{for_the_next_pod, made_of};
pub use installation::{
    IngestDefaults, Installation, LogSettings, NatsSettings, Secret as Hidden, SpeechDefaults, WorkerDefaults,
};
pub use pod::pod;
pub use secret::{publisher, same_url, secret};
pub use service::{refused_annotations, service};
pub use session_file::session_file;

/// RTMP or RTMPS.
pub const RTMP_PORT: i32 = 1935;
/// Track streams (contract §3).
pub const HTTP_PORT: i32 = 8080;
/// Health, metrics and `/status`.
pub const METRICS_PORT: i32 = 9090;
