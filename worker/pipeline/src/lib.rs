//! One session, sans-IO: audio and speech-service messages in, speech audio and transcript events out.
//!
//! Contract: every [`Pipeline::handle`] is followed by [`Pipeline::poll`] until it gives `None`; then
//! [`Pipeline::wake_at`] says when to come back with [`Input::Timer`]. `now` is monotonic; no clock, socket or task is
//! inside.

pub mod audio;
pub mod gladia;
mod kept;
mod pipeline;
mod ranges;
pub mod report;
pub mod restored;
pub mod settings;
mod speech;
pub mod stream_key;
pub mod types;
mod words;

pub use pipeline::Pipeline;
pub use report::{PublisherReport, Report, SpeechReport, State};
pub use restored::{MediaRange, Restored, SessionState, SpeechState};
pub use settings::{Settings, SpeechSettings, VocabularyEntry};
pub use types::*;
