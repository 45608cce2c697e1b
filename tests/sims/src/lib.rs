//! Simulators that are programs: an egress that publishes real RTMP, and its habits and faults.
//!
//! They use none of Roomscribe's own parsers: a bug must not cancel itself.

pub mod adts;
pub mod audio_file;
mod chunks;
pub mod egress;
pub mod livekit;
pub mod meeting;
pub mod rtmp_client;
pub mod rtmp_sink;
pub mod tones;
