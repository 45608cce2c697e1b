//! The real program, real RTMP, a real speech server: what is killed, starved or attacked loses and doubles nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod admin;
mod crash;
mod disk;
mod drain;
mod exit;
mod faults;
#[cfg(feature = "nats")]
mod moves;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "nats")]
#[path = "../../../transcript/tests/server/mod.rs"]
mod nats_server;
mod publisher;
mod publishers;
mod rtmps;
mod stage;
mod stop;
mod tones;
