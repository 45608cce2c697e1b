//! The resources as the watches show them, and for a while those that are gone. Pure.

use crate::sessions::SessionDocument;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use roomscribe_crds::TranscriptionSession;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Documents of resources that are gone; older ones are told from their logs.
const MAX_GONE: usize = 4096;

/// A resource, shared.
pub(super) type Session = Arc<TranscriptionSession>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Cache {
    by_uid: HashMap<String, Session>,
    by_name: HashMap<String, BTreeSet<String>>,
    /// What each watch has listed since its last beginning.
    listing: Vec<Listing>,
    gone: HashMap<String, SessionDocument>,
    gone_order: VecDeque<String>,
}

#[derive(Debug, Default, Clone)]
struct Listing {
    complete: bool,
    seen: HashSet<String>,
    namespace: String,
}

/// What a change means to others.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// It is there, or is another than before.
    Seen(Session),
    /// It is gone; as it was last.
    Gone(Session),
}

impl Cache {
    /// For one watch per namespace.
    pub(super) fn of(namespaces: &[String]) -> Self {
        let listing = |namespace: &String| Listing { namespace: namespace.clone(), ..Listing::default() };
        Self { listing: namespaces.iter().map(listing).collect(), ..Self::default() }
    }

    /// Takes a watch's event.
    pub(super) fn take(&mut self, watch: usize, event: Event<TranscriptionSession>) -> Vec<Change> {
        match event {
            Event::Init => {
                self.listing[watch].seen.clear();
                Vec::new()
            }
            Event::InitApply(session) => {
                self.listing[watch].seen.extend(session.uid());
                self.put(session).into_iter().collect()
            }
            Event::InitDone => self.listed(watch),
            Event::Apply(session) => self.put(session).into_iter().collect(),
            Event::Delete(session) => self.remove(&session.uid().unwrap_or_default()).into_iter().collect(),
        }
    }

    /// Takes what the API server has answered, unless the watch has shown something newer.
    pub(super) fn put(&mut self, mut session: TranscriptionSession) -> Option<Change> {
        let uid = session.uid()?;
        if self.by_uid.get(&uid).is_some_and(|held| version(held) > version(&session)) {
            return None;
        }
        // What nobody reads costs memory.
        session.managed_fields_mut().clear();
        self.by_name.entry(session.name_any()).or_default().insert(uid.clone());
        let session = Arc::new(session);
        self.by_uid.insert(uid, Arc::clone(&session));
        Some(Change::Seen(session))
    }

    fn listed(&mut self, watch: usize) -> Vec<Change> {
        let Listing { seen, namespace, .. } = std::mem::take(&mut self.listing[watch]);
        self.listing[watch] = Listing { complete: true, namespace: namespace.clone(), ..Listing::default() };
        let lost = |session: &&Session| session.namespace().as_deref() == Some(&namespace);
        let lost: Vec<String> = self
            .by_uid
            .values()
            .filter(lost)
            .filter_map(|session| session.uid())
            .filter(|uid| !seen.contains(uid))
            .collect();
        lost.iter().filter_map(|uid| self.remove(uid)).collect()
    }

    fn remove(&mut self, uid: &str) -> Option<Change> {
        let session = self.by_uid.remove(uid)?;
        if let Some(uids) = self.by_name.get_mut(&session.name_any()) {
            uids.remove(uid);
            if uids.is_empty() {
                self.by_name.remove(&session.name_any());
            }
        }
        Some(Change::Gone(session))
    }

    /// Keeps the last words of a resource that is gone.
    pub(super) fn bury(&mut self, document: SessionDocument) {
        if self.gone_order.len() >= MAX_GONE
            && let Some(oldest) = self.gone_order.pop_front()
        {
            self.gone.remove(&oldest);
        }
        self.gone_order.push_back(document.id.clone());
        self.gone.insert(document.id.clone(), document);
    }

    /// The resource with this uid.
    pub(super) fn by_uid(&self, uid: &str) -> Option<Session> {
        self.by_uid.get(uid).cloned()
    }

    /// The document of a resource that is gone.
    pub(super) fn gone(&self, uid: &str) -> Option<SessionDocument> {
        self.gone.get(uid).cloned()
    }

    /// All resources of this name.
    pub(super) fn by_name(&self, name: &str) -> Vec<Session> {
        let uids = self.by_name.get(name).into_iter().flatten();
        uids.filter_map(|uid| self.by_uid.get(uid).cloned()).collect()
    }

    /// All resources.
    pub(super) fn all(&self) -> Vec<Session> {
        self.by_uid.values().cloned().collect()
    }

    /// Namespaces whose first list is not complete.
    pub(super) fn incomplete(&self) -> Vec<String> {
        let missing = self.listing.iter().filter(|listing| !listing.complete);
        missing.map(|listing| listing.namespace.clone()).collect()
    }
}

/// Opaque by contract, a number in fact; where it is none, the newest call wins.
fn version(session: &TranscriptionSession) -> u64 {
    session.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomscribe_crds::TranscriptionSessionSpec;

    fn session(namespace: &str, name: &str, uid: &str, version: u32) -> TranscriptionSession {
        let mut session = TranscriptionSession::new(name, TranscriptionSessionSpec::for_room(name));
        session.metadata.namespace = Some(namespace.into());
        session.metadata.uid = Some(uid.into());
        session.metadata.resource_version = Some(version.to_string());
        session
    }

    fn names(cache: &Cache) -> BTreeSet<String> {
        cache.all().iter().map(|session| session.name_any()).collect()
    }

    #[test]
    fn a_new_list_removes_what_is_not_in_it_from_its_own_namespace_only() {
        let mut cache = Cache::of(&["a".into(), "b".into()]);
        assert_eq!(cache.incomplete(), ["a", "b"]);
        for (watch, namespace, name) in [(0, "a", "one"), (0, "a", "two"), (1, "b", "three")] {
            cache.take(watch, Event::InitApply(session(namespace, name, name, 1)));
        }
        assert_eq!(cache.take(0, Event::InitDone), []);
        assert_eq!(cache.incomplete(), ["b"]);
        cache.take(0, Event::Init);
        cache.take(0, Event::InitApply(session("a", "two", "two", 2)));
        let gone = cache.take(0, Event::InitDone);
        assert!(matches!(gone.as_slice(), [Change::Gone(session)] if session.name_any() == "one"));
        assert_eq!(names(&cache), BTreeSet::from(["three".into(), "two".into()]));
    }

    #[test]
    fn an_answer_that_is_older_than_what_the_watch_has_shown_changes_nothing() {
        let mut cache = Cache::of(&["a".into()]);
        cache.take(0, Event::Apply(session("a", "one", "u", 12)));
        assert_eq!(cache.put(session("a", "one", "u", 9)), None);
        assert!(cache.put(session("a", "one", "u", 13)).is_some());
    }

    #[test]
    fn a_name_used_again_and_one_in_two_namespaces_are_several_sessions() {
        let mut cache = Cache::of(&["a".into(), "b".into()]);
        cache.take(0, Event::Apply(session("a", "one", "u1", 1)));
        cache.take(1, Event::Apply(session("b", "one", "u2", 2)));
        assert_eq!(cache.by_name("one").len(), 2);
        cache.take(0, Event::Delete(session("a", "one", "u1", 3)));
        cache.take(0, Event::Apply(session("a", "one", "u3", 4)));
        let uids: BTreeSet<_> = cache.by_name("one").iter().filter_map(|session| session.uid()).collect();
        assert_eq!(uids, BTreeSet::from(["u2".into(), "u3".into()]));
    }
}
