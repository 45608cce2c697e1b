//! Why a call failed. The HTTP status is always kept when there was one.

use std::fmt;

/// What a failure means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// 401 or 403: key, secret or grant. Somebody must mend the credentials.
    CredentialsRefused,
    /// 404: no such room or egress.
    NotFound,
    /// 400, 409, 412, 501 and other 4xx: this request can never work.
    Refused,
    /// 429, or 503 from the SFU ("no response from servers"): no egress worker has room.
    NoCapacity,
    /// 408, other 5xx, no answer, or an answer that is not LiveKit's: it may have happened all the same.
    Unknown,
    /// The connection could not be made: nothing happened.
    Unreachable,
}

impl ErrorKind {
    /// For metrics.
    pub const fn metric_label(self) -> &'static str {
        match self {
            Self::CredentialsRefused => "credentials_refused",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::NoCapacity => "no_capacity",
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
        }
    }

    /// Surely nothing was started.
    pub const fn is_definite_no(self) -> bool {
        matches!(self, Self::CredentialsRefused | Self::NotFound | Self::Refused | Self::Unreachable)
    }
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// What it means.
    pub kind: ErrorKind,
    /// HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// Twirp's code word; empty when the answer was not Twirp's.
    pub code: String,
    /// LiveKit's words, without stream keys and tokens.
    pub message: String,
}

impl ApiError {
    /// LiveKit itself works, and found nobody who looks after what was asked about: Twirp's `deadline_exceeded` (408, "request
    /// timed out"), which StopEgress answers after 3 s for an egress whose machine has died while the list still says ACTIVE.
    pub fn is_unattended(&self) -> bool {
        self.status == Some(408) && self.code == "deadline_exceeded"
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, self.code.is_empty()) {
            (Some(status), false) => write!(f, "LiveKit answered {status} {}: {}", self.code, self.message),
            (Some(status), true) => write!(f, "LiveKit answered {status}: {}", self.message),
            (None, _) => write!(f, "LiveKit did not answer: {}", self.message),
        }
    }
}

impl std::error::Error for ApiError {}

/// The meaning of an HTTP status of the Twirp API (livekit `pkg/service/auth.go`, twirp's status table).
pub(crate) fn kind(status: u16, is_twirp: bool) -> ErrorKind {
    match status {
        401 | 403 => ErrorKind::CredentialsRefused,
        404 if is_twirp => ErrorKind::NotFound,
        429 => ErrorKind::NoCapacity,
        503 if is_twirp => ErrorKind::NoCapacity,
        408 | 500..=599 => ErrorKind::Unknown,
        // A 404 that is not Twirp's comes from something else at that address: the URL is wrong.
        400..=499 => ErrorKind::Refused,
        _ => ErrorKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_is_never_mistaken_for_the_network() {
        for is_twirp in [true, false] {
            assert_eq!(kind(401, is_twirp), ErrorKind::CredentialsRefused);
            assert_eq!(kind(403, is_twirp), ErrorKind::CredentialsRefused);
        }
    }

    #[test]
    fn a_proxy_s_page_says_nothing_about_the_start() {
        assert_eq!(kind(502, false), ErrorKind::Unknown);
        assert_eq!(kind(503, false), ErrorKind::Unknown);
        assert_eq!(kind(504, false), ErrorKind::Unknown);
    }

    #[test]
    fn the_sfu_s_own_503_is_a_lack_of_egress_workers() {
        assert_eq!(kind(503, true), ErrorKind::NoCapacity);
    }

    #[test]
    fn a_time_out_may_have_started_something() {
        assert!(!kind(408, true).is_definite_no());
        assert!(kind(404, true).is_definite_no());
        assert!(kind(412, true).is_definite_no());
    }
}
