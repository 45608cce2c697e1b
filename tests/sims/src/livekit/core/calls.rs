//! What a call gives: a message or a Twirp error, when, and whether the answer arrives.

use std::time::Duration;

/// A Twirp error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Twirp's code word.
    pub code: &'static str,
    /// LiveKit's text.
    pub message: String,
}

impl Failure {
    /// An error of a code.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn no_room() -> Self {
        Self::new("not_found", "twirp error unknown: requested room does not exist")
    }

    pub(super) fn no_egress() -> Self {
        Self::new("not_found", "twirp error unknown: egress does not exist")
    }

    /// HTTP status of the code (Twirp's specification, version 7).
    pub fn status(&self) -> u16 {
        match self.code {
            "invalid_argument" | "malformed" | "out_of_range" => 400,
            "unauthenticated" => 401,
            "permission_denied" => 403,
            "not_found" | "bad_route" => 404,
            "canceled" | "deadline_exceeded" => 408,
            "already_exists" | "aborted" => 409,
            "failed_precondition" => 412,
            "resource_exhausted" => 429,
            "unimplemented" => 501,
            "unavailable" => 503,
            _ => 500,
        }
    }
}

/// What a call gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<M> {
    /// When, after the call.
    pub after: Duration,
    /// What.
    pub kind: ReplyKind<M>,
}

/// See [`Reply`].
#[derive(Debug, Clone, PartialEq)]
pub enum ReplyKind<M> {
    /// 200.
    Message(M),
    /// An error.
    Failure(Failure),
    /// It happened, but the answer never arrives.
    Lost,
}

impl<M> Reply<M> {
    pub(super) fn ok(message: M) -> Self {
        Self { after: Duration::ZERO, kind: ReplyKind::Message(message) }
    }

    pub(super) fn fail(failure: Failure) -> Self {
        Self { after: Duration::ZERO, kind: ReplyKind::Failure(failure) }
    }

    pub(super) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}
