//! What a session says: events, offsets, the log, and its renderings.
//!
//! - [`model`]: the events as stored and as viewers see them (contract §4); pure data.
//! - [`render`]: JSON, SRT, WebVTT and TXT as pure functions of the log.
//! - [`log`] (feature `log`): the trait of one log, and its backings [`memory`] and [`file`].

pub mod model;
pub mod render;

#[cfg(feature = "log")]
pub mod file;
#[cfg(feature = "log")]
pub mod log;
#[cfg(feature = "log")]
pub mod memory;

pub use model::*;
#[cfg(feature = "log")]
pub use log::{Append, Appended, Follow, FollowItem, Head, Log, LogError, TranscriptLog};
