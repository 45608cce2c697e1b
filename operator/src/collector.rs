//! Once a minute, and with new keys at once: one unfiltered ListEgress per LiveKit project. It feeds the sessions, and stops what has outlived them.

use crate::cells::{Cell, lock};
use crate::context::Context;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use roomscribe_calls::{Project, Strays};
use roomscribe_crds::TranscriptionSession;
use roomscribe_livekit::ApiError;
use roomscribe_plan::collect::{self, Fate, Owned};
use roomscribe_plan::{Egress, Listing};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(60);
/// The first look comes soon: an operator that has just become the leader does not know what the last one left.
const FIRST: Duration = Duration::from_secs(2);

/// Runs for ever.
pub async fn run(context: Arc<Context>) {
    let mut told = Told::default();
    tokio::time::sleep(FIRST).await;
    loop {
        if context.sessions.is_complete() {
            for (key, project) in context.vault.projects() {
                collect(&context, &mut told, &key, &project).await;
            }
            let alive: HashSet<String> =
                context.sessions.all(|seen| Some(seen.facts.id.clone())).into_iter().collect();
            context.cells.retain(|uid| alive.contains(uid));
            lock(&context.begun).retain(|uid| alive.contains(uid));
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            // Sessions whose key was refused wait for nothing else. First each finds out that there is another one.
            () = context.renewed.notified() => tokio::time::sleep(FIRST).await,
        }
    }
}

/// By project: egresses that are being stopped.
type Told = HashMap<String, Strays>;

async fn collect(context: &Context, told: &mut Told, key: &str, project: &Project) {
    let (at, owned) = match project.all().await {
        Ok(listing) => listing,
        Err(error) => return tell(context, key, &error),
    };
    let fates: HashMap<String, Fate> = context
        .sessions
        .all(|seen| Some((seen.facts.id.clone(), if seen.finished { Fate::Finished } else { Fate::Active })))
        .into_iter()
        .collect();
    let orphans = collect::orphans(&owned, |session| fates.get(session).copied().unwrap_or(Fate::Gone));
    let strays = told.entry(key.to_owned()).or_default();
    for id in strays.news(&orphans) {
        tracing::warn!(egress = id, "an egress has outlived its session and is stopped");
        context.metrics.egress_strays_stopped.inc();
    }
    for id in orphans {
        let stopped = project.stop(id).await;
        if let Err(error) = stopped
            && strays.fails_first(id)
        {
            tracing::warn!(egress = id, %error, "LiveKit does not stop this egress; it is asked every minute. One whose machine has died stays in LiveKit's list, and sends nothing");
        }
    }
    feed(context, key, at, owned);
}

/// Sessions that run ask LiveKit nothing: this is how they learn that it does not answer.
fn tell(context: &Context, key: &str, error: &ApiError) {
    for Open { object, cell, .. } in open(context, key) {
        if cell.desk.unlisted(error) {
            context.wakes.wake(object);
        }
    }
}

/// A session of a project that has not finished.
struct Open {
    id: String,
    object: ObjectRef<TranscriptionSession>,
    cell: Arc<Cell>,
}

fn open(context: &Context, key: &str) -> Vec<Open> {
    let is_of = |cell: &Cell| lock(&cell.found).as_ref().is_some_and(|(_, found)| found.project_key == key);
    context.sessions.all(|seen| {
        let id = seen.facts.id.clone();
        let cell = context.cells.find(&id).filter(|cell| !seen.finished && is_of(cell))?;
        Some(Open { id, object: seen.object.clone(), cell })
    })
}

/// A session of this project without an egress in the list has none.
fn feed(context: &Context, key: &str, at: Timestamp, owned: Vec<Owned>) {
    let mut by_session: HashMap<String, Vec<Egress>> = HashMap::new();
    for Owned { session, egress } in owned {
        by_session.entry(session).or_default().push(egress);
    }
    for Open { id, object, cell } in open(context, key) {
        let egresses = by_session.remove(&id).unwrap_or_default();
        let (livekit, _) = cell.desk.observed();
        let before = livekit.egresses.get().map(|listing| &listing.egresses);
        let news = before != Some(&egresses) || livekit.error.is_some();
        cell.desk.listed(Listing { at, egresses });
        if news {
            context.wakes.wake(object);
        }
    }
}
