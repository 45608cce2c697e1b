//! What a session says: events, offsets, the log, and its renderings.
//!
//! - [`model`]: the events as stored and as viewers see them (contract §4); pure data.
//! - [`wire`]: the frames of a stream that are not in the log.
//! - [`render`]: JSON, SRT, WebVTT and TXT as pure functions of the log.
//! - [`log`] (feature `log`): the trait of one log, and its backings [`memory`] and [`file`].
//! - `nats` (feature `nats`): its backing in NATS JetStream.
//! - [`discreet`] (feature `log`): what a program's own log never shows.

pub mod model;
pub mod render;
pub mod wire;

#[cfg(feature = "log")]
mod backing;
#[cfg(feature = "log")]
pub mod discreet;
#[cfg(feature = "log")]
pub mod file;
#[cfg(feature = "log")]
mod follow;
#[cfg(feature = "log")]
mod live;
#[cfg(feature = "log")]
pub mod log;
#[cfg(feature = "log")]
pub mod memory;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "log")]
mod state;

#[cfg(feature = "log")]
pub use log::{Append, Appended, Follow, FollowItem, Head, Log, LogCounters, LogError, Swept, TranscriptLog};
pub use model::*;
