//! What a session costs on a real node with real pods, and how many fit: `make scale` measures it and writes
//! docs/scale.json and the tables of docs/scale.md. Nothing here is asserted but that sessions come up.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

#[path = "../e2e/cluster.rs"]
#[allow(dead_code, reason = "the end-to-end tests use all of it")]
mod cluster;
mod crowd;
mod installation;
mod report;
mod servers;
mod steps;
mod tables;
#[path = "../e2e/transcript.rs"]
#[allow(dead_code, reason = "the end-to-end tests use all of it")]
mod transcript;
mod usage;
#[path = "../e2e/viewers.rs"]
#[allow(dead_code, reason = "the end-to-end tests use all of it")]
mod viewers;
#[path = "../e2e/world.rs"]
#[allow(dead_code, reason = "the end-to-end tests use all of it")]
mod world;

use cluster::given;
use installation::Installation;
use report::{Batch, Fit, Results, Start};
use serde_json::{Value, json};
use std::time::Duration;
use steps::{Spread, Step};

/// Sessions that start one after another.
const SINGLE: usize = 10;
/// Sessions that are added at a time until no more fit.
const BATCH: usize = 10;
/// Sessions with many viewers, and how many each has.
const WATCHED: usize = 10;
const AUDIENCE: usize = 10;
/// For a batch to be Ready.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make scale"]
async fn what_a_session_costs_on_one_node_and_how_many_fit() {
    let count = given("N").map_or(30, |count| count.parse().unwrap());
    let window = Duration::from_secs(given("WINDOW").map_or(90, |seconds| seconds.parse().unwrap()));
    let installation = Installation::start().await.unwrap();
    let mut results = Results::begin(count);
    results.windows.push(installation.look("no session", 0, None, window).await.unwrap());
    results.starts.push(one_at_a_time(&installation).await);
    let sessions = burst(&installation, count, &mut results).await;
    at_rest_and_watched(&installation, &sessions, window, &mut results).await;
    results.objects = servers::objects(&installation.client, sessions.len()).await.unwrap();
    let mut total = fill(&installation, "default", None, sessions, window, &mut results).await;
    let least = json!({"cpu": "0", "memory": "4Mi"});
    total = fill(&installation, "least", Some(least), total, window, &mut results).await;
    eprintln!("{} sessions run at the end", total.len());
    results.write().unwrap();
}

/// As somebody who waits for each sees it.
async fn one_at_a_time(installation: &Installation) -> Start {
    let mut all = Vec::new();
    for number in 0..SINGLE {
        let names = installation.begin(&format!("single{number}"), 1, None, true).await.unwrap();
        assert!(installation.until(&names, Step::FirstWord, PATIENCE).await, "{names:?} says nothing");
        all.extend(names);
    }
    installation.ask_for_first_audio(&all).await.unwrap();
    let rows = installation.steps.rows(&all);
    let seconds_to_gone = installation.end(&all).await.unwrap();
    Start { name: "one at a time".into(), sessions: SINGLE, rows, seconds_to_gone: Some(seconds_to_gone) }
}

/// All at once.
async fn burst(installation: &Installation, count: usize, results: &mut Results) -> Vec<String> {
    let before = installation.reading().await.unwrap();
    let names = installation.begin("burst", count, None, true).await.unwrap();
    assert!(installation.until(&names, Step::FirstWord, PATIENCE).await, "some of the burst say nothing");
    let after = installation.reading().await.unwrap();
    results.windows.push(after.since(&before, "the burst", count, None));
    installation.ask_for_first_audio(&names).await.unwrap();
    let rows = installation.steps.rows(&names);
    results.starts.push(Start { name: "all at once".into(), sessions: count, rows, seconds_to_gone: None });
    installation.nobody_watches();
    names
}

async fn at_rest_and_watched(
    installation: &Installation,
    sessions: &[String],
    window: Duration,
    results: &mut Results,
) {
    let count = sessions.len();
    results.windows.push(installation.look("at rest", count, None, window).await.unwrap());
    let viewers = installation.viewers(sessions, 1).await.unwrap();
    results.windows.push(installation.look("1 viewer each", count, Some(&viewers), window).await.unwrap());
    drop(viewers);
    let few = &sessions[..WATCHED.min(count)];
    for (audience, name) in [(1, "1 viewer at each of a few"), (AUDIENCE, "10 viewers at each of a few")] {
        let viewers = installation.viewers(few, audience).await.unwrap();
        results.windows.push(installation.look(name, count, Some(&viewers), window).await.unwrap());
    }
}

/// Adds sessions until the node takes no more; returns those that run.
async fn fill(
    installation: &Installation,
    name: &str,
    requests: Option<Value>,
    mut running: Vec<String>,
    window: Duration,
    results: &mut Results,
) -> Vec<String> {
    let mut fit = Fit { requests: name.into(), batches: Vec::new(), sessions: 0, ended: String::new() };
    while fit.ended.is_empty() {
        let prefix = format!("{name}{}", running.len());
        let before = installation.reading().await.unwrap();
        let names = installation.begin(&prefix, BATCH, requests.as_ref(), false).await.unwrap();
        let steps = &installation.steps;
        let settled = || steps.count(&names, Step::Ready) + steps.refusals(&names).len() >= BATCH;
        let is_settled = steps.until(PATIENCE, settled).await;
        let usage = installation.reading().await.unwrap().since(&before, "", 0, None).usage;
        let (up, rest): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| steps.has_come(name, Step::Ready));
        let rows = steps.rows(&up);
        let ready = rows.iter().find(|row| row.step == Step::Ready).map(|row| row.since_apply);
        running.extend(up);
        let cores = usage.machine_cpu_seconds / usage.seconds;
        fit.batches.push(batch(running.len(), ready, cores));
        eprintln!("{:?}", fit.batches.last());
        fit.ended = match steps.refusals(&rest).into_iter().next() {
            Some(why) => why,
            None if !is_settled => installation.why_not_ready(&rest).await.unwrap(),
            None => continue,
        };
        installation.end(&rest).await.unwrap();
    }
    fit.sessions = running.len();
    let viewers = installation.viewers(&running, 1).await.unwrap();
    let full = format!("full, {name} requests");
    results.windows.push(installation.look(&full, running.len(), Some(&viewers), window).await.unwrap());
    results.fits.push(fit);
    running
}

fn batch(sessions: usize, seconds_to_ready: Option<Spread>, busy_cores: f64) -> Batch {
    Batch { sessions, seconds_to_ready, busy_cores }
}
