//! JSON, SRT, WebVTT and TXT as pure functions of the log's records.
//!
//! All four show finals only, in order of their start, with the newest `relabel` applied. What is read is a reference
//! per final; what is written goes out piece by piece. `\n` ends lines, UTF-8, no byte-order mark.

mod cues;
mod growing;
mod json;
mod script;
mod srt;
mod text;
mod txt;
mod vtt;

pub use growing::GrowingVtt;
pub use json::write_json;
pub use srt::write_srt;
pub use txt::write_txt;
pub use vtt::write_vtt;

use crate::model::Offset;

/// Characters of a caption line at most (the usual subtitle limit).
pub const LINE_CHARS_MAX: usize = 42;
/// Lines of a caption at most.
pub const LINES_MAX: usize = 2;
/// Milliseconds that a caption stays at most.
pub const CUE_MS_MAX: u64 = 7_000;

/// What is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The session's id.
    pub session: String,
    /// The log's incarnation.
    pub epoch: String,
    /// The log's last offset.
    pub head: Offset,
    /// The session has ended: nothing will be added.
    pub complete: bool,
    /// Show this translation (ISO 639-1) where there is one, and the original where there is none.
    pub language: Option<String>,
}
