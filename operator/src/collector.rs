//! Once a minute: one unfiltered ListEgress per LiveKit project. It feeds the sessions, and stops what has outlived them.

use crate::cells::{Cell, lock};
use crate::context::Context;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use roomscribe_calls::Project;
use roomscribe_crds::TranscriptionSession;
use roomscribe_livekit::{ApiError, ErrorKind};
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
        tokio::time::sleep(PERIOD).await;
    }
}

/// What the log has said already: a trouble that lasts is said once.
#[derive(Default)]
struct Told {
    /// By project: why it cannot be listed.
    unlisted: HashMap<String, ErrorKind>,
    /// By project: egresses that are being stopped, and whether a stop has failed.
    strays: HashMap<String, HashMap<String, bool>>,
}

impl Told {
    fn unlisted(&mut self, key: &str, error: &ApiError) {
        if self.unlisted.insert(key.to_owned(), error.kind) == Some(error.kind) {
            return;
        }
        let livekit = url(key);
        let what = "egresses that have outlived their session cannot be looked for";
        match error.kind {
            ErrorKind::CredentialsRefused => {
                tracing::warn!(livekit, %error, "{what}: LiveKit refuses the key; mend apiKey and apiSecret of its Secret");
            }
            ErrorKind::Unreachable => {
                tracing::warn!(livekit, %error, "{what}: LiveKit does not answer; check its url and the way there");
            }
            _ => {
                tracing::warn!(livekit, %error, "{what}: LiveKit does not list them; it is asked every minute")
            }
        }
    }

    fn listed(&mut self, key: &str) {
        if self.unlisted.remove(key).is_some() {
            tracing::info!(livekit = url(key), "LiveKit lists its egresses again");
        }
    }

    /// Those that nobody has spoken of yet. Forgets those that are not there any more.
    fn news(&mut self, key: &str, orphans: &[&str]) -> HashSet<String> {
        let strays = self.strays.entry(key.to_owned()).or_default();
        strays.retain(|id, _| orphans.contains(&id.as_str()));
        let new: HashSet<_> =
            orphans.iter().filter(|id| !strays.contains_key(**id)).map(|id| (*id).to_owned()).collect();
        strays.extend(new.iter().map(|id| (id.clone(), false)));
        new
    }

    /// The first failure to stop this one.
    fn fails_first(&mut self, key: &str, id: &str) -> bool {
        let failed = self.strays.get_mut(key).and_then(|strays| strays.get_mut(id));
        failed.is_some_and(|failed| !std::mem::replace(failed, true))
    }
}

/// A project's key begins with its URL; the API key behind it is nobody's business.
fn url(key: &str) -> &str {
    key.split(' ').next().unwrap_or_default()
}

async fn collect(context: &Context, told: &mut Told, key: &str, project: &Project) {
    let (at, owned) = match project.all().await {
        Ok(listing) => listing,
        Err(error) => {
            told.unlisted(key, &error);
            return tell(context, key, &error);
        }
    };
    told.listed(key);
    let fates: HashMap<String, Fate> = context
        .sessions
        .all(|seen| Some((seen.facts.id.clone(), if seen.finished { Fate::Finished } else { Fate::Active })))
        .into_iter()
        .collect();
    let orphans = collect::orphans(&owned, |session| fates.get(session).copied().unwrap_or(Fate::Gone));
    for id in told.news(key, &orphans) {
        tracing::warn!(egress = id, "an egress has outlived its session and is stopped");
        context.metrics.egress_strays_stopped.inc();
    }
    for id in orphans {
        let stopped = project.stop(id).await;
        if let Err(error) = stopped
            && told.fails_first(key, id)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_egress_that_does_not_end_is_spoken_of_once_and_counted_once() {
        let mut told = Told::default();
        assert_eq!(told.news("p", &["EG_1"]), HashSet::from(["EG_1".to_owned()]));
        assert!(told.fails_first("p", "EG_1"));
        assert_eq!(told.news("p", &["EG_1"]), HashSet::new());
        assert!(!told.fails_first("p", "EG_1"));
        assert_eq!(told.news("p", &[]), HashSet::new());
        assert_eq!(told.news("p", &["EG_1"]).len(), 1);
    }

    #[test]
    fn a_project_is_named_by_its_url_alone() {
        assert_eq!(url("https://lk.example.com APIkey"), "https://lk.example.com");
    }
}
