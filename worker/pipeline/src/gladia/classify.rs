//! What a refusal means and who must act.

/// Three ways to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Trying again cannot help until somebody changes key or options.
    FatalConfiguration(&'static str),
    /// The account's limit: try later, say so.
    Quota,
    /// Try again.
    TryAgain,
}

/// An HTTP status of `POST /v2/live`, or of a refused upgrade.
pub fn http(status: u16) -> Failure {
    match status {
        401 | 403 => Failure::FatalConfiguration("CredentialsRejected"),
        402 | 429 => Failure::Quota,
        408 | 425 | 500..=599 => Failure::TryAgain,
        400..=499 => Failure::FatalConfiguration("SpeechOptionsRejected"),
        _ => Failure::TryAgain,
    }
}

/// What to do after a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterClose {
    /// Connect again to the same URL.
    Resume,
    /// The session is over or unusable: ask for a new one.
    NewSession,
}

/// A close code, or the HTTP status of a refused upgrade. 44xx and 1000 end the session; after repeated 1009 the
/// upgrade answers 403 and the session is lost (gladiaio/sdk 7108324).
pub fn close(code: Option<u16>, http_status: Option<u16>) -> AfterClose {
    match (code, http_status) {
        (_, Some(408 | 425 | 429)) => AfterClose::Resume,
        (Some(1000 | 4400..=4499), _) | (_, Some(400..=499)) => AfterClose::NewSession,
        _ => AfterClose::Resume,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_of_three_meanings() {
        let table = [
            (400, Failure::FatalConfiguration("SpeechOptionsRejected")),
            (401, Failure::FatalConfiguration("CredentialsRejected")),
            (402, Failure::Quota),
            (403, Failure::FatalConfiguration("CredentialsRejected")),
            (404, Failure::FatalConfiguration("SpeechOptionsRejected")),
            (408, Failure::TryAgain),
            (422, Failure::FatalConfiguration("SpeechOptionsRejected")),
            (429, Failure::Quota),
            (500, Failure::TryAgain),
            (503, Failure::TryAgain),
        ];
        for (status, expected) in table {
            assert_eq!(http(status), expected, "{status}");
        }
    }

    #[test]
    fn only_the_end_of_a_session_asks_for_a_new_one() {
        for code in [1000, 4400, 4403, 4429, 4499] {
            assert_eq!(close(Some(code), None), AfterClose::NewSession, "{code}");
        }
        for code in [1001, 1006, 1009, 1011, 1012, 4300, 4500] {
            assert_eq!(close(Some(code), None), AfterClose::Resume, "{code}");
        }
        assert_eq!(close(None, None), AfterClose::Resume);
        assert_eq!(close(None, Some(403)), AfterClose::NewSession);
        assert_eq!(close(None, Some(503)), AfterClose::Resume);
        assert_eq!(close(None, Some(429)), AfterClose::Resume, "the account's limit, not the session's end");
    }
}
