//! Every worker is asked by one held long poll (contract §6): nothing is asked twice, and nothing is written for it.

use crate::observe::{self, StatusJson};
use k8s_openapi::jiff::Timestamp;
use roomscribe_plan::{Hearing, WorkerReport};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tracing::Instrument;

/// How long the worker may hold its answer.
const WAIT_SECONDS: u64 = 30;
const DEADLINE: Duration = Duration::from_secs(40);
/// A worker that does not take its end by then gets it from the gateway, later.
const STOP_DEADLINE: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// So many failures in a row, and what was known is not known any more.
const PATIENCE: u32 = 3;

/// A pod that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Uid of the pod.
    pub pod_uid: String,
    /// Its name.
    pub pod: String,
    /// `IP:PORT` of its status page.
    pub address: String,
}

struct Poll {
    target: Target,
    task: JoinHandle<()>,
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The polls of one session; they end with this value.
#[derive(Default)]
pub struct Polls {
    running: Mutex<Vec<Poll>>,
    heard: Arc<Mutex<HashMap<String, WorkerReport>>>,
}

impl Polls {
    /// Polls exactly these pods from now on. `changed` is called when a report has.
    pub fn follow(&self, http: &reqwest::Client, targets: &[Target], changed: &Arc<dyn Fn() + Send + Sync>) {
        let mut running = lock(&self.running);
        running.retain(|poll| targets.contains(&poll.target) && !poll.task.is_finished());
        lock(&self.heard).retain(|uid, _| targets.iter().any(|target| target.pod_uid == *uid));
        for target in targets {
            if running.iter().all(|poll| poll.target != *target) {
                let (http, target) = (http.clone(), target.clone());
                let polling = poll(http, target.clone(), self.heard.clone(), changed.clone());
                let task = tokio::spawn(polling.in_current_span());
                running.push(Poll { target, task });
            }
        }
    }

    /// The worker that hears the highest attempt; else the one of the newest pod (`targets` has it last).
    pub fn report(&self, targets: &[Target]) -> Option<WorkerReport> {
        let heard = lock(&self.heard);
        let attempt = |report: &WorkerReport| match report.hearing {
            Hearing::Nobody => None,
            Hearing::Publishing(attempt) | Hearing::Silent(attempt) => Some(attempt),
        };
        let newest = targets.iter().rev().find_map(|target| heard.get(&target.pod_uid));
        heard
            .values()
            .filter(|report| attempt(report).is_some())
            .max_by_key(|report| attempt(report))
            .or(newest)
            .cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn poll(
    http: reqwest::Client,
    target: Target,
    heard: Arc<Mutex<HashMap<String, WorkerReport>>>,
    changed: Arc<dyn Fn() + Send + Sync>,
) {
    let (mut since, mut failures, mut pause) = (None, 0, FIRST_PAUSE);
    loop {
        match ask(&http, &target, since).await {
            Ok(status) => {
                let before = since.replace(status.version);
                (failures, pause) = (0, FIRST_PAUSE);
                lock(&heard)
                    .insert(target.pod_uid.clone(), observe::report(&target.pod, &status, Timestamp::now()));
                // The version rises with what decisions rest on, not with counters.
                if before != since {
                    changed();
                }
            }
            Err(error) => {
                failures += 1;
                if failures == PATIENCE {
                    tracing::info!(pod = target.pod, %error, "a worker's status page does not answer");
                    if lock(&heard).remove(&target.pod_uid).is_some() {
                        changed();
                    }
                    since = None;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Tells the worker at `address` to hear its session out and to append `end` with this reason; it does so after it has
/// answered. Asked once.
///
/// # Errors
/// Why it did not take the order, without the token.
pub async fn stop(http: &reqwest::Client, address: &str, token: &str, reason: &str) -> Result<(), String> {
    let url = format!("http://{address}/stop?reason={reason}");
    let sent = http.post(url).bearer_auth(token).timeout(STOP_DEADLINE).send().await;
    let answer = sent.map_err(|error| error.without_url().to_string())?;
    match answer.status().as_u16() {
        202 => Ok(()),
        status => Err(format!("it answered {status}")),
    }
}

async fn ask(http: &reqwest::Client, target: &Target, since: Option<u64>) -> Result<StatusJson, String> {
    let wait = since.map_or_else(String::new, |since| format!("?since={since}&waitSeconds={WAIT_SECONDS}"));
    let url = format!("http://{}/status{wait}", target.address);
    let answer =
        http.get(url).timeout(DEADLINE).send().await.map_err(|error| error.without_url().to_string())?;
    let answer = answer.error_for_status().map_err(|error| error.without_url().to_string())?;
    // Bounded by the deadline; the page is one small object.
    let bytes = answer.bytes().await.map_err(|error| error.without_url().to_string())?;
    StatusJson::parse(&bytes).map_err(|error| error.to_string())
}
