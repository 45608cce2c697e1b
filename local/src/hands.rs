//! What every session of this process shares: the door, the log, the speech service, LiveKit, and the secrets.

use crate::install::Install;
use crate::session::Place;
use crate::stored;
use roomscribe_calls::Project;
use roomscribe_gateway::sessions::IngestAddress;
use roomscribe_plan::Policy;
use roomscribe_transcript::{Log, LogError, SessionId};
use roomscribe_worker::metrics::Metrics;
use roomscribe_worker::pipeline::stream_key::{self, SessionSecret};
use roomscribe_worker::registry::Registry;
use roomscribe_worker::speech_http::SpeechApi;
use roomscribe_worker::spool::Spool;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub(crate) struct HandsSettings {
    /// Id and key.
    pub install: Install,
    /// Where transcripts are.
    pub log: Log,
    /// The RTMP door's sessions.
    pub registry: Registry,
    /// The speech service.
    pub speech: SpeechApi,
    /// The worker's counters.
    pub metrics: Metrics,
    /// Spools are in `sessions/<id>/spool`.
    pub data_dir: PathBuf,
    /// Where RTMP arrives.
    pub place: Place,
    /// LiveKit, when there is one.
    pub project: Option<Project>,
    /// What the plan is told to be patient about.
    pub policy: Policy,
    /// Speech sessions are replaced after this.
    pub rollover: Duration,
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hands(Arc<HandsSettings>);

impl Hands {
    /// Shared by all sessions.
    pub(crate) fn new(settings: HandsSettings) -> Self {
        Self(Arc::new(settings))
    }

    /// Where the publisher of `attempt` sends its RTMP.
    pub(crate) fn ingest(&self, id: &SessionId, attempt: u32) -> IngestAddress {
        let HandsSettings { install, place, .. } = &*self.0;
        let stream_key = stream_key::derive(&self.secret(id), id, attempt);
        let server = format!("{}/live/{}/{id}.{attempt}", place.base(), install.id);
        IngestAddress { url: format!("{server}/{stream_key}"), server, stream_key }
    }

    /// The session's own secret.
    pub(crate) fn secret(&self, id: &SessionId) -> SessionSecret {
        SessionSecret::derive(self.0.install.key(), id)
    }

    /// The RTMP door's sessions.
    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Where transcripts are.
    pub(crate) fn log(&self) -> &Log {
        &self.0.log
    }

    /// The speech service.
    pub(crate) fn speech(&self) -> &SpeechApi {
        &self.0.speech
    }

    /// The worker's counters.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// `DATA_DIR`.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.0.data_dir
    }

    /// Where RTMP arrives.
    pub(crate) fn place(&self) -> &Place {
        &self.0.place
    }

    /// LiveKit, when there is one.
    pub(crate) fn project(&self) -> Option<&Project> {
        self.0.project.as_ref()
    }

    /// What the plan is told to be patient about.
    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Speech sessions are replaced after this.
    pub(crate) fn rollover(&self) -> Duration {
        self.0.rollover
    }

    /// Events, spool, and the speech provider's copy.
    pub(crate) async fn erase(&self, id: &SessionId) -> Result<(), LogError> {
        let head = self.0.log.head(id).await;
        self.0.log.erase(id).await?;
        self.erase_spool(id);
        if let Some(speech) = head.ok().and_then(|head| head.note).and_then(|note| note.speech_session)
            && !self.0.speech.delete(&speech).await
        {
            tracing::warn!(session = %id, "the speech service kept its copy; delete it there");
        }
        Ok(())
    }

    /// Where a session's audio is kept until it has its words.
    pub(crate) fn spool_folder(&self, id: &SessionId) -> PathBuf {
        stored::folder(&self.0.data_dir, id).join("spool")
    }

    /// Its transcript is whole: nobody needs the audio any more.
    pub(crate) fn erase_spool(&self, id: &SessionId) {
        if let Err(error) = Spool::erase(&self.spool_folder(id)) {
            tracing::error!(session = %id, %error, "the spool could not be erased; delete its folder by hand");
        }
    }
}
