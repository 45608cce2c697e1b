//! Which parts of a spec a running worker does not see: it reads them when its pod is made.

use roomscribe_crds::TranscriptionSession;
use sha2::{Digest, Sha256};

/// Parts of the spec, and where they stand in it.
const PARTS: [(&str, &str); 15] = [
    ("worker.resources", "/worker/resources"),
    ("worker.nodeSelector", "/worker/nodeSelector"),
    ("worker.tolerations", "/worker/tolerations"),
    ("worker.priorityClassName", "/worker/priorityClassName"),
    ("worker.podLabels", "/worker/podLabels"),
    ("worker.podAnnotations", "/worker/podAnnotations"),
    ("speech.apiUrl", "/speech/apiUrl"),
    ("speech.region", "/speech/region"),
    ("speech.secretRef", "/speech/secretRef"),
    ("speech.languages", "/speech/languages"),
    ("speech.codeSwitching", "/speech/codeSwitching"),
    ("speech.vocabulary", "/speech/vocabulary"),
    ("speech.translateTo", "/speech/translateTo"),
    ("speech.endpointingMilliseconds", "/speech/endpointingMilliseconds"),
    ("speech.partials", "/speech/partials"),
];

fn digests(session: &TranscriptionSession) -> impl Iterator<Item = (&'static str, String)> {
    // Plain data with string keys: it cannot fail.
    let spec = serde_json::to_value(&session.spec).unwrap_or_default();
    PARTS.into_iter().map(move |(name, pointer)| {
        let text = spec.pointer(pointer).map(ToString::to_string).unwrap_or_default();
        let hash = Sha256::digest(text.as_bytes());
        (name, hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect())
    })
}

/// What a pod of this spec is made of: a digest of each part, for its annotation.
pub fn made_of(session: &TranscriptionSession) -> String {
    digests(session).map(|(name, digest)| format!("{name}={digest}")).collect::<Vec<_>>().join(" ")
}

/// Parts of the spec that differ from what the pod was made of. A part that the pod does not name (another version of the
/// operator made it) is not known to differ.
pub fn for_the_next_pod(made_of: &str, session: &TranscriptionSession) -> Vec<&'static str> {
    let was = |name: &str| made_of.split(' ').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    digests(session)
        .filter(|(name, digest)| was(name).is_some_and(|was| was != digest))
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomscribe_crds::TranscriptionSessionSpec;

    #[test]
    fn an_edit_that_a_running_pod_does_not_see_is_named_and_another_is_not() {
        let mut session = TranscriptionSession::new("standup", TranscriptionSessionSpec::for_room("standup"));
        let made = made_of(&session);
        assert_eq!(for_the_next_pod(&made, &session), Vec::<&str>::new());
        session.spec.limits.max_duration_seconds = 60;
        assert_eq!(for_the_next_pod(&made, &session), Vec::<&str>::new());
        session.spec.speech.languages = vec!["en".into()];
        session.spec.worker.pod_labels.insert("team".into(), "video".into());
        assert_eq!(for_the_next_pod(&made, &session), ["worker.podLabels", "speech.languages"]);
        assert_eq!(for_the_next_pod("", &session), Vec::<&str>::new());
    }
}
