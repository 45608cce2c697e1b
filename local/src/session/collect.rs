//! The collector: egresses of this installation whose session is gone or finished are stopped. One unfiltered ListEgress at the
//! start and once a minute; what it shows of running sessions is theirs to plan with.

use crate::sessions::LocalSessions;
use roomscribe_calls::Project;
use roomscribe_plan::collect::{Owned, orphans};
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(60);

/// Collects until `stopped`.
pub(crate) async fn run(sessions: Arc<LocalSessions>, project: Project, stopped: impl Future<Output = ()>) {
    tokio::pin!(stopped);
    let mut answers = true;
    loop {
        tokio::select! {
            () = collect(&sessions, &project, &mut answers) => {}
            () = &mut stopped => return,
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = &mut stopped => return,
        }
    }
}

async fn collect(sessions: &LocalSessions, project: &Project, answers: &mut bool) {
    let (at, owned) = match project.all().await {
        Ok(all) => all,
        Err(error) => {
            if std::mem::replace(answers, false) {
                tracing::warn!(%error, "LiveKit's egresses cannot be listed; check LIVEKIT_HTTP_URL and its key");
            }
            sessions.unlisted(&error);
            return;
        }
    };
    *answers = true;
    sessions.listed(at, &owned);
    stop(sessions, project, &owned).await;
}

async fn stop(sessions: &LocalSessions, project: &Project, owned: &[Owned]) {
    for id in orphans(owned, |session| sessions.fate(session)) {
        tracing::warn!(egress = id, "an egress of this installation has no running session: stopping it");
        if let Err(error) = project.stop(id).await {
            tracing::warn!(egress = id, %error, "LiveKit did not stop an egress; it is asked again in a minute");
        }
    }
}
