//! The demo's meeting: made by `tests/fixtures/meeting/make.sh` from `dialogue.json`.

/// ADTS AAC, 48 kHz.
pub const MEETING_AAC: &[u8] = include_bytes!("../../fixtures/meeting/meeting.aac");
/// `[{speaker, startMs, endMs, text}]`.
pub const REFERENCE_JSON: &str = include_str!("../../fixtures/meeting/reference.json");
