//! What arrives while somebody follows a session: two plain subscriptions, and a look at the head now and then.
//!
//! Republished messages are only news that the head moved: followers read the log. So a lost one costs nothing but time.

use super::connect::Conn;
use super::message::WRITER;
use super::read::from_headers;
use super::session::NatsSession;
use crate::model::Partial;
use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval_at};

/// Between two looks at the head: the last message may be the lost one.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Looks without a follower until the subscriptions end.
const IDLE_LOOKS: u32 = 6;

/// Runs while the session is followed, and a linger longer.
pub(super) async fn run(session: Arc<NatsSession>) {
    let conn = session.conn().clone();
    let (Some(live), Some(partials)) =
        (subscribe(&conn, "live", &session).await, subscribe(&conn, "partial", &session).await)
    else {
        // Only a subject that is not one is refused, and ours are.
        return session.hub_ended();
    };
    // What is published from here on arrives; what was before is found by the first look.
    let _ = conn.client.flush().await;
    let mut hub = Hub { session, conn, idle: 0 };
    hub.turn(live, partials).await;
}

async fn subscribe(conn: &Conn, kind: &str, session: &NatsSession) -> Option<Subscriber> {
    conn.client.subscribe(conn.subject(kind, session.id())).await.ok()
}

struct Hub {
    session: Arc<NatsSession>,
    conn: Arc<Conn>,
    idle: u32,
}

impl Hub {
    async fn turn(&mut self, mut live: Subscriber, mut partials: Subscriber) {
        let mut doubts = self.conn.doubts.subscribe();
        // Not all sessions in the same moment.
        let slot = self.session.id().as_str().bytes().map(u32::from).sum::<u32>() % 50;
        let first = Instant::now() + LOOK_INTERVAL / 50 * slot;
        let mut looks = interval_at(first, LOOK_INTERVAL);
        self.look().await;
        while !self.session.is_gone() {
            tokio::select! {
                Some(message) = live.next() => self.record(&message),
                Some(message) = partials.next() => self.partial(&message),
                Ok(()) = doubts.changed() => self.look().await,
                _ = looks.tick() => {
                    self.idle = if self.session.is_followed() { 0 } else { self.idle + 1 };
                    if self.idle >= IDLE_LOOKS && self.session.hub_ends() {
                        return;
                    }
                    self.look().await;
                }
                else => break,
            }
        }
        self.session.hub_ended();
    }

    /// Trouble with NATS is logged by the connection; the next look is soon.
    async fn look(&self) {
        let _ = self.session.look().await;
    }

    fn record(&self, message: &Message) {
        if let (_, Some(entry)) = from_headers(message) {
            self.session.observe(&entry);
        }
    }

    fn partial(&self, message: &Message) {
        let by = message.headers.as_ref().and_then(|headers| headers.get(WRITER));
        if by.is_some_and(|by| by.as_str() == self.conn.writer) {
            return;
        }
        if let Ok(partial) = serde_json::from_slice::<Partial>(&message.payload) {
            self.session.show(partial);
        }
    }
}
