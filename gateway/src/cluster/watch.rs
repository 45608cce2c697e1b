//! The watches, one per namespace: what they show goes into the cache, and to those who wait for it.

use super::api::Server;
use super::sessions::Shared;
use futures_util::StreamExt;
use kube::api::ListParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, ExponentialBackoff, watcher};
use std::sync::Arc;
use std::time::Duration;

/// While the API server does not answer, it is asked so often whether it does again: a watch that was mended says nothing
/// until something changes.
const PROBE: Duration = Duration::from_secs(2);

/// Runs for ever.
pub(super) async fn run(shared: Arc<Shared>, watch: usize, namespace: String) {
    let server = shared.server.clone();
    let config = watcher::Config::default();
    let mut events = std::pin::pin!(watcher(server.api(&namespace), config).backoff(patience()));
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => {
                    heard(&server, true, &namespace, "");
                    shared.take(watch, event);
                }
                Some(Err(error)) if is_routine(&error) => {}
                Some(Err(error)) => {
                    // A refusal is an answer too, but one that somebody must mend: it is no use to try.
                    heard(&server, false, &namespace, &error.to_string());
                }
                None => return,
            },
            () = tokio::time::sleep(PROBE), if server.away_for().is_some() => {
                if answers(&server, &namespace).await {
                    heard(&server, true, &namespace, "");
                }
            }
        }
    }
}

/// kube's own waits up to a minute, also for a server that is well again: nobody would be shown a new session for so long.
fn patience() -> ExponentialBackoff {
    let (min, max) = (Duration::from_millis(400), Duration::from_secs(3));
    let times = backon::ExponentialBuilder::new().with_min_delay(min).with_max_delay(max).without_max_times();
    times.with_jitter().into()
}

async fn answers(server: &Server, namespace: &str) -> bool {
    let (api, one) = (server.api(namespace), ListParams::default().limit(1));
    matches!(tokio::time::timeout(PROBE, api.list_metadata(&one)).await, Ok(Ok(_)))
}

/// The watch was too far behind and lists anew: the API server is well.
fn is_routine(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

fn heard(server: &Server, answered: bool, namespace: &str, error: &str) {
    match (server.heard(answered), answered) {
        (true, true) => tracing::info!("the Kubernetes API server answers again"),
        (true, false) => tracing::warn!(
            namespace,
            error,
            "TranscriptionSessions cannot be watched: whoever runs this installation must look at the API server and at the gateway's Role (gateway/rbac.yaml)"
        ),
        (false, _) => {}
    }
}
