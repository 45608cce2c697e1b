//! What a plan asks of LiveKit, carried out; the answers as observations. The operator and `roomscribe serve` share it.
//!
//! - [`Project`]: one LiveKit project, seen through one installation's eyes; it logs why it cannot be asked, once for all sessions.
//! - [`Desk`]: one session's memory and what is known of LiveKit for it; calls run as tasks, at most one of a kind, and no
//!   question more often than its pace.

mod desk;
mod pace;
mod project;
mod seen;
mod strays;
mod trouble;
mod unattended;

pub use desk::{Desk, Order};
pub use project::{Project, Tally};
pub use strays::Strays;
pub use unattended::Stopped;
