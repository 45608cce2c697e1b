//! The media of one egress: one clock of frames, and a task per output that publishes real RTMP.

use super::clock::Clock;
use super::core::{AtEnd, FeedOrder, Report, ReportKind};
use crate::adts::{FRAME_SAMPLES, Recording};
use crate::egress::PublishError;
use crate::rtmp_client::{Client, Target, target};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Frames that wait for a server that reads slowly, about 11 s; then frames are lost, as behind a leaky queue.
const QUEUE: usize = 512;
/// Of one egress; more than any test gives at once.
pub(super) const ORDERS: usize = 256;
/// Between two connection attempts: about 40 a second, as observed.
const RETRY_GAP: Duration = Duration::from_millis(25);
/// LiveKit's RTMP timeout, simulated; never less than a second, because a busy machine is not a dead server.
const PATIENCE: Duration = Duration::from_secs(5);
/// One AAC-LC frame of stereo silence.
const SILENCE: [u8; 9] = [0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80];

/// What all feeders share.
#[derive(Debug, Clone)]
pub(super) struct Studio {
    pub(super) recording: Arc<Recording>,
    pub(super) at_end: AtEnd,
    pub(super) clock: Clock,
    pub(super) reports: mpsc::Sender<Report>,
}

/// Frames sent, by output.
pub(super) type Frames = Arc<Mutex<BTreeMap<u64, Arc<AtomicU64>>>>;

#[derive(Debug, Clone)]
struct Frame {
    timestamp: u32,
    payload: Arc<[u8]>,
}

enum Message {
    Frame(Frame),
    Goodbye,
}

enum Event {
    Connected(u64, mpsc::Sender<Message>),
    Lost(u64, ReportKind),
}

/// The feeder of an egress; ends when its orders do, or with `End` and `Cut`.
pub(super) struct Feeder {
    egress: String,
    studio: Studio,
    frames: Frames,
    outputs: BTreeMap<u64, mpsc::Sender<Message>>,
    /// Outputs that leave when those that come have come.
    pending: Option<(Vec<u64>, Vec<u64>)>,
    tasks: JoinSet<()>,
    events: mpsc::Sender<Event>,
    begun: Option<Instant>,
    audio_at: Duration,
    burst: Duration,
    lag: Duration,
    open: bool,
    next: u64,
    /// From one frame that is sent to the next.
    stride: u64,
    wedged: bool,
}

/// Runs a feeder.
pub(super) async fn run(
    egress: String,
    studio: Studio,
    frames: Frames,
    mut orders: mpsc::Receiver<FeedOrder>,
) {
    let (events, mut happened) = mpsc::channel(64);
    let mut feeder = Feeder {
        egress,
        studio,
        frames,
        outputs: BTreeMap::new(),
        pending: None,
        tasks: JoinSet::new(),
        events,
        begun: None,
        audio_at: Duration::ZERO,
        burst: Duration::ZERO,
        lag: Duration::ZERO,
        open: true,
        next: 0,
        stride: 1,
        wedged: false,
    };
    loop {
        let due = feeder.due();
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(FeedOrder::End) => break feeder.end().await,
                Some(FeedOrder::Cut) | None => break,
                Some(order) => feeder.obey(order),
            },
            Some(event) = happened.recv() => feeder.meet(event).await,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => feeder.send(),
        }
    }
}

impl Feeder {
    fn obey(&mut self, order: FeedOrder) {
        match order {
            FeedOrder::Begin { outputs, audio_at, burst, gap } => {
                let frames = gap.as_secs_f64() * f64::from(self.studio.recording.rate) / FRAME_SAMPLES as f64;
                self.stride = (frames.round() as u64).max(1);
                self.audio_at = audio_at;
                self.burst = burst;
                outputs.into_iter().for_each(|(number, url)| self.connect(number, url, Duration::ZERO));
            }
            FeedOrder::Change { add, remove } => {
                let coming: Vec<u64> = add.iter().map(|(number, _)| *number).collect();
                add.into_iter().for_each(|(number, url)| self.connect(number, url, Duration::ZERO));
                let (mut waited, mut leaving) = self.pending.take().unwrap_or_default();
                waited.extend(coming);
                leaving.extend(remove);
                self.pending = Some((waited, leaving));
                self.arrived(None);
            }
            FeedOrder::Retry(number, url) => self.connect(number, url, RETRY_GAP),
            FeedOrder::Drop => {
                for number in std::mem::take(&mut self.outputs).into_keys() {
                    self.report(number, ReportKind::Dropped { acknowledged: true });
                }
            }
            FeedOrder::Wedge => self.wedged = true,
            FeedOrder::Microphones { open, stall } => {
                self.open = open;
                self.lag = if open { Duration::ZERO } else { stall };
            }
            FeedOrder::End | FeedOrder::Cut => {}
        }
    }

    async fn meet(&mut self, event: Event) {
        match event {
            Event::Connected(number, sender) => {
                self.begun.get_or_insert_with(Instant::now);
                self.outputs.insert(number, sender);
                self.report(number, ReportKind::Connected);
                self.arrived(Some(number));
            }
            Event::Lost(number, kind) => {
                self.arrived(Some(number));
                // A connection that was closed here is nobody's news.
                let was_ours = self.outputs.remove(&number).is_some();
                if was_ours || matches!(kind, ReportKind::Failed(_)) {
                    self.report(number, kind);
                }
            }
        }
    }

    /// Between two frames: those that were to come have come, or cannot; those that leave are closed.
    fn arrived(&mut self, number: Option<u64>) {
        let Some((waited, leaving)) = &mut self.pending else { return };
        waited.retain(|waits| Some(*waits) != number);
        if waited.is_empty() {
            for number in leaving.drain(..) {
                self.outputs.remove(&number);
            }
            self.pending = None;
        }
    }

    fn report(&self, output: u64, kind: ReportKind) {
        // The shell empties this queue without waiting for anything.
        let _ = self.studio.reports.try_send(Report { egress: self.egress.clone(), output, kind });
    }

    fn connect(&mut self, number: u64, url: String, after: Duration) {
        let sent =
            Arc::clone(self.frames.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_default());
        let (events, clock, config) = (self.events.clone(), self.studio.clock, self.studio.recording.config);
        self.tasks.spawn(async move {
            sleep(after).await;
            let patience = clock.real(PATIENCE).max(Duration::from_secs(1));
            let kind = publish(number, &url, config, patience, &events, &sent).await;
            if let Some(kind) = kind {
                let _ = events.send(Event::Lost(number, kind)).await;
            }
        });
        while self.tasks.try_join_next().is_some() {}
    }

    fn due(&self) -> Option<Instant> {
        let begun = self.begun.filter(|_| !self.wedged)?;
        let time = self.time().saturating_sub(self.burst) + self.lag;
        Some(begun + self.studio.clock.real(time))
    }

    /// Stream time of the next frame.
    fn time(&self) -> Duration {
        Duration::from_micros(self.next * FRAME_SAMPLES * 1_000_000 / u64::from(self.studio.recording.rate))
    }

    fn send(&mut self) {
        let timestamp = self.time().as_millis() as u32;
        let frame = Frame { timestamp, payload: self.payload() };
        self.next += self.stride;
        for sender in self.outputs.values() {
            let _ = sender.try_send(Message::Frame(frame.clone()));
        }
    }

    fn payload(&self) -> Arc<[u8]> {
        let frames = &self.studio.recording.frames;
        let from = self.audio_at.as_micros() as u64 * u64::from(self.studio.recording.rate)
            / FRAME_SAMPLES
            / 1_000_000;
        let mut index = (from + self.next) as usize;
        if self.studio.at_end == AtEnd::Repeat {
            index %= frames.len().max(1);
        }
        match frames.get(index) {
            Some(frame) if self.open => frame.as_slice().into(),
            _ => SILENCE.as_slice().into(),
        }
    }

    async fn end(&mut self) {
        for sender in std::mem::take(&mut self.outputs).into_values() {
            let _ = sender.try_send(Message::Goodbye);
        }
        // A task that only waits for its server to answer is not worth waiting for.
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(Duration::from_secs(1), all).await;
    }
}

/// One connection to its end; `None`: closed by us.
async fn publish(
    number: u64,
    url: &str,
    config: [u8; 2],
    patience: Duration,
    events: &mpsc::Sender<Event>,
    sent: &AtomicU64,
) -> Option<ReportKind> {
    let connected = match target(url) {
        Ok(target) => connect(&target, config, patience).await,
        Err(error) => Err(error),
    };
    let mut client = match connected {
        Ok(client) => client,
        Err(PublishError::Io(_)) => return Some(ReportKind::Failed("Could not connect")),
        Err(_) => return Some(ReportKind::Failed("Failed to connect")),
    };
    let (sender, mut messages) = mpsc::channel(QUEUE);
    events.send(Event::Connected(number, sender)).await.ok()?;
    let mut buffer = [0; 4096];
    let is_lost = loop {
        tokio::select! {
            biased;
            count = client.input(&mut buffer) => match count {
                Ok(count) if client.take(&buffer[..count]).await.is_ok() => {}
                _ => break true,
            },
            message = messages.recv() => match message {
                Some(Message::Frame(frame)) => {
                    let written = timeout(patience, client.audio(1, &frame.payload, frame.timestamp)).await;
                    if !matches!(written, Ok(Ok(()))) {
                        break true;
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                Some(Message::Goodbye) => {
                    let _ = client.goodbye().await;
                    return None;
                }
                None => break false,
            },
        }
    };
    is_lost.then(|| ReportKind::Dropped { acknowledged: client.is_acknowledged() })
}

async fn connect(target: &Target, config: [u8; 2], patience: Duration) -> Result<Client, PublishError> {
    let mut client = Client::publish_within(target, patience).await?;
    client.metadata().await?;
    client.audio(0, &config, 0).await?;
    Ok(client)
}
