//! What the API server refuses to make because somebody must mend something: the spec, a quota, a policy, the Role.

use crate::api::Error;
use roomscribe_crds::reason::Reason;
use std::time::{Duration, Instant};

/// The first pause.
const FIRST: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(300);
/// Longest text that goes on.
const MAX_WORDS: usize = 700;

/// A refusal, and when to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which condition reason it is.
    pub reason: Reason,
    /// What was tried and what the API server said to it.
    pub words: String,
    generation: Option<i64>,
    pause: Duration,
    since: Instant,
}

impl Refusal {
    /// The error as a refusal; `None` for one that passes by itself. `before` is the refusal of the last try.
    pub fn of(error: &Error, before: Option<&Self>, generation: Option<i64>, now: Instant) -> Option<Self> {
        let status = error.status()?;
        if !matches!(status.code, 400 | 403 | 422) {
            return None;
        }
        if error.namespace_ends() {
            return None;
        }
        let reason = match status.message.contains("exceeded quota") {
            true => Reason::QuotaExceeded,
            false => Reason::Refused,
        };
        let again = before.filter(|before| before.reason == reason && before.generation == generation);
        let pause = match (reason, again) {
            // Its end is nobody's edit of this session: another session ends, or the quota is raised.
            (Reason::QuotaExceeded, _) | (_, None) => FIRST,
            (_, Some(before)) => (before.pause * 2).min(LONGEST),
        };
        let words = error.to_string().chars().take(MAX_WORDS).collect();
        Some(Self { reason, words, generation, pause, since: now })
    }

    /// Nothing is tried yet.
    pub fn holds(&self, generation: Option<i64>, now: Instant) -> bool {
        self.generation == generation && now.duration_since(self.since) < self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn error(code: u16, message: &str) -> Error {
        let status = Status { code, message: message.into(), ..Status::default() };
        Error::Refused { what: "create the worker pod", source: kube::Error::Api(Box::new(status)) }
    }

    #[test]
    fn what_people_must_mend_is_a_refusal_in_the_servers_own_words() {
        let now = Instant::now();
        for (code, said, reason) in [
            (
                422,
                "Pod \"ts-a-1\" is invalid: spec.containers[0].resources.requests: Invalid value",
                Reason::Refused,
            ),
            (403, "pods \"ts-a-1\" is forbidden: no PriorityClass with name gold was found", Reason::Refused),
            (403, "pods \"ts-a-1\" is forbidden: exceeded quota: meetings", Reason::QuotaExceeded),
            (400, "admission webhook \"policy\" denied the request", Reason::Refused),
        ] {
            let refusal = Refusal::of(&error(code, said), None, Some(1), now).unwrap();
            assert_eq!(
                (refusal.reason, refusal.words),
                (reason, format!("could not create the worker pod: {said}"))
            );
        }
    }

    #[test]
    fn what_passes_by_itself_is_none() {
        let now = Instant::now();
        for (code, said) in [
            (409, "conflict"),
            (429, "too many"),
            (500, "etcd"),
            (504, "late"),
            (404, "namespaces \"a\" not found"),
            (403, "unable to create new content in namespace a because it is being terminated"),
        ] {
            assert_eq!(Refusal::of(&error(code, said), None, Some(1), now), None, "{code} {said}");
        }
    }

    #[test]
    fn each_try_waits_twice_as_long_until_the_spec_changes_but_a_quota_is_looked_at_steadily() {
        let mut now = Instant::now();
        let pauses = |said: &str, now: &mut Instant| -> Vec<u64> {
            let mut last: Option<Refusal> = None;
            let mut pauses = Vec::new();
            for _ in 0..8 {
                let refusal = Refusal::of(&error(403, said), last.as_ref(), Some(1), *now).unwrap();
                let mut waited = 0;
                while refusal.holds(Some(1), *now) {
                    *now += Duration::from_secs(1);
                    waited += 1;
                }
                pauses.push(waited);
                last = Some(refusal);
            }
            pauses
        };
        assert_eq!(pauses("no PriorityClass", &mut now), [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pauses("exceeded quota", &mut now), [5; 8]);
        let refusal = Refusal::of(&error(422, "invalid"), None, Some(1), now).unwrap();
        assert!(!refusal.holds(Some(2), now), "a new spec is tried at once");
    }
}
