//! The real program, real RTMP, a real speech server: what is killed, starved or attacked loses and doubles nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod admin;
mod crash;
mod disk;
mod drain;
mod exit;
mod faults;
mod publisher;
mod publishers;
mod rtmps;
mod stage;
mod stop;
mod tones;
