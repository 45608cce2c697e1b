//! One session: audio in, transcript out. Knows nothing of Kubernetes.
//!
//! - [`door`] listens for RTMP and hands each publisher to its session ([`registry`]); [`connection`] is one socket, [`tls`] the certificate of RTMPS.
//! - [`run`] is the only loop of a session: it feeds `roomscribe_pipeline::Pipeline` and carries out what that asks.
//! - [`speech_http`] and [`speech_socket`] reach the speech service; [`publish`] appends to the log; [`spool`] survives a crash.
//! - [`shown`] is the report as the operator sees it; [`log_budget`] bounds what strangers can make us log.
//! - [`admin`] answers `/live /ready /metrics /status /stop`; [`listen`] opens its port and the door's; [`signals`] ask a process to end.

pub mod admin;
mod channel;
pub mod clock;
pub mod config;
pub mod connection;
pub mod door;
#[cfg(feature = "faults")]
pub mod faults;
pub mod listen;
pub mod log_budget;
pub mod metrics;
mod presence;
pub mod publish;
pub mod registry;
pub mod run;
pub mod shown;
pub mod signals;
mod socket;
pub mod speech_http;
pub mod speech_socket;
pub mod spool;
pub mod storage;
pub mod tls;
mod tls_problem;

pub use roomscribe_pipeline as pipeline;
