//! The Kubernetes contract of Roomscribe: `TranscriptionSession` in `roomscribe.io/v1alpha1`.
//!
//! The types are the source; `roomscribe crd` prints the YAML that they make, and a test fails when the committed copy
//! (`crds/transcriptionsessions.yaml`) differs. Everything that the API server can refuse is refused there, by CEL rules whose
//! messages name the field and the mend; what only the operator can see becomes a condition with one of [`reason`]'s words.

pub mod condition;
pub mod names;
pub mod reason;
mod schemas;
#[allow(unreachable_pub, reason = "KubeSchema copies the structs, and their `pub`, into function bodies")]
mod session;
#[allow(unreachable_pub, reason = "as above")]
mod spec;
#[allow(unreachable_pub, reason = "as above")]
mod status;
pub mod stream_key;

pub use session::{FINALIZER, GROUP, TranscriptionSession, TranscriptionSessionSpec, crd_yaml};
pub use spec::{
    Capture, CaptureMode, DesiredState, Disruption, Exposure, ExternalAddress, Ingest, IngestTls, Limits,
    LocalReference, PostCall, SecretKeyReference, SpeakerSource, Speakers, Speech, VocabularyEntry, Worker,
};
pub use status::{
    CaptureStatus, EgressKind, EgressRecord, IngestStatus, LastExit, Summary, TranscriptionSessionStatus,
    Usage, WorkerStatus,
};
