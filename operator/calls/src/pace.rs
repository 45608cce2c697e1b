//! How often LiveKit is asked the same thing. An answer wakes the plan, and a plan that still does not know asks again: without
//! a pace that would be as fast as LiveKit answers. Pure.

use roomscribe_crds::reason::Reason;
use roomscribe_plan::{Ask, LiveKitError};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Steps of a start follow each other at this pace.
const BRISK: Duration = Duration::from_millis(250);
/// An egress that ends is looked after once a second.
const ENDING: Duration = Duration::from_secs(1);
/// LiveKit does not answer, or a lost start is looked for.
const PATIENT: Duration = Duration::from_secs(5);
/// A refused key is not tried more often.
const REFUSED: Duration = Duration::from_secs(30);

/// When each question was asked last, and each stop.
#[derive(Default)]
pub(crate) struct Pace {
    asked: BTreeMap<Ask, Instant>,
    stopped: BTreeMap<String, Instant>,
}

impl Pace {
    /// `Ok`: ask now. `Err`: not before so long.
    pub(crate) fn ask(
        &mut self,
        ask: Ask,
        why: Reason,
        error: Option<&LiveKitError>,
        now: Instant,
    ) -> Result<(), Duration> {
        let pace = match (error, why) {
            (Some(LiveKitError::CredentialsRefused), _) => REFUSED,
            (Some(LiveKitError::Unreachable | LiveKitError::Failing { .. }), _)
            | (None, Reason::StartUnknown) => PATIENT,
            (None, Reason::Stopping) => ENDING,
            (None, _) => BRISK,
        };
        if let Some(asked) = self.asked.get(&ask)
            && let Some(left) = pace.checked_sub(now.duration_since(*asked)).filter(|left| !left.is_zero())
        {
            return Err(left);
        }
        self.asked.insert(ask, now);
        Ok(())
    }

    /// May this egress be stopped now? A stop is never held back but by a refused key; the plan repeats it.
    pub(crate) fn stop(&mut self, id: &str, error: Option<&LiveKitError>, now: Instant) -> bool {
        self.stopped.retain(|_, asked| now.duration_since(*asked) < REFUSED);
        if error == Some(&LiveKitError::CredentialsRefused) && self.stopped.contains_key(id) {
            return false;
        }
        self.stopped.insert(id.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_livekit_that_fails_at_once_is_not_asked_as_fast_as_it_fails() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        let trouble = Some(&LiveKitError::Unreachable);
        let mut asked = 0;
        for millisecond in 0..60_000 {
            let now = begun + Duration::from_millis(millisecond);
            asked += u32::from(pace.ask(Ask::Egresses, Reason::Starting, trouble, now).is_ok());
        }
        assert_eq!(asked, 12);
    }

    #[test]
    fn what_may_be_asked_later_says_when() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let refused = Some(&LiveKitError::CredentialsRefused);
        assert_eq!(pace.ask(Ask::Room, Reason::Starting, refused, now), Ok(()));
        let later = now + Duration::from_secs(10);
        assert_eq!(pace.ask(Ask::Room, Reason::Starting, refused, later), Err(Duration::from_secs(20)));
        assert_eq!(pace.ask(Ask::Egresses, Reason::Starting, refused, later), Ok(()));
        assert_eq!(pace.ask(Ask::Room, Reason::Starting, None, later), Ok(()));
    }

    #[test]
    fn a_stop_that_a_refused_key_cannot_make_is_tried_twice_a_minute_and_every_other_stop_at_once() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        let refused = Some(&LiveKitError::CredentialsRefused);
        let tried = |pace: &mut Pace, error, seconds: u64| {
            let at = |second| begun + Duration::from_secs(second);
            (seconds..seconds + 60).filter(|second| pace.stop("EG_a", error, at(*second))).count()
        };
        assert_eq!(tried(&mut pace, refused, 0), 2);
        assert!(pace.stop("EG_b", refused, begun + Duration::from_secs(60)));
        assert_eq!(tried(&mut pace, None, 61), 60);
        assert_eq!(tried(&mut pace, Some(&LiveKitError::Unreachable), 121), 60);
    }
}
