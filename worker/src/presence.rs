//! What the door knows of a connection.

use std::sync::atomic::{AtomicU8, Ordering};
use tokio::sync::Notify;

/// Shared by the door and one connection.
#[derive(Debug, Default)]
pub struct Presence {
    stage: AtomicU8,
    leave: Notify,
}

const PUBLISHED: u8 = 1;
const OVER: u8 = 2;

impl Presence {
    /// Open, and has not published.
    pub fn is_stranger(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == 0
    }

    /// Ends the connection unless it publishes by then.
    pub fn ask_to_leave(&self) {
        self.leave.notify_one();
    }

    /// Waits to be asked.
    pub(crate) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }

    pub(crate) fn published(&self) {
        self.stage.store(PUBLISHED, Ordering::Relaxed);
    }

    pub(crate) fn over(&self) {
        self.stage.store(OVER, Ordering::Relaxed);
    }
}
