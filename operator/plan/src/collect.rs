//! The collector: egresses of this installation whose session is gone or finished.

use crate::observed::Egress;

/// An egress and the session that its URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Session id of the URL.
    pub session: String,
    /// The egress.
    pub egress: Egress,
}

/// What is known of a session; a cache that is not complete must not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It runs, or is ending: its own plan looks after its egresses.
    Active,
    /// It has finished.
    Finished,
    /// There is no such resource.
    Gone,
}

/// Ids of the egresses to stop. `owned` holds only egresses whose URL carries this installation's own id.
pub fn orphans(owned: &[Owned], fate: impl Fn(&str) -> Fate) -> Vec<&str> {
    owned
        .iter()
        .filter(|owned| owned.egress.state.is_live() && fate(&owned.session) != Fate::Active)
        .map(|owned| owned.egress.id.as_str())
        .collect()
}
