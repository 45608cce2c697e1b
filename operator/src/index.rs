//! What a watch has shown, by the session that owns it: small facts instead of whole objects.

use kube::runtime::watcher::Event;
use roomscribe_plan::Known;
use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};

/// Where an object belongs, and what is kept of it.
pub struct Entry<T> {
    /// Uid of the owner (for sessions: their own).
    pub owner: String,
    /// The object's name.
    pub name: String,
    /// What is kept.
    pub fact: T,
}

type Owned<T> = HashMap<String, BTreeMap<String, T>>;

/// One watch.
struct Scope<T> {
    owned: Owned<T>,
    /// A list that is being read again: it replaces the old one when it is complete.
    coming: Option<Owned<T>>,
    complete: bool,
}

/// Facts by owner, from one watch or several. Until all first lists are complete nothing is known, which is not the same as
/// nothing being there.
pub struct Index<T>(RwLock<Vec<Scope<T>>>);

impl<T: Clone> Index<T> {
    /// For so many watches.
    pub fn of_watches(count: usize) -> Self {
        let scope = || Scope { owned: HashMap::new(), coming: None, complete: false };
        Self(RwLock::new(std::iter::repeat_with(scope).take(count).collect()))
    }

    /// Takes one event of a watch. `of` is `None` for objects of nobody.
    pub fn take<K>(&self, watch: usize, event: &Event<K>, of: impl Fn(&K) -> Option<Entry<T>>) {
        let mut scopes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(inner) = scopes.get_mut(watch) else { return };
        match event {
            Event::Init => inner.coming = Some(HashMap::new()),
            Event::InitApply(object) => {
                if let (Some(entry), Some(coming)) = (of(object), inner.coming.as_mut()) {
                    put(coming, entry);
                }
            }
            Event::InitDone => {
                if let Some(coming) = inner.coming.take() {
                    (inner.owned, inner.complete) = (coming, true);
                }
            }
            Event::Apply(object) => {
                if let Some(entry) = of(object) {
                    put(&mut inner.owned, entry);
                }
            }
            Event::Delete(object) => {
                if let Some(entry) = of(object) {
                    remove(&mut inner.owned, &entry);
                }
            }
        }
    }

    /// Facts of one owner, by name.
    pub fn of(&self, owner: &str) -> Known<Vec<T>> {
        let scopes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if !scopes.iter().all(|scope| scope.complete) {
            return Known::Unknown;
        }
        let facts = scopes.iter().find_map(|scope| scope.owned.get(owner));
        Known::Known(facts.map(|facts| facts.values().cloned().collect()).unwrap_or_default())
    }

    /// What `keep` makes of every fact.
    pub fn all<U>(&self, mut keep: impl FnMut(&T) -> Option<U>) -> Vec<U> {
        let scopes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let facts = scopes.iter().flat_map(|scope| scope.owned.values()).flat_map(BTreeMap::values);
        facts.filter_map(&mut keep).collect()
    }

    /// All first lists are there.
    pub fn is_complete(&self) -> bool {
        let scopes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        scopes.iter().all(|scope| scope.complete)
    }
}

fn put<T>(owned: &mut Owned<T>, entry: Entry<T>) {
    owned.entry(entry.owner).or_default().insert(entry.name, entry.fact);
}

fn remove<T>(owned: &mut Owned<T>, entry: &Entry<T>) {
    if let Some(facts) = owned.get_mut(&entry.owner) {
        facts.remove(&entry.name);
        if facts.is_empty() {
            owned.remove(&entry.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &&str) -> Option<Entry<String>> {
        let (owner, name) = text.split_once('/')?;
        Some(Entry { owner: owner.into(), name: name.into(), fact: (*text).into() })
    }

    fn index(events: &[Event<&str>]) -> Index<String> {
        let index = Index::of_watches(1);
        for event in events {
            index.take(0, event, entry);
        }
        index
    }

    #[test]
    fn before_the_first_list_is_complete_nothing_is_known() {
        let index = index(&[Event::Init, Event::InitApply("a/1")]);
        assert_eq!(index.of("a"), Known::Unknown);
        index.take(0, &Event::InitDone, entry);
        assert_eq!(index.of("a"), Known::Known(vec!["a/1".into()]));
        assert_eq!(index.of("b"), Known::Known(vec![]));
    }

    #[test]
    fn a_list_that_is_read_again_drops_what_is_no_longer_in_it_and_never_flickers() {
        let index = index(&[Event::Init, Event::InitApply("a/1"), Event::InitApply("b/1"), Event::InitDone]);
        for event in [Event::Init, Event::InitApply("b/1")] {
            index.take(0, &event, entry);
            assert_eq!(index.of("a"), Known::Known(vec!["a/1".into()]));
        }
        index.take(0, &Event::InitDone, entry);
        assert_eq!((index.of("a"), index.of("b")), (Known::Known(vec![]), Known::Known(vec!["b/1".into()])));
    }

    #[test]
    fn what_is_deleted_is_gone_and_strangers_are_never_kept() {
        let index = index(&[Event::Init, Event::InitDone, Event::Apply("a/1"), Event::Apply("stranger")]);
        index.take(0, &Event::Delete("a/1"), entry);
        assert_eq!(index.all(|fact| Some(fact.clone())), Vec::<String>::new());
    }

    #[test]
    fn a_watch_that_begins_again_leaves_what_another_has_shown() {
        let index = Index::of_watches(2);
        for (watch, event) in
            [(0, Event::Init), (0, Event::InitApply("a/1")), (0, Event::InitDone), (1, Event::Init)]
        {
            index.take(watch, &event, entry);
        }
        assert_eq!(index.of("a"), Known::Unknown);
        for event in [Event::InitApply("b/1"), Event::InitDone, Event::Init, Event::InitDone] {
            index.take(1, &event, entry);
        }
        assert_eq!((index.of("a"), index.of("b")), (Known::Known(vec!["a/1".into()]), Known::Known(vec![])));
    }
}
