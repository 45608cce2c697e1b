//! Calls to the API server: each has a deadline, and a failure says what was tried.

use std::future::Future;
use std::time::Duration;

/// kube repeats 429, 503 and 504 by itself; this bounds all of it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server said no.
    #[error("could not {what}: {}", said(source))]
    Refused {
        /// What was tried.
        what: &'static str,
        /// Its answer.
        source: kube::Error,
    },
    /// An object without uid: no API server has seen it.
    #[error("the session has no uid")]
    Unknown,
    /// It did not answer in time.
    #[error("{what}: the API server did not answer in {} s", DEADLINE.as_secs())]
    Late {
        /// What was tried.
        what: &'static str,
    },
    /// The object has changed since it was read: the next round sees it.
    #[error("{what}: the object has changed meanwhile")]
    Conflict {
        /// What was tried.
        what: &'static str,
    },
}

/// Waits for a call, but not for ever.
///
/// # Errors
/// [`Error`].
pub async fn bounded<T>(what: &'static str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, call).await {
        Err(_) => Err(Error::Late { what }),
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() && !status.is_already_exists() => {
            Err(Error::Conflict { what })
        }
        Ok(Err(source)) => Err(Error::Refused { what, source }),
    }
}

impl Error {
    /// The API server's own words, when it refused.
    pub fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Refused { source: kube::Error::Api(status), .. } => Some(status),
            _ => None,
        }
    }

    /// The object is not there.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    /// Its namespace is being deleted, and takes nothing new.
    pub fn namespace_ends(&self) -> bool {
        self.status()
            .is_some_and(|status| status.code == 403 && status.message.contains("is being terminated"))
    }

    /// It is there already.
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_already_exists)
    }
}

/// A delete of something that has gone already is done.
///
/// # Errors
/// Every other error.
pub fn gone_is_fine<T>(result: Result<T, Error>) -> Result<(), Error> {
    match result {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// An answer's message without the rest of its Status, which is for programs.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}
