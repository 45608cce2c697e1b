//! How long a viewer's socket may stay on its token.

/// Seconds before the end at which the viewer is told.
const WARNING: u64 = 60;
/// Seconds after the end that a renewal may take.
pub(crate) const GRACE: u64 = 25;

/// A token's remaining life, as a socket sees it. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    expires: Option<u64>,
    warned: bool,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseStep {
    /// Nothing until then (`None`: never).
    WaitUntil(Option<u64>),
    /// Tell the viewer how many seconds are left.
    Warn { seconds: u64 },
    /// Close with 4401.
    Over,
}

impl Lease {
    pub(crate) fn new(expires: Option<u64>) -> Self {
        Self { expires, warned: false }
    }

    pub(crate) fn step(&mut self, now: u64) -> LeaseStep {
        let Some(expires) = self.expires else { return LeaseStep::WaitUntil(None) };
        let warn_at = expires.saturating_sub(WARNING);
        if now >= expires.saturating_add(GRACE) {
            LeaseStep::Over
        } else if now < warn_at {
            LeaseStep::WaitUntil(Some(warn_at))
        } else if self.warned {
            LeaseStep::WaitUntil(Some(expires + GRACE))
        } else {
            self.warned = true;
            LeaseStep::Warn { seconds: expires.saturating_sub(now) }
        }
    }
}
