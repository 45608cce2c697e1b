//! The handle of a session's loop, and how the loop begins.

use super::drive::Driver;
use super::observe::Task;
use super::worker::Worker;
use crate::hands::Hands;
use crate::sessions::Entries;
use crate::stored::Stored;
use jiff::Timestamp;
use roomscribe_calls::{Desk, Order};
use roomscribe_gateway::sessions::CaptureMode;
use roomscribe_livekit::ApiError;
use roomscribe_plan::{Hearing, How, Intent, Listing, Memory};
use roomscribe_worker::pipeline::Report;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, watch};

/// What the process asks of a session's loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Go on.
    Run,
    /// Leave the work for the next process.
    Suspend,
}

/// A session that runs.
pub(crate) struct Running {
    nudge: Arc<Notify>,
    mode: watch::Sender<Mode>,
    report: watch::Receiver<Report>,
    ended: watch::Receiver<bool>,
    desk: Desk,
    uses_livekit: bool,
}

impl Running {
    /// The document has changed: plan again.
    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Leave the work for the next process.
    pub(crate) fn suspend(&self) {
        self.mode.send_replace(Mode::Suspend);
    }

    /// Resolves when the loop has ended.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.ended.clone();
        async move {
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// What the worker says now.
    pub(crate) fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    /// What the minute's listing showed of this session.
    pub(crate) fn listed(&self, listing: Listing) {
        self.desk.listed(listing);
        self.nudge();
    }

    /// The minute's listing was not answered.
    pub(crate) fn unlisted(&self, error: &ApiError) {
        if self.uses_livekit && self.desk.unlisted(error) {
            self.nudge();
        }
    }
}

/// Starts the loop and the worker of a session that has not finished.
pub(crate) fn begin(hands: &Hands, stored: &Stored, entries: Arc<Mutex<Entries>>) -> Running {
    let (mode, asked) = watch::channel(Mode::Run);
    let (report, reported) = watch::channel(Report::default());
    let (over, ended) = watch::channel(false);
    let (nudge, desk) = (Arc::new(Notify::new()), Desk::default());
    let now = Timestamp::now();
    let worker_before = stored.status.worker.as_ref();
    let restarts = worker_before.map_or(0, |before| before.restarts.unsigned_abs() + 1);
    let intent = stored.unasked.map(|attempt| Intent { attempt, how: How::Start });
    desk.adopt(Memory { intent, ..Memory::default() });
    let driver = Driver {
        id: stored.id.clone(),
        entries,
        worker: Worker::begin(hands, stored, report.clone()),
        hands: hands.clone(),
        order: order(hands, stored, &nudge),
        report,
        reported: reported.clone(),
        desk: desk.clone(),
        nudge: nudge.clone(),
        mode: asked,
        task: Task { started_at: now, restarts, exit: None, leaving: false, replaced: false },
        broken: 0,
        restart_at: None,
        hearing: (Hearing::Nobody, now),
        at_once: 0,
        unwritten: false,
    };
    let uses_livekit = driver.order.is_some();
    tokio::spawn(async move {
        driver.run().await;
        over.send_replace(true);
    });
    Running { nudge, mode, report: reported, ended, desk, uses_livekit }
}

/// `None` without LiveKit.
fn order(hands: &Hands, stored: &Stored, nudge: &Arc<Notify>) -> Option<Order> {
    let project = hands.project().filter(|_| stored.request.capture.mode != CaptureMode::Push)?;
    let (urls, id, wake) = (hands.clone(), stored.id.clone(), nudge.clone());
    Some(Order {
        project: project.clone(),
        room: stored.request.room_name.clone(),
        session: stored.id.to_string(),
        url: Arc::new(move |attempt| Some(urls.ingest(&id, attempt).url)),
        wake: Arc::new(move || wake.notify_one()),
        span: tracing::error_span!("session", session = %stored.id),
    })
}
