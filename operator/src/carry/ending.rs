//! Before its pod goes, a worker hears why: a pod that is only deleted goes on elsewhere, and its transcript gets no `end`.

use super::Round;
use crate::context::SeenPod;
use crate::stream_key::SessionSecret;
use crate::workers;
use roomscribe_crds::reason::Reason;
use roomscribe_plan::PodState;

/// Tells the session's worker. One that cannot be told is no reason to keep its pod: the gateway appends the end then
/// (contract §5).
pub(super) async fn tell(round: &Round<'_>, reason: Reason) {
    let id = &round.observed.session.id;
    let pods = round.context.pods.of(id);
    let attempt = round.observed.session.status.attempt.unwrap_or_default().into();
    let Some((pod, address)) = ender(pods.get().map_or(&[][..], Vec::as_slice), attempt) else { return };
    let token = SessionSecret::derive(&round.context.installation().key, id).stop_token(id);
    if let Err(error) = workers::stop(&round.context.http, address, &token, reason.as_str()).await {
        tracing::info!(
            pod,
            reason = reason.as_str(),
            error,
            "the worker did not take its end; the gateway writes it"
        );
    }
}

/// Name and address of the worker that has the session: the newest that a publisher may have been sent to. Its successor,
/// if there is one already, has heard nothing, and an end by that one would shut the other's last words out.
fn ender(pods: &[SeenPod], attempt: i64) -> Option<(&str, &str)> {
    let runs = |seen: &&SeenPod| {
        matches!(seen.pod.state, PodState::Listening | PodState::NotListening)
            && seen.pod.container_started_at.is_some()
    };
    let may_hear = |seen: &SeenPod| i64::from(seen.pod.attempt) <= attempt;
    pods.iter()
        .filter(runs)
        .filter_map(|seen| Some((seen, seen.status_address.as_deref()?)))
        .max_by_key(|(seen, _)| (may_hear(seen), seen.pod.attempt))
        .map(|(seen, address)| (seen.pod.name.as_str(), address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    fn pod(attempt: u32, state: PodState) -> SeenPod {
        SeenPod {
            pod: roomscribe_plan::Pod {
                name: format!("ts-monday-{attempt}"),
                uid: format!("u-{attempt}"),
                attempt,
                key_generation: 1,
                created_at: None,
                node: "node-a".into(),
                state,
                leaving: false,
                ends_at: None,
                container_started_at: Some(Timestamp::UNIX_EPOCH),
                restarts: 0,
                last_exit: None,
            },
            status_address: Some(format!("10.0.0.{attempt}:9090")),
            host_ip: None,
            made_of: None,
            image: None,
        }
    }

    fn told(pods: &[SeenPod], attempt: i64) -> &str {
        ender(pods, attempt).map_or("nobody", |(pod, _)| pod)
    }

    #[test]
    fn the_worker_that_has_heard_the_session_ends_it_and_not_a_successor_that_nothing_was_sent_to() {
        let pods = [pod(1, PodState::Listening), pod(2, PodState::Listening)];
        assert_eq!(told(&pods, 1), "ts-monday-1");
        assert_eq!(told(&pods, 2), "ts-monday-2");
        // The same worker hears the attempts after its own.
        assert_eq!(told(&pods, 7), "ts-monday-2");
    }

    #[test]
    fn a_worker_that_never_heard_anybody_ends_its_session_too() {
        assert_eq!(told(&[pod(1, PodState::Listening)], 0), "ts-monday-1");
    }

    #[test]
    fn a_worker_that_drains_can_be_told() {
        let draining = SeenPod {
            pod: roomscribe_plan::Pod { leaving: true, ..pod(1, PodState::NotListening).pod },
            ..pod(1, PodState::NotListening)
        };
        assert_eq!(
            told(&[draining, pod(2, PodState::Pending(Reason::PodPending, String::new()))], 1),
            "ts-monday-1"
        );
    }

    #[test]
    fn nobody_is_told_where_nobody_runs_or_has_an_address() {
        let states = [
            PodState::Pending(Reason::PodPending, String::new()),
            PodState::Done,
            PodState::Failed(Reason::Evicted),
            PodState::NodeLost,
        ];
        for state in states {
            assert_eq!(told(&[pod(1, state)], 1), "nobody");
        }
        assert_eq!(told(&[SeenPod { status_address: None, ..pod(1, PodState::Listening) }], 1), "nobody");
        let mut waits = pod(1, PodState::NotListening);
        waits.pod.container_started_at = None;
        assert_eq!(told(&[waits], 1), "nobody");
    }
}
