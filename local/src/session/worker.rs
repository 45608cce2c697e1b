//! The worker's task: files open, then the session's loop, then its last word. It is what a pod is in a cluster.

use crate::hands::Hands;
use crate::stored::Stored;
use roomscribe_gateway::sessions::{CaptureMode, SpeechSpec};
use roomscribe_transcript::{Generation, Head, LogError, SessionId};
use roomscribe_worker::pipeline::{Exit, Report, Settings, SpeechSettings, VocabularyEntry};
use roomscribe_worker::publish::Writer;
use roomscribe_worker::registry::Ingest;
use roomscribe_worker::run::{self, Order, Session};
use roomscribe_worker::spool::Spool;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Between attempts to open a session's files.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The plan ends a session in time; the pipeline's own limit only catches what the plan cannot.
const PLAN_MARGIN: Duration = Duration::from_secs(120);

/// Nobody kills this process for a session that ends slowly.
const LONGEST_STOP: Duration = Duration::from_secs(120);

/// How far the task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// The files are being opened; with what hinders it.
    Opening(Option<Trouble>),
    /// It takes a publisher.
    Listening,
    /// It is over.
    Ended(Ended),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// The transcript has its `end`.
    Done,
    /// The next process goes on.
    Suspended,
    /// Another try may go better.
    Broken(Trouble),
    /// No other try will.
    Hopeless(Trouble),
}

/// What is wrong, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// CamelCase.
    pub reason: &'static str,
    /// Who must act.
    pub message: String,
}

/// A worker that runs, or has run.
pub(super) struct Worker {
    orders: watch::Sender<Order>,
    /// How far it is.
    pub stage: watch::Receiver<Stage>,
}

impl Worker {
    /// Starts it. Its stream key is good when this returns: a publisher may be quicker than the disk, and an egress that is
    /// refused does not try again.
    pub(super) fn begin(hands: &Hands, stored: &Stored, report: watch::Sender<Report>) -> Self {
        let (orders, ordered) = watch::channel(Order::Run);
        let (stage, shown) = watch::channel(Stage::Opening(None));
        let ingest = hands.registry().open(stored.id.clone(), hands.secret(&stored.id), fence(stored));
        report.send_replace(Report::default());
        let task = Task { hands: hands.clone(), stored: stored.clone(), stage: stage.clone() };
        let (registry, id) = (hands.registry().clone(), stored.id.clone());
        tokio::spawn(async move {
            let ran = tokio::spawn(task.run(ingest, ordered, report)).await;
            registry.close(&id);
            let ended = ran.unwrap_or_else(|error| {
                tracing::error!(session = %id, %error, "the session's worker failed; please report this");
                Ended::Broken(log_failed())
            });
            stage.send_replace(Stage::Ended(ended));
        });
        Self { orders, stage: shown }
    }

    /// Drain, then append `end`.
    pub(super) fn stop(&self, reason: &str) {
        self.orders.send_if_modified(|order| {
            let fresh = !matches!(order, Order::Stop(_));
            if fresh {
                *order = Order::Stop(reason.to_owned());
            }
            fresh
        });
    }

    /// Drain without an end.
    pub(super) fn suspend(&self) {
        self.order(Order::Suspend);
    }

    /// Hand over to the next process, which finds the spool.
    pub(super) fn leave(&self) {
        self.order(Order::Leave);
    }

    fn order(&self, wish: Order) {
        self.orders.send_if_modified(|order| {
            let fresh = *order == Order::Run;
            if fresh {
                *order = wish;
            }
            fresh
        });
    }

    /// Waits for its last word.
    pub(super) async fn ended(&mut self) {
        let _ = self.stage.wait_for(|stage| matches!(stage, Stage::Ended(_))).await;
    }
}

/// With LiveKit any attempt may be the newest that became an egress; the door then takes the highest that comes. A Push
/// key that was rotated away stays away.
fn fence(stored: &Stored) -> u32 {
    if stored.request.capture.mode == CaptureMode::Push { stored.attempt } else { 1 }
}

struct Task {
    hands: Hands,
    stored: Stored,
    stage: watch::Sender<Stage>,
}

impl Task {
    async fn run(
        self,
        ingest: mpsc::Receiver<Ingest>,
        mut orders: watch::Receiver<Order>,
        report: watch::Sender<Report>,
    ) -> Ended {
        let (head, spool) = match self.storage(&mut orders).await {
            Ok(opened) => opened,
            Err(ended) => return ended,
        };
        if head.ended {
            return Ended::Done;
        }
        self.stage.send_replace(Stage::Listening);
        match run::run(self.assemble((head, spool), ingest, report, orders)).await {
            Exit::Done => {
                self.hands.erase_spool(&self.stored.id);
                Ended::Done
            }
            Exit::Suspended => Ended::Suspended,
            Exit::Fenced => Ended::Hopeless(Trouble {
                reason: "Fenced",
                message: "a later attempt writes this session: stop the other process".into(),
            }),
            Exit::LogFailed => Ended::Broken(log_failed()),
        }
    }

    /// Opens log and spool. While the disk is full or fails, the session says so and tries on; it accepts no
    /// new publisher before.
    async fn storage(&self, orders: &mut watch::Receiver<Order>) -> Result<(Head, Spool), Ended> {
        let (id, registry) = (&self.stored.id, self.hands.registry());
        let mut wait = FIRST_WAIT;
        loop {
            let error = match self.open_storage().await {
                Ok(opened) => {
                    registry.hold(id, false);
                    return Ok(opened);
                }
                Err(error) => error,
            };
            registry.hold(id, true);
            let passing = matches!(error, LogError::Full | LogError::Io(_));
            if wait == FIRST_WAIT {
                tracing::error!(session = %id, %error, passing, "the session's files cannot be opened; mend DATA_DIR");
            }
            let trouble = unstored(&error);
            if !passing {
                return Err(Ended::Hopeless(trouble));
            }
            self.stage.send_replace(Stage::Opening(Some(trouble.clone())));
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
                stop = stopped(orders) => {
                    return Err(if stop { Ended::Hopeless(trouble) } else { Ended::Suspended });
                }
            }
        }
    }

    async fn open_storage(&self) -> Result<(Head, Spool), LogError> {
        let id: &SessionId = &self.stored.id;
        let head = self.hands.log().open(id).await?;
        Ok((head, Spool::open(&self.hands.spool_folder(id))?))
    }

    fn assemble(
        &self,
        (head, spool): (Head, Spool),
        ingest: mpsc::Receiver<Ingest>,
        report: watch::Sender<Report>,
        orders: watch::Receiver<Order>,
    ) -> Session {
        let (stored, hands) = (&self.stored, &self.hands);
        let attempt = stored.status.newest_attempt();
        let generation = Generation(stored.attempt.max(attempt).max(head.generation.0));
        Session {
            settings: self.settings(generation),
            ingest,
            registry: hands.registry().clone(),
            writer: Writer::new(hands.log().clone(), stored.id.clone(), generation, hands.metrics().clone()),
            head,
            speech: hands.speech().clone(),
            spool,
            metrics: hands.metrics().clone(),
            report,
            orders,
            succeeds: None,
        }
    }

    fn settings(&self, generation: Generation) -> Settings {
        let request = &self.stored.request;
        let mut settings = Settings::new(self.stored.id.clone(), generation, request.room_name.clone());
        settings.speech = speech_settings(&request.speech);
        settings.speech.rollover_after = self.hands.rollover();
        settings.longest_stop = LONGEST_STOP;
        settings.max_duration = Duration::from_secs(request.limits.max_duration_seconds.into()) + PLAN_MARGIN;
        settings
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

fn log_failed() -> Trouble {
    Trouble {
        reason: "LogFailed",
        message: "the transcript's log refuses events: see the log of this process".into(),
    }
}

/// The session's files cannot be opened.
fn unstored(error: &LogError) -> Trouble {
    let (reason, message) = match error {
        LogError::Full => (
            "StorageFull",
            "the disk that holds DATA_DIR is full: free space, the session then begins by itself".into(),
        ),
        error => ("StorageFailed", format!("{error}; mend DATA_DIR, then start again")),
    };
    Trouble { reason, message }
}
