//! What a plan asks of LiveKit, carried out; the answers as observations. The operator and `roomscribe serve` share it.
//!
//! - [`Project`]: one LiveKit project, seen through one installation's eyes.
//! - [`Desk`]: one session's memory and what is known of LiveKit for it; calls run as tasks, at most one of a kind.

mod desk;
mod project;
mod seen;

pub use desk::{Desk, Order};
pub use project::{Project, Tally};
