//! What the log says of a project that cannot be asked: once when it begins and once when it is over, whatever the number of
//! sessions that meet it. Pure.

use roomscribe_plan::LiveKitError;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Somebody asks at least once a minute: what has not failed for longer than this is not tried any more.
const FORGOTTEN: Duration = Duration::from_secs(150);

/// What is worth a line of the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Something is wrong that was not wrong before.
    Trouble,
    /// Everything that failed works again.
    Over,
}

/// Why each kind of call fails, while it does, and when it failed last.
#[derive(Debug, Default)]
pub(crate) struct Troubles(BTreeMap<&'static str, (LiveKitError, Instant)>);

impl Troubles {
    /// How a call of this kind went.
    pub(crate) fn note(
        &mut self,
        call: &'static str,
        trouble: Option<&LiveKitError>,
        now: Instant,
    ) -> Option<News> {
        let was_troubled = !self.0.is_empty();
        self.0.retain(|_, (_, at)| now.duration_since(*at) < FORGOTTEN);
        let Some(trouble) = trouble else {
            // Whoever answers one call is there.
            self.0.retain(|failed, (why, _)| *failed != call && *why != LiveKitError::Unreachable);
            return (was_troubled && self.0.is_empty()).then_some(News::Over);
        };
        // One kind of call may be refused while others work: all that fail in the same way are one trouble.
        let known = self.0.values().any(|(before, _)| before.is_like(trouble));
        self.0.insert(call, (trouble.clone(), now));
        (!known).then_some(News::Trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Option<&LiveKitError> = Some(&LiveKitError::CredentialsRefused);
    const SILENT: Option<&LiveKitError> = Some(&LiveKitError::Unreachable);

    #[test]
    fn a_trouble_is_said_once_however_many_meet_it_and_its_end_once() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        let mut note = |call, trouble| troubles.note(call, trouble, now);
        assert_eq!(note("ListEgress", None), None);
        assert_eq!(note("ListEgress", REFUSED), Some(News::Trouble));
        for call in ["ListEgress", "ListParticipants", "StopEgress", "ListEgress"] {
            assert_eq!(note(call, REFUSED), None, "{call}");
        }
        assert_eq!(note("ListEgress", None), None);
        assert_eq!(note("ListParticipants", None), None);
        assert_eq!(note("StopEgress", None), Some(News::Over));
        assert_eq!(note("StopEgress", None), None);
    }

    #[test]
    fn a_call_that_is_refused_while_others_work_is_one_trouble_and_not_one_a_minute() {
        let (mut troubles, begun) = (Troubles::default(), Instant::now());
        let said: Vec<_> = (0..60)
            .flat_map(|minute| {
                let now = begun + Duration::from_secs(60 * minute);
                [troubles.note("ListParticipants", REFUSED, now), troubles.note("ListEgress", None, now)]
            })
            .flatten()
            .collect();
        assert_eq!(said, [News::Trouble]);
    }

    #[test]
    fn a_livekit_that_answers_anything_is_not_silent_any_more() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        assert_eq!(troubles.note("StopEgress", SILENT, now), Some(News::Trouble));
        assert_eq!(troubles.note("ListEgress", None, now), Some(News::Over));
        assert_eq!(troubles.note("ListEgress", SILENT, now), Some(News::Trouble));
    }

    #[test]
    fn a_call_that_nobody_makes_any_more_hides_no_later_trouble() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        assert_eq!(troubles.note("StopEgress", REFUSED, now), Some(News::Trouble));
        assert_eq!(troubles.note("ListEgress", REFUSED, now + FORGOTTEN), Some(News::Trouble));
        assert_eq!(troubles.note("ListEgress", None, now + FORGOTTEN), Some(News::Over));
    }

    #[test]
    fn another_trouble_is_news_and_other_words_for_the_same_are_none() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        let answered = |status, message: &str| LiveKitError::Failing {
            status,
            code: String::new(),
            message: message.into(),
        };
        for (trouble, news) in [
            (LiveKitError::Unreachable, Some(News::Trouble)),
            (answered(500, "request 1"), Some(News::Trouble)),
            (answered(500, "request 2"), None),
            (answered(404, "request 3"), Some(News::Trouble)),
            (LiveKitError::CredentialsRefused, Some(News::Trouble)),
        ] {
            assert_eq!(troubles.note("ListEgress", Some(&trouble), now), news, "{trouble:?}");
        }
    }
}
