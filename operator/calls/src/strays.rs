//! What the log says of egresses that have outlived their session: each once, and once more when it cannot be stopped. Pure.

use std::collections::{HashMap, HashSet};

/// Egresses that are being stopped, and whether a stop has failed.
#[derive(Debug, Default)]
pub struct Strays(HashMap<String, bool>);

impl Strays {
    /// Those that nobody has spoken of yet. Forgets those that are not there any more.
    pub fn news(&mut self, orphans: &[&str]) -> HashSet<String> {
        self.0.retain(|id, _| orphans.contains(&id.as_str()));
        let new: HashSet<_> =
            orphans.iter().filter(|id| !self.0.contains_key(**id)).map(|id| (*id).to_owned()).collect();
        self.0.extend(new.iter().map(|id| (id.clone(), false)));
        new
    }

    /// The first failure to stop this one.
    pub fn fails_first(&mut self, id: &str) -> bool {
        self.0.get_mut(id).is_some_and(|failed| !std::mem::replace(failed, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_egress_that_does_not_end_is_spoken_of_once_and_counted_once() {
        let mut strays = Strays::default();
        assert_eq!(strays.news(&["EG_1"]), HashSet::from(["EG_1".to_owned()]));
        assert!(strays.fails_first("EG_1"));
        assert_eq!(strays.news(&["EG_1"]), HashSet::new());
        assert!(!strays.fails_first("EG_1"));
        assert_eq!(strays.news(&[]), HashSet::new());
        assert_eq!(strays.news(&["EG_1"]).len(), 1);
    }
}
