//! Waits between attempts.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

const STEPS: [i64; 5] = [1, 2, 5, 10, 30];
const ROOM_STEPS: [i64; 5] = [5, 10, 20, 40, 60];

/// When to try again after `failures` failures in a row (1 = the first).
pub(crate) fn after(failures: u32, now: Timestamp) -> Timestamp {
    now + seconds(step(&STEPS, failures))
}

/// When to look again for a room that was not there `looks` times.
pub(crate) fn room(looks: u32, now: Timestamp) -> Timestamp {
    now + seconds(step(&ROOM_STEPS, looks))
}

fn step(steps: &[i64; 5], count: u32) -> i64 {
    let index = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
    steps[index.min(steps.len() - 1)]
}

/// A span.
pub(crate) fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}
