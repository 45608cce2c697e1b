//! Ends every session while there is still an operator that stops its egress: without one, finalizers would hold the
//! resources, and their namespaces, for ever.

use crate::api::{self, Error};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use roomscribe_crds::TranscriptionSession;
use std::time::{Duration, Instant};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Sessions that a message names.
const NAMED: usize = 5;

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Drained {
    /// Nothing is left of so many sessions.
    All(usize),
    /// Time is up: `namespace/name` of those that are still there.
    Left(Vec<String>),
}

impl Drained {
    /// One line: what is left and what to do.
    pub fn sentence(&self) -> String {
        match self {
            Self::All(count) => format!("drained: {count} sessions have ended, nothing is left"),
            Self::Left(names) => {
                let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
                let more = names.len().saturating_sub(NAMED);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!(
                    "{} sessions are still there: {named}{more}; is an operator running? `kubectl describe ts` tells what each waits for; docs/operator.md, \"How a session ends\", tells how to let one go without it",
                    names.len()
                )
            }
        }
    }
}

/// Deletes and waits. `namespaces`: one `None` for all.
///
/// # Errors
/// The API server refuses.
pub async fn drain(
    client: &Client,
    namespaces: &[Option<String>],
    patience: Duration,
) -> Result<Drained, Error> {
    let begun = Instant::now();
    let (mut ended, mut told) = (0, usize::MAX);
    loop {
        let left = sessions(client, namespaces).await?;
        ended = ended.max(left.len());
        // One that somebody creates meanwhile goes too.
        for session in left.iter().filter(|session| session.metadata.deletion_timestamp.is_none()) {
            delete(client, session).await?;
        }
        if left.is_empty() {
            return Ok(Drained::All(ended));
        }
        if left.len() != told {
            tracing::info!(left = left.len(), "waiting until the sessions have ended");
            told = left.len();
        }
        if begun.elapsed() >= patience {
            return Ok(Drained::Left(left.iter().map(name).collect()));
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn sessions(
    client: &Client,
    namespaces: &[Option<String>],
) -> Result<Vec<TranscriptionSession>, Error> {
    let mut found = Vec::new();
    for namespace in namespaces {
        let api = match namespace {
            None => Api::all(client.clone()),
            Some(namespace) => Api::namespaced(client.clone(), namespace),
        };
        let call = async { api.list(&ListParams::default()).await };
        match api::bounded("list the sessions", call).await {
            Ok(list) => found.extend(list.items),
            // The resource is not known (any more): it has no objects.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

async fn delete(client: &Client, session: &TranscriptionSession) -> Result<(), Error> {
    let namespace = session.namespace().unwrap_or_default();
    let api: Api<TranscriptionSession> = Api::namespaced(client.clone(), &namespace);
    let name = session.name_any();
    let call = async { api.delete(&name, &DeleteParams::default()).await };
    api::gone_is_fine(api::bounded("delete a session", call).await)
}

fn name(session: &TranscriptionSession) -> String {
    format!("{}/{}", session.namespace().unwrap_or_default(), session.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_named_but_not_all_of_a_thousand() {
        let left = Drained::Left((1..=7).map(|number| format!("meetings/s{number}")).collect()).sentence();
        assert!(left.starts_with("7 sessions are still there: meetings/s1, "), "{left}");
        assert!(left.contains("meetings/s5 and 2 more;"), "{left}");
        let one = Drained::Left(vec!["meetings/s1".into()]).sentence();
        assert!(one.contains("meetings/s1; is an operator running?"), "{one}");
    }
}
