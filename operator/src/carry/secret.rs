//! The session's Secret while its pods run: restored when somebody has deleted it (nobody tells: Secrets are never read),
//! and kept up to date.

use super::{Round, children};
use crate::api::Error;
use crate::cells::lock;
use crate::children::{self as objects, names};
use k8s_openapi::api::core::v1::Secret;
use roomscribe_crds::reason::Reason;
use roomscribe_crds::{CaptureMode, Summary};
use roomscribe_plan::{Plan, Pod, PodState};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// The kubelet says that it is not there: between two tries.
const MISSING: Duration = Duration::from_secs(5);
/// A pod that has its node and does not begin may lack it; a volume that cannot be mounted is told in events only.
const WAITING: Duration = Duration::from_secs(20);

/// What this process applied last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    version: u64,
    at: Instant,
}

/// As it should be for the pods of these attempts.
pub(super) fn desired(round: &Round<'_>, attempts: &[u32]) -> Secret {
    let installation = round.context.installation();
    let mut secret = objects::secret(&round.session, &installation, attempts);
    let service = round.observed.cluster.service.get().and_then(Option::as_ref);
    let address = service.and_then(|service| service.address.as_ref());
    if let (Some((host, port)), Some(data)) = (address, secret.data.as_mut()) {
        data.extend(objects::publisher(&round.session, &installation, host, *port));
    }
    secret
}

/// Remembers that it was applied.
pub(super) fn applied(round: &Round<'_>, secret: &Secret) {
    *lock(&round.cell.secret) = Some(Applied { version: version(secret), at: Instant::now() });
}

/// Changes with keys and addresses; session files belong to pods, and come with them.
fn version(secret: &Secret) -> u64 {
    let mut hash = DefaultHasher::new();
    for (name, value) in secret.data.iter().flatten().filter(|(name, _)| !name.starts_with("session-")) {
        (name, &value.0).hash(&mut hash);
    }
    hash.finish()
}

/// Applies it again where that is due. The answer is when to look again.
pub(super) async fn keep(round: &Round<'_>, plan: &Plan) -> Result<Option<Duration>, Error> {
    let session = &round.observed.session;
    let pods = round.observed.cluster.pods.get().map_or(&[][..], Vec::as_slice);
    let ends = session.deleted_at.is_some()
        || plan.status.completed_at.is_some()
        || plan.status.summary == Some(Summary::Stopping);
    if ends || pods.is_empty() {
        return Ok(None);
    }
    let attempts: Vec<u32> = pods.iter().map(|pod| pod.attempt).collect();
    let secret = desired(round, &attempts);
    let push = session.spec.capture.mode == CaptureMode::Push;
    let before = *lock(&round.cell.secret);
    let name = names::shared(&round.session);
    match due(before, version(&secret), push, pods, &name, Instant::now()) {
        Some(Duration::ZERO) => {
            let kept = secret.clone();
            children::apply(round, "apply the session's Secret", secret).await?;
            applied(round, &kept);
            Ok(None)
        }
        later => Ok(later),
    }
}

/// How long until it is to be applied again; `None`: nothing asks for it.
fn due(
    before: Option<Applied>,
    version: u64,
    push: bool,
    pods: &[Pod],
    name: &str,
    now: Instant,
) -> Option<Duration> {
    // Only a publisher reads it from outside, so that an operator that has just begun knows no reason to write the others.
    if before.map_or(push, |before| before.version != version) {
        return Some(Duration::ZERO);
    }
    let patience = pods.iter().filter(|pod| !pod.leaving).filter_map(|pod| match &pod.state {
        PodState::Pending(Reason::SecretNotFound | Reason::SecretKeyMissing, text) => {
            text.contains(name).then_some(MISSING)
        }
        PodState::Pending(Reason::PodPending, _) => (!pod.node.is_empty()).then_some(WAITING),
        _ => None,
    });
    let patience = patience.min()?;
    Some(
        before.map_or(Duration::ZERO, |before| {
            patience.saturating_sub(now.saturating_duration_since(before.at))
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(state: PodState) -> Pod {
        Pod {
            name: "ts-monday-1".into(),
            uid: "u".into(),
            attempt: 1,
            key_generation: 1,
            created_at: None,
            node: "node-a".into(),
            state,
            leaving: false,
            ends_at: None,
            container_started_at: None,
            restarts: 0,
            last_exit: None,
        }
    }

    fn asks(before: Option<Applied>, version: u64, push: bool, state: PodState, now: Instant) -> Option<u64> {
        due(before, version, push, &[pod(state)], "ts-monday", now).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_secret_that_the_kubelet_misses_is_made_again_and_one_of_somebody_else_is_not() {
        let now = Instant::now();
        let before = Some(Applied { version: 1, at: now });
        let misses = |text: &str| PodState::Pending(Reason::SecretNotFound, text.into());
        let ours = misses("secret \"ts-monday\" not found");
        assert_eq!(asks(None, 1, false, ours.clone(), now), Some(0));
        assert_eq!(asks(before, 1, false, ours.clone(), now), Some(5));
        assert_eq!(asks(before, 1, false, ours, now + MISSING), Some(0));
        assert_eq!(asks(before, 1, false, misses("secret \"gladia\" not found"), now + WAITING), None);
    }

    #[test]
    fn a_pod_that_does_not_begin_on_its_node_may_lack_it_and_one_that_runs_does_not() {
        let now = Instant::now();
        let before = Some(Applied { version: 1, at: now });
        let waits = PodState::Pending(Reason::PodPending, String::new());
        assert_eq!(asks(before, 1, false, waits.clone(), now), Some(20));
        assert_eq!(asks(before, 1, false, waits, now + WAITING), Some(0));
        assert_eq!(asks(before, 1, false, PodState::Listening, now + WAITING), None);
        assert_eq!(asks(None, 1, false, PodState::Listening, now), None);
    }

    #[test]
    fn a_new_key_or_address_is_written_at_once() {
        let now = Instant::now();
        let before = Some(Applied { version: 1, at: now });
        assert_eq!(asks(before, 2, false, PodState::Listening, now), Some(0));
        assert_eq!(asks(None, 1, true, PodState::Listening, now), Some(0));
        assert_eq!(asks(before, 1, true, PodState::Listening, now), None);
    }
}
