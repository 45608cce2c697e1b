//! The resource.

use crate::children::names::FORCE_FINALIZE;
use roomscribe_crds::{FINALIZER, TranscriptionSession};
use roomscribe_plan::Session;

/// `None` for an object that no API server has seen (no uid, no creation time).
pub fn session(session: &TranscriptionSession) -> Option<Session> {
    let metadata = &session.metadata;
    let force = metadata.annotations.as_ref().and_then(|all| all.get(FORCE_FINALIZE));
    Some(Session {
        id: metadata.uid.clone()?,
        generation: metadata.generation,
        created_at: metadata.creation_timestamp.as_ref()?.0,
        deleted_at: metadata.deletion_timestamp.as_ref().map(|time| time.0),
        has_finalizer: metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER),
        force_finalize: force.is_some_and(|value| value == "true"),
        spec: session.spec.clone(),
        status: session.status.clone().unwrap_or_default(),
    })
}
