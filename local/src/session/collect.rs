//! The collector: egresses of this installation whose session is gone or finished are stopped. One unfiltered ListEgress at the
//! start and once a minute; what it shows of running sessions is theirs to plan with.

use crate::sessions::LocalSessions;
use roomscribe_calls::{Project, Strays};
use roomscribe_plan::collect::{Owned, orphans};
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(60);

/// Collects until `stopped`.
pub(crate) async fn run(sessions: Arc<LocalSessions>, project: Project, stopped: impl Future<Output = ()>) {
    tokio::pin!(stopped);
    let mut told = Strays::default();
    loop {
        tokio::select! {
            () = collect(&sessions, &project, &mut told) => {}
            () = &mut stopped => return,
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = &mut stopped => return,
        }
    }
}

async fn collect(sessions: &LocalSessions, project: &Project, told: &mut Strays) {
    let (at, owned) = match project.all().await {
        Ok(all) => all,
        Err(error) => return sessions.unlisted(&error),
    };
    sessions.listed(at, &owned);
    stop(sessions, project, &owned, told).await;
}

async fn stop(sessions: &LocalSessions, project: &Project, owned: &[Owned], told: &mut Strays) {
    let orphans = orphans(owned, |session| sessions.fate(session));
    for id in told.news(&orphans) {
        tracing::warn!(egress = id, "an egress of this installation has no running session: stopping it");
    }
    for id in orphans {
        if let Err(error) = project.stop(id).await
            && told.fails_first(id)
        {
            tracing::warn!(egress = id, %error, "LiveKit does not stop this egress; it is asked every minute");
        }
    }
}
