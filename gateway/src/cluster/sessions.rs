//! The directory of sessions that the gateway asks, on Kubernetes.

use super::api::Server;
use super::cache::{Cache, Change};
use super::change::stopped;
use super::document::{self, Install};
use super::ends::Ends;
use super::watch;
use crate::sessions::{Answer, CreateSession, Created, Once, SessionDocument, Sessions, SessionsError};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::runtime::watcher::Event as Watched;
use roomscribe_crds::TranscriptionSession;
use roomscribe_transcript::Log;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;

/// Where sessions are, and whose.
#[derive(Debug, Clone)]
pub struct Place {
    /// Namespaces that are served; sessions are created in the first.
    pub namespaces: Vec<String>,
    /// The installation.
    pub install: Install,
    /// How long the log keeps transcripts.
    pub retention: Duration,
}

/// Sessions of a cluster. Its watches end with it.
pub struct ClusterSessions {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

/// What requests and watches share.
pub(super) struct Shared {
    pub(super) server: Server,
    pub(super) place: Place,
    pub(super) log: Log,
    cache: Mutex<Cache>,
    pub(super) changed: channel::Sender<()>,
    ends: Ends,
}

impl ClusterSessions {
    /// Begins to watch; [`Sessions::ready`] says when the first lists are complete.
    pub fn start(client: Client, place: Place, log: Log) -> Arc<Self> {
        let shared = Arc::new(Shared {
            server: Server::new(client),
            cache: Mutex::new(Cache::of(&place.namespaces)),
            changed: channel::Sender::new(()),
            ends: Ends::default(),
            place,
            log,
        });
        let mut tasks = JoinSet::new();
        for (index, namespace) in shared.place.namespaces.iter().enumerate() {
            tasks.spawn(watch::run(Arc::clone(&shared), index, namespace.clone()));
        }
        let ender = Arc::clone(&shared);
        tasks.spawn(async move { ender.ends.run(&ender.log).await });
        Arc::new(Self { shared, _tasks: tasks })
    }
}

impl Shared {
    /// What a watch has shown.
    pub(super) fn take(&self, watch: usize, event: Watched<TranscriptionSession>) {
        let changes = self.cache().take(watch, event);
        self.spread(changes);
    }

    /// What a call has answered: the watch will say the same, later.
    pub(super) fn put(&self, session: TranscriptionSession) {
        let change = self.cache().put(session);
        self.spread(change.into_iter().collect());
    }

    fn spread(&self, changes: Vec<Change>) {
        let oldest = Timestamp::now() - self.place.retention;
        for change in &changes {
            self.ends.take(change, oldest);
            if let Change::Gone(session) = change {
                let document = document::of_gone(session, &self.place.install, &Time(Timestamp::now()));
                self.cache().bury(document);
            }
        }
        self.changed.send_replace(());
    }

    pub(super) fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn namespace(&self) -> &str {
        self.place.namespaces.first().map_or("default", String::as_str)
    }

    pub(super) fn document(&self, session: &TranscriptionSession) -> SessionDocument {
        document::of(session, &self.place.install)
    }

    fn readiness(&self) -> Result<Vec<String>, SessionsError> {
        let (missing, away) = (self.cache().incomplete(), self.server.away_for());
        if !missing.is_empty() {
            return Err(SessionsError::Unavailable(format!(
                "the TranscriptionSessions of namespace {} are not listed yet: if this stays, look at the API server, the CRD and the gateway's Role (gateway/rbac.yaml)",
                missing.join(", ")
            )));
        }
        let limit = |away: Duration| {
            format!(
                "the Kubernetes API server has not answered for {} s: sessions can be read, not started or stopped",
                away.as_secs()
            )
        };
        Ok(away.map(limit).into_iter().collect())
    }
}

impl Sessions for ClusterSessions {
    fn create(&self, request: CreateSession) -> Answer<'_, Created> {
        Box::pin(self.shared.start(request, None))
    }

    fn create_once(&self, request: CreateSession, once: Once) -> Answer<'_, Created> {
        Box::pin(self.shared.start(request, Some(once)))
    }

    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument> {
        Box::pin(self.shared.find(key))
    }

    fn list(&self) -> Answer<'_, Vec<SessionDocument>> {
        Box::pin(async {
            let mut all = self.shared.cache().all();
            document::sort(&mut all);
            Ok(all.iter().map(|session| self.shared.document(session)).collect())
        })
    }

    fn ready(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async { self.shared.readiness() })
    }

    fn stop<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument> {
        Box::pin(self.shared.end(key, stopped()))
    }

    fn erase<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(self.shared.wipe(key))
    }

    fn rotate_ingest_key<'a>(&'a self, key: &'a str) -> Answer<'a, SessionDocument> {
        Box::pin(self.shared.rotate(key))
    }
}
