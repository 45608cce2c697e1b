//! Waits between attempts.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

const STEPS: [i64; 5] = [1, 2, 5, 10, 30];
/// A room is looked for as long as `startDeadlineSeconds` (10 min by default), and nobody tells of it: whoever comes in is
/// heard about ten seconds later. That is 6 calls a minute and session: 100 waiting sessions use up the default rate of a
/// project (10/s), and more of them wait their turn in its token bucket.
const ROOM_STEPS: [i64; 5] = [5, 10, 10, 10, 10];
/// A refused speech key costs one egress and one pod per try.
const REFUSED_SECONDS: i64 = 300;
const LONGEST_REFUSED_SECONDS: i64 = 3600;

/// When to try again after `failures` failures in a row (1 = the first).
pub(crate) fn after(failures: u32, now: Timestamp) -> Timestamp {
    now + seconds(step(&STEPS, failures))
}

/// When to look again for a room that was not there `looks` times, the last one at `now`.
pub(crate) fn room(looks: u32, now: Timestamp) -> Timestamp {
    now + seconds(step(&ROOM_STEPS, looks))
}

/// When the speech service is tried again after it has refused `times` times in a row.
pub(crate) fn refused(times: u32, now: Timestamp) -> Timestamp {
    let doubled = REFUSED_SECONDS << times.saturating_sub(1).min(8);
    now + seconds(doubled.min(LONGEST_REFUSED_SECONDS))
}

fn step(steps: &[i64; 5], count: u32) -> i64 {
    let index = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
    steps[index.min(steps.len() - 1)]
}

/// A span.
pub(crate) fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}
