//! Recognition threads: a fixed number, finals before partials, sessions in turn.
//!
//! Finals are bounded by each session's backlog limit (the session stops reading its socket); of partials only the
//! newest per channel waits, an older one is dropped and counted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// Turns one utterance's audio into text; owned by one thread.
pub(crate) type Engine = Box<dyn FnMut(&[f32], u32) -> Result<String, String> + Send>;

/// One utterance to recognise.
pub(crate) struct Job {
    pub(crate) channel: u16,
    pub(crate) utterance: u64,
    pub(crate) is_final: bool,
    pub(crate) sample_rate: u32,
    pub(crate) audio: Vec<f32>,
}

/// The answer to a [`Job`].
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) channel: u16,
    pub(crate) utterance: u64,
    pub(crate) is_final: bool,
    pub(crate) text: Result<String, String>,
    pub(crate) took: Duration,
}

/// The threads. Dropping it stops them after their present job.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queues: Mutex<Queues>,
    ready: Condvar,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Queues {
    /// Finals of each session, and the order in which sessions have their turn.
    finals: HashMap<u64, VecDeque<(Job, mpsc::Sender<Heard>)>>,
    turns: VecDeque<u64>,
    /// The newest partial of each session and channel, oldest session first.
    partials: BTreeMap<(u64, u16), (Job, mpsc::Sender<Heard>)>,
    stopped: bool,
}

impl Pool {
    /// One thread per engine.
    pub(crate) fn start(engines: Vec<Engine>, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { queues: Mutex::default(), ready: Condvar::new(), metrics });
        let spawn = |(n, engine): (usize, Engine)| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("recogniser-{n}")).spawn(move || shared.work(engine))
        };
        let threads = engines.into_iter().enumerate().map(spawn).collect::<Result<_, _>>()?;
        Ok(Self { shared, threads })
    }

    /// Queues a job of `session`. The answer goes to `reply`, whose capacity must cover the session's open jobs.
    pub(crate) fn submit(&self, session: u64, job: Job, reply: &mpsc::Sender<Heard>) {
        let mut queues = self.shared.lock();
        let item = (job, reply.clone());
        if item.0.is_final {
            // What the final will say, a waiting partial need not.
            let older = queues.partials.remove(&(session, item.0.channel));
            self.shared.count_dropped(older.is_some());
            let queue = queues.finals.entry(session).or_default();
            queue.push_back(item);
            if queue.len() == 1 {
                queues.turns.push_back(session);
            }
        } else {
            let older = queues.partials.insert((session, item.0.channel), item);
            self.shared.count_dropped(older.is_some());
        }
        drop(queues);
        self.shared.ready.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.ready.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a recognition thread had panicked");
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_dropped(&self, dropped: bool) {
        if dropped {
            self.metrics.partials_dropped.inc();
        }
    }

    fn work(&self, mut engine: Engine) {
        while let Some((job, reply)) = self.next() {
            let began = Instant::now();
            // A panic must not take the thread, and with it every session's finals.
            let hear = std::panic::AssertUnwindSafe(|| engine(&job.audio, job.sample_rate));
            let text =
                std::panic::catch_unwind(hear).unwrap_or_else(|_| Err("the recogniser panicked".into()));
            let took = began.elapsed();
            let audio = job.audio.len() as f64 / f64::from(job.sample_rate);
            self.metrics.recognised(audio, took, text.is_ok());
            let Job { channel, utterance, is_final, .. } = job;
            // A full or closed queue: the session is gone, or broke its own bound; there is no one to tell.
            let _ = reply.try_send(Heard { channel, utterance, is_final, text, took });
        }
    }

    fn next(&self) -> Option<(Job, mpsc::Sender<Heard>)> {
        let mut queues = self.lock();
        loop {
            if queues.stopped {
                return None;
            }
            if let Some(item) = queues.take() {
                return Some(item);
            }
            queues = self.ready.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queues {
    fn take(&mut self) -> Option<(Job, mpsc::Sender<Heard>)> {
        let Some(session) = self.turns.pop_front() else {
            return self.partials.pop_first().map(|(_, item)| item);
        };
        let queue = self.finals.get_mut(&session)?;
        let item = queue.pop_front();
        if queue.is_empty() {
            self.finals.remove(&session);
        } else {
            self.turns.push_back(session);
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(utterance: u64, is_final: bool) -> Job {
        Job { channel: 0, utterance, is_final, sample_rate: 16_000, audio: vec![0.0; 16] }
    }

    /// A pool of one thread that works only while the gate lets it.
    fn gated() -> (Pool, std::sync::mpsc::SyncSender<()>, Arc<Metrics>) {
        let (gate, wait) = std::sync::mpsc::sync_channel::<()>(64);
        let engine: Engine =
            Box::new(move |_, _| wait.recv().map(|()| "words".into()).map_err(|e| e.to_string()));
        let metrics = Arc::new(Metrics::default());
        (Pool::start(vec![engine], Arc::clone(&metrics)).unwrap(), gate, metrics)
    }

    fn open(gate: &std::sync::mpsc::SyncSender<()>, times: usize) {
        (0..times).for_each(|_| gate.send(()).unwrap());
    }

    #[test]
    fn finals_go_first_and_only_the_newest_partial_waits() {
        let (pool, gate, metrics) = gated();
        let (reply, mut answers) = mpsc::channel(16);
        pool.submit(1, job(0, true), &reply);
        (1..=5).for_each(|n| pool.submit(2, job(n, false), &reply));
        pool.submit(1, job(9, true), &reply);
        open(&gate, 3);
        let order: Vec<_> = (0..3).map(|_| answers.blocking_recv().unwrap().utterance).collect();
        // The thread may have taken the first partial before the later jobs came only if the first final was done:
        // it was not, the gate was shut.
        assert_eq!(order, [0, 9, 5]);
        assert_eq!(metrics.partials_dropped.get(), 4);
    }

    #[test]
    fn a_panic_costs_its_utterance_and_not_the_thread() {
        let mut first = true;
        let engine: Engine = Box::new(move |_, _| {
            assert!(!std::mem::replace(&mut first, false), "on purpose");
            Ok("words".into())
        });
        let pool = Pool::start(vec![engine], Arc::default()).unwrap();
        let (reply, mut answers) = mpsc::channel(4);
        (0..2).for_each(|n| pool.submit(1, job(n, true), &reply));
        assert!(answers.blocking_recv().unwrap().text.is_err());
        assert_eq!(answers.blocking_recv().unwrap().text.unwrap(), "words");
    }

    #[test]
    fn a_session_with_a_long_queue_does_not_keep_another_waiting() {
        let (pool, gate, _) = gated();
        let (one, mut first) = mpsc::channel(16);
        let (two, mut second) = mpsc::channel(16);
        (0..8).for_each(|n| pool.submit(1, job(n, true), &one));
        pool.submit(2, job(100, true), &two);
        open(&gate, 3);
        assert_eq!(second.blocking_recv().unwrap().utterance, 100);
        assert!(first.len() <= 2, "session 1 had more than its turns");
        open(&gate, 6);
        let order: Vec<_> = (0..8).map(|_| first.blocking_recv().unwrap().utterance).collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
