//! Who asks, and what they may do. Pure: tokens and the wall time go in, a grant comes out.

mod jwks;
mod jwt;
mod keys;
mod lease;
mod ticket;

pub use jwks::KeySet;
pub(crate) use lease::{Lease, LeaseStep};

use crate::config::{Auth, Secret};
use crate::problem::Problem;

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Who; part of the key of idempotent requests.
    pub(crate) subject: String,
    pub(crate) reach: Reach,
    pub(crate) scopes: Scopes,
    /// Unix seconds; `None` = as long as the key is configured.
    pub(crate) expires: Option<u64>,
}

/// Which sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    All,
    Session(String),
    Room(String),
}

/// What may be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scopes {
    pub(crate) read: bool,
    pub(crate) control: bool,
}

impl Scopes {
    const ALL: Self = Self { read: true, control: true };

    /// Parses the claim: words with spaces between. Words that other parts of the system use are passed over.
    fn parse(claim: &str) -> Self {
        let has = |word| claim.split_ascii_whitespace().any(|w| w == word);
        Self { read: has("read"), control: has("control") }
    }
}

/// A scope that a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Read,
    Control,
}

impl Grant {
    fn everything(subject: String) -> Self {
        Self { subject, reach: Reach::All, scopes: Scopes::ALL, expires: None }
    }

    pub(crate) fn reaches(&self, id: &str, room: &str) -> bool {
        match &self.reach {
            Reach::All => true,
            Reach::Session(sid) => sid == id,
            Reach::Room(name) => name == room,
        }
    }

    pub(crate) fn has(&self, need: Need) -> bool {
        match need {
            Need::Read => self.scopes.read,
            Need::Control => self.scopes.control,
        }
    }

    /// Refuses when the scope or the session is not this token's.
    pub(crate) fn check(&self, need: Need, id: &str, room: &str) -> Result<(), Problem> {
        self.check_scope(need)?;
        match self.reaches(id, room) {
            true => Ok(()),
            false => Err(Problem::forbidden("This token is for another session.")),
        }
    }

    pub(crate) fn check_scope(&self, need: Need) -> Result<(), Problem> {
        match (self.has(need), need) {
            (true, _) => Ok(()),
            (false, Need::Read) => Err(Problem::forbidden("This token lacks the scope \"read\".")),
            (false, Need::Control) => Err(Problem::forbidden("This token lacks the scope \"control\".")),
        }
    }
}

/// Why a token is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("A bearer token is needed: an API key, a viewer's JWT, or a ticket.")]
    Missing,
    #[error("The token is not one of ours.")]
    Unknown,
    #[error("The token has expired: get a new one.")]
    Expired,
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::unauthorized(&refused.to_string())
    }
}

/// Checks tokens against the settings.
pub(crate) struct Gatekeeper {
    open: bool,
    keys: keys::ApiKeys,
    jwt: jwt::Viewers,
    tickets: ticket::Tickets,
}

/// A ticket's life in seconds (contract §3).
pub(crate) const TICKET_SECONDS: u64 = 60;
/// Bytes of the viewers' secret at least; a shorter one opens nothing.
const JWT_SECRET_BYTES: usize = 32;
/// Clocks may differ by this many seconds.
pub(crate) const LEEWAY_SECONDS: u64 = 30;

impl Gatekeeper {
    pub(crate) fn new(auth: &Auth, jwks: Option<KeySet>) -> Self {
        let (open, keys, jwt) = match auth {
            Auth::Open => (true, [].as_slice(), None),
            Auth::Required { api_keys, jwt_secret } => (false, api_keys.as_slice(), jwt_secret.as_ref()),
        };
        // RFC 7518 §3.2: a shorter one can be guessed from any token that was seen.
        let jwt = jwt.filter(|secret| secret.expose().len() >= JWT_SECRET_BYTES);
        // A secret that all replicas share makes a ticket of one good at every other.
        let root = jwt.or_else(|| keys.first()).map(Secret::expose);
        Self {
            open,
            keys: keys::ApiKeys::new(keys),
            jwt: jwt::Viewers::new(jwt.map(Secret::expose), jwks),
            tickets: ticket::Tickets::new(root),
        }
    }

    /// Everybody may do everything.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// What a bearer token allows at wall time `now` (Unix seconds).
    pub(crate) fn bearer(&self, token: Option<&str>, now: u64) -> Result<Grant, Refused> {
        if self.open {
            return Ok(Grant::everything("open".into()));
        }
        let token = token.ok_or(Refused::Missing)?;
        if let Some(subject) = self.keys.find(token) {
            return Ok(Grant::everything(subject));
        }
        self.jwt.check(token, now)
    }

    /// What a ticket allows.
    pub(crate) fn ticket(&self, ticket: &str, now: u64) -> Result<Grant, Refused> {
        self.tickets.check(ticket, now)
    }

    /// A ticket for one session, made from a grant that may read it; and when it expires (Unix seconds).
    pub(crate) fn issue(&self, grant: &Grant, session: &str, now: u64) -> (String, u64) {
        self.tickets.issue(grant, session, now)
    }
}

#[cfg(test)]
mod tests;
