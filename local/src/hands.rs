//! Carries sessions out as tasks of this process: what a pod, a Service and a Secret are in a cluster.

use crate::install::Install;
use crate::sessions::{Entries, timestamp};
use crate::stored::{self, Stored};
use roomscribe_gateway::sessions::{IngestAddress, SpeechSpec};
use roomscribe_transcript::{Generation, Head, Log, LogError, SessionId};
use roomscribe_worker::metrics::Metrics;
use roomscribe_worker::pipeline::stream_key::{self, SessionSecret};
use roomscribe_worker::pipeline::{Exit, Report, Settings, SpeechSettings, State, VocabularyEntry};
use roomscribe_worker::publish::Writer;
use roomscribe_worker::registry::{Ingest, Registry};
use roomscribe_worker::run::{self, Order, Session};
use roomscribe_worker::speech_http::SpeechApi;
use roomscribe_worker::spool::Spool;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Between attempts to open a session's files.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What every session of this process shares.
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
    /// Public host of RTMP URLs.
    pub rtmp_host: String,
    /// Public port of RTMP URLs.
    pub rtmp_port: u16,
    /// `rtmp`, or `rtmps` when the door speaks TLS.
    pub rtmp_scheme: &'static str,
    /// Speech sessions are replaced after this.
    pub rollover: Duration,
}

/// Begins, stops and erases sessions; cheap to clone.
#[derive(Clone)]
pub(crate) struct Hands(Arc<HandsSettings>);

/// A session that runs.
pub(crate) struct Running {
    orders: watch::Sender<Order>,
    task: JoinHandle<()>,
}

impl Running {
    /// Drain, then append `end`.
    pub(crate) fn stop(&self, reason: &str) {
        self.orders.send_if_modified(|order| {
            let fresh = !matches!(order, Order::Stop(_));
            if fresh {
                *order = Order::Stop(reason.to_owned());
            }
            fresh
        });
    }

    /// Drain without an end.
    pub(crate) fn suspend(&self) {
        self.orders.send_if_modified(|order| {
            let fresh = *order == Order::Run;
            if fresh {
                *order = Order::Suspend;
            }
            fresh
        });
    }

    /// Waits for its last word.
    pub(crate) async fn ended(self) {
        let _ = self.task.await;
    }
}

impl Hands {
    /// Shared by all sessions.
    pub(crate) fn new(settings: HandsSettings) -> Self {
        Self(Arc::new(settings))
    }

    /// Where the publisher of `attempt` sends its RTMP.
    pub(crate) fn ingest(&self, id: &SessionId, attempt: u32) -> IngestAddress {
        let HandsSettings { install, rtmp_host, rtmp_port, rtmp_scheme, .. } = &*self.0;
        let stream_key = stream_key::derive(&self.secret(id), id, attempt);
        let server = format!("{rtmp_scheme}://{rtmp_host}:{rtmp_port}/live/{}/{id}.{attempt}", install.id);
        IngestAddress { url: format!("{server}/{stream_key}"), server, stream_key }
    }

    /// Older stream keys stop working.
    pub(crate) fn raise_attempt(&self, id: &SessionId, attempt: u32) {
        self.0.registry.raise_attempt(id, attempt);
    }

    /// Starts the session's task. Its stream key is good when this returns: a publisher may be quicker than the disk,
    /// and an egress that is refused does not try again.
    pub(crate) fn begin(&self, stored: &Stored, entries: Arc<Mutex<Entries>>) -> Running {
        let (orders, ordered) = watch::channel(Order::Run);
        let ingest = self.0.registry.open(stored.id.clone(), self.secret(&stored.id), stored.attempt);
        let task = tokio::spawn(self.clone().run(stored.clone(), ingest, ordered, entries));
        Running { orders, task }
    }

    /// Events, spool, and the speech provider's copy.
    pub(crate) async fn erase(&self, id: &SessionId) -> Result<(), LogError> {
        let folder = stored::folder(&self.0.data_dir, id).join("spool");
        let head = self.0.log.head(id).await;
        self.0.log.erase(id).await?;
        if let Err(error) = Spool::erase(&folder) {
            tracing::error!(session = %id, %error, "the spool could not be erased; delete its folder by hand");
        }
        if let Some(speech) = head.ok().and_then(|head| head.note).and_then(|note| note.speech_session)
            && !self.0.speech.delete(&speech).await
        {
            tracing::warn!(session = %id, "the speech service kept its copy; delete it there");
        }
        Ok(())
    }

    fn secret(&self, id: &SessionId) -> SessionSecret {
        SessionSecret::derive(self.0.install.key(), id)
    }

    async fn run(
        self,
        stored: Stored,
        ingest: mpsc::Receiver<Ingest>,
        mut orders: watch::Receiver<Order>,
        entries: Arc<Mutex<Entries>>,
    ) {
        let id = stored.id.clone();
        let (report, mut reported) = watch::channel(Report::default());
        let Some(storage) = self.storage(&id, &mut orders, &entries).await else {
            self.0.registry.close(&id);
            self.forget_running(&entries, &id);
            return;
        };
        let session = self.assemble(&stored, storage, ingest, report, orders);
        let running = run::run(session);
        tokio::pin!(running);
        let exit = loop {
            tokio::select! {
                exit = &mut running => break exit,
                Ok(()) = reported.changed() => {
                    let report = reported.borrow_and_update().clone();
                    self.update(&entries, &id, |stored| show(stored, &report));
                }
            }
        };
        self.0.registry.close(&id);
        let report = reported.borrow().clone();
        self.update(&entries, &id, |stored| finish(stored, &report, &exit));
        self.forget_running(&entries, &id);
    }

    fn forget_running(&self, entries: &Mutex<Entries>, id: &SessionId) {
        let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.all.get_mut(id) {
            entry.running = None;
        }
    }

    /// Opens log and spool. While the disk is full or fails, the session says so and tries on; it accepts no
    /// new publisher before. `None`: it was stopped meanwhile, or its log is over for good.
    async fn storage(
        &self,
        id: &SessionId,
        orders: &mut watch::Receiver<Order>,
        entries: &Mutex<Entries>,
    ) -> Option<(Head, Spool)> {
        let mut wait = FIRST_WAIT;
        loop {
            let error = match self.open_storage(id).await {
                Ok(opened) => {
                    self.0.registry.hold(id, false);
                    return Some(opened);
                }
                Err(error) => error,
            };
            self.0.registry.hold(id, true);
            let passing = matches!(error, LogError::Full | LogError::Io(_));
            if wait == FIRST_WAIT {
                tracing::error!(session = %id, %error, passing, "the session's files cannot be opened; mend DATA_DIR");
            }
            self.update(entries, id, |stored| unstored(stored, &error, passing));
            if !passing {
                return None;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
                stop = stopped(orders) => {
                    if stop {
                        self.update(entries, id, |stored| {
                            stored.state = "Failed".into();
                            stored.completed_at = Some(timestamp());
                        });
                    }
                    return None;
                }
            }
        }
    }

    async fn open_storage(&self, id: &SessionId) -> Result<(Head, Spool), LogError> {
        let head = self.0.log.open(id).await?;
        Ok((head, Spool::open(&stored::folder(&self.0.data_dir, id).join("spool"))?))
    }

    fn assemble(
        &self,
        stored: &Stored,
        (head, spool): (Head, Spool),
        ingest: mpsc::Receiver<Ingest>,
        report: watch::Sender<Report>,
        orders: watch::Receiver<Order>,
    ) -> Session {
        let HandsSettings { log, registry, speech, metrics, .. } = &*self.0;
        let id = &stored.id;
        let generation = Generation(stored.attempt.max(head.generation.0));
        Session {
            settings: self.settings(stored, generation),
            ingest,
            registry: registry.clone(),
            writer: Writer::new(log.clone(), id.clone(), generation, metrics.clone()),
            head,
            speech: speech.clone(),
            spool,
            metrics: metrics.clone(),
            report,
            orders,
        }
    }

    fn settings(&self, stored: &Stored, generation: Generation) -> Settings {
        let request = &stored.request;
        let mut settings = Settings::new(stored.id.clone(), generation, request.room_name.clone());
        settings.speech = speech_settings(&request.speech);
        settings.speech.rollover_after = self.0.rollover;
        settings.max_duration = Duration::from_secs(request.limits.max_duration_seconds.into());
        settings
    }

    /// Changes the document in memory, and on disk when it changed.
    fn update(&self, entries: &Mutex<Entries>, id: &SessionId, change: impl FnOnce(&mut Stored)) {
        let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = entries.all.get_mut(id) else { return };
        let before = (entry.stored.state.clone(), entry.stored.completed_at.clone());
        change(&mut entry.stored);
        let after = (&entry.stored.state, &entry.stored.completed_at);
        if (&before.0, &before.1) != after
            && let Err(error) = entry.stored.save(&self.0.data_dir)
        {
            tracing::error!(session = %id, %error, "cannot write the session document; free space in DATA_DIR");
        }
    }
}

fn speech_settings(spec: &SpeechSpec) -> SpeechSettings {
    SpeechSettings {
        languages: spec.languages.clone(),
        code_switching: spec.code_switching,
        vocabulary: spec
            .vocabulary
            .iter()
            .map(|entry| VocabularyEntry {
                value: entry.value.clone(),
                pronunciations: entry.pronunciations.clone(),
            })
            .collect(),
        translate_to: spec.translate_to.clone(),
        endpointing_milliseconds: spec.endpointing_milliseconds,
        partials: spec.partials,
        ..SpeechSettings::default()
    }
}

/// True: stop for good; false: another process goes on.
async fn stopped(orders: &mut watch::Receiver<Order>) -> bool {
    match orders.wait_for(|order| *order != Order::Run).await {
        Ok(order) => matches!(*order, Order::Stop(_)),
        Err(_) => false,
    }
}

/// The session's files cannot be opened.
fn unstored(stored: &mut Stored, error: &LogError, passing: bool) {
    (stored.state, stored.reason) = match (passing, error) {
        (true, LogError::Full) => ("Recovering".into(), "StorageFull".into()),
        (true, _) => ("Recovering".into(), "StorageFailed".into()),
        (false, _) => ("Failed".into(), "StorageFailed".into()),
    };
    stored.message = match error {
        LogError::Full => {
            "the disk that holds DATA_DIR is full: free space, the session then begins by itself".into()
        }
        error => format!("{error}; mend DATA_DIR, then start again"),
    };
    if !passing {
        stored.completed_at = Some(timestamp());
    }
}

/// What people see while the session runs.
fn show(stored: &mut Stored, report: &Report) {
    if stored.started_at.is_none() && report.media_ms > 0 {
        stored.started_at = Some(timestamp());
    }
    (stored.media_ms, stored.audio_lost_ms) = (report.media_ms, report.audio_lost_ms);
    let (state, reason, message) = match (report.state, report.speech.state, report.speech.reason) {
        (State::Draining | State::Done, ..) => ("Stopping", "Draining", ""),
        _ if !report.reason.is_empty() => ("Recovering", report.reason, "nothing can be stored"),
        (State::Publishing | State::Silent, ..) if !publisher_trouble(report).is_empty() => (
            "WaitingForAudio",
            publisher_trouble(report),
            "the publisher's audio is not AAC-LC: change its encoder",
        ),
        (_, "refused", "CredentialsRejected") => (
            "Failed",
            "CredentialsRejected",
            "the speech service refused the key: mend GLADIA_API_KEY and restart",
        ),
        (_, "refused", reason) => {
            ("Failed", reason, "the speech service refused the session's options: mend `speech`")
        }
        (_, "retrying", "RateLimited") => (
            "Recovering",
            "RateLimited",
            "the speech account's limit is reached: trying again; end other sessions, or raise the limit there",
        ),
        (_, "retrying", reason) => ("Recovering", reason, "the speech service does not answer: trying again"),
        (State::Listening, ..) => {
            ("WaitingForAudio", "WaitingForPublisher", "publish RTMP to the URL in `ingest`")
        }
        (State::Silent, ..) => ("WaitingForAudio", "PublisherSilent", "the publisher sends nothing"),
        (State::Publishing, "live", _) => ("Live", "Transcribing", ""),
        (State::Publishing, ..) => ("Starting", "SpeechConnecting", ""),
    };
    (stored.state, stored.reason) = (state.to_owned(), reason.to_owned());
    stored.message = match &report.last_error {
        Some(error) if matches!(state, "Failed" | "Recovering") => format!("{message} ({error})"),
        _ => message.to_owned(),
    };
}

fn publisher_trouble(report: &Report) -> &'static str {
    report.publisher.as_ref().map_or("", |publisher| publisher.reason)
}

/// What stays when it is over.
fn finish(stored: &mut Stored, report: &Report, exit: &Exit) {
    (stored.media_ms, stored.audio_lost_ms) = (report.media_ms, report.audio_lost_ms);
    let (state, reason, message) = match exit {
        // It goes on with the next `serve`.
        Exit::Suspended => return,
        Exit::Done => ("Succeeded", "Stopped", ""),
        Exit::Fenced => ("Failed", "Fenced", "a later attempt writes this session: stop the other process"),
        Exit::LogFailed => {
            ("Failed", "LogFailed", "the transcript's log refuses events: see the log of this process")
        }
    };
    if state == "Succeeded" && stored.state == "Failed" {
        stored.completed_at = Some(timestamp());
        return;
    }
    (stored.state, stored.reason, stored.message) = (state.to_owned(), reason.to_owned(), message.to_owned());
    stored.completed_at = Some(timestamp());
}
