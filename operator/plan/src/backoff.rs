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
    now + seconds(refused_wait(times))
}

fn refused_wait(times: u32) -> i64 {
    (REFUSED_SECONDS << times.saturating_sub(1).min(8)).min(LONGEST_REFUSED_SECONDS)
}

/// How often the speech service has refused in a row when the first time was so many seconds ago. Longest waits are not told apart.
pub(crate) fn refusals(seconds: i64) -> u32 {
    let (mut times, mut waited) = (1, refused_wait(1));
    while waited <= seconds && refused_wait(times) < LONGEST_REFUSED_SECONDS {
        times += 1;
        waited += refused_wait(times);
    }
    times
}

fn step(steps: &[i64; 5], count: u32) -> i64 {
    let index = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
    steps[index.min(steps.len() - 1)]
}

/// A span.
pub(crate) fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_the_speech_service_has_refused_follows_from_how_long_it_has() {
        for (seconds, times) in
            [(0, 1), (299, 1), (300, 2), (899, 2), (900, 3), (2100, 4), (4500, 5), (8100, 5), (1_000_000, 5)]
        {
            assert_eq!(refusals(seconds), times, "{seconds} s");
        }
    }
}
