//! Sessions to plan again: each at most once in the queue, so it is never longer than their number.

use crate::cells::lock;
use futures_util::Stream;
use kube::runtime::reflector::ObjectRef;
use roomscribe_crds::TranscriptionSession;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// One controller's queue.
#[derive(Default)]
pub struct Wakes {
    waiting: Mutex<HashSet<ObjectRef<TranscriptionSession>>>,
    some: Notify,
}

/// The queues of all controllers: one per watched namespace, or one for all.
pub struct Router(Vec<(Option<String>, Arc<Wakes>)>);

impl Router {
    /// Of these namespaces; `None` is all of them.
    pub fn of(namespaces: &[Option<String>]) -> Self {
        Self(namespaces.iter().map(|namespace| (namespace.clone(), Arc::default())).collect())
    }

    /// Plan this session again soon.
    pub fn wake(&self, session: ObjectRef<TranscriptionSession>) {
        let ours = |namespace: &Option<String>| namespace.is_none() || *namespace == session.namespace;
        if let Some((_, wakes)) = self.0.iter().find(|(namespace, _)| ours(namespace)) {
            wakes.wake(session);
        }
    }

    /// Of one controller.
    pub fn queue(&self, watch: usize) -> Arc<Wakes> {
        self.0.get(watch).map(|(_, wakes)| wakes.clone()).unwrap_or_default()
    }
}

impl Wakes {
    fn wake(&self, session: ObjectRef<TranscriptionSession>) {
        lock(&self.waiting).insert(session);
        self.some.notify_one();
    }

    /// For the controller; never ends.
    pub fn stream(self: Arc<Self>) -> impl Stream<Item = ObjectRef<TranscriptionSession>> + Send {
        futures_util::stream::unfold(self, |wakes| async move {
            loop {
                if let Some(next) = wakes.take() {
                    return Some((next, wakes));
                }
                wakes.some.notified().await;
            }
        })
    }

    fn take(&self) -> Option<ObjectRef<TranscriptionSession>> {
        let mut waiting = lock(&self.waiting);
        let next = waiting.iter().next().cloned()?;
        waiting.take(&next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    #[tokio::test]
    async fn a_session_that_is_woken_often_is_planned_once() {
        let wakes = Arc::new(Wakes::default());
        for _ in 0..3 {
            wakes.wake(ObjectRef::new("standup"));
        }
        let mut stream = Box::pin(wakes.clone().stream());
        assert_eq!(stream.next().await.unwrap().name, "standup");
        wakes.wake(ObjectRef::new("retro"));
        assert_eq!(stream.next().await.unwrap().name, "retro");
    }
}
