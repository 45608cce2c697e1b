//! One viewer's loop: take from the hub, write, hear, keep time.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use roomscribe_transcript::{LogError, Offset, SessionId};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tungstenite::Error as WsError;
use tungstenite::error::CapacityError;

use crate::app::Shared;
use crate::auth::{Grant, Lease, LeaseStep, Need};
use crate::bucket::Bucket;
use crate::fanout::{Closing, Cursor, Taken};
use crate::rooms::{Seat, record_frame};
use crate::wire::{Bye, Heard, Say};

/// Frames per write.
const BATCH: usize = 64;

/// Which session a viewer watches.
pub(super) struct Place {
    pub(super) id: SessionId,
    pub(super) room: String,
    pub(super) seat: Seat,
}

/// A welcomed viewer.
pub(super) struct Viewer {
    shared: Arc<Shared>,
    place: Box<Place>,
    changes: watch::Receiver<()>,
    draining: watch::Receiver<bool>,
    cursor: Cursor,
    lease: Lease,
    bucket: Bucket,
    /// When the peer was heard last.
    heard: Instant,
    /// When the next ping is due.
    ping_at: Instant,
    leave_at: Option<Instant>,
    /// Nothing was sent since the last ping: a heartbeat is due with the next.
    idle: bool,
}

/// `Err(None)`: the socket is gone, there is nobody to say goodbye to.
type Step<T = ()> = Result<T, Option<Bye>>;

impl Viewer {
    pub(super) fn new(shared: &Arc<Shared>, place: Place, cursor: Cursor, grant: &Grant) -> Self {
        let now = Instant::now();
        Self {
            changes: place.seat.changes(),
            draining: shared.draining.subscribe(),
            place: Box::new(place),
            cursor,
            lease: Lease::new(grant.expires),
            bucket: Bucket::new(shared.config.limits.frames_per_second, shared.now()),
            heard: now,
            ping_at: now + shared.config.ping,
            leave_at: None,
            idle: true,
            shared: Arc::clone(shared),
        }
    }

    /// Serves the viewer until its socket, or its session, or its right ends.
    pub(super) async fn run(mut self, socket: &mut WebSocket) -> Option<Bye> {
        // The first look is at once: a token may end before the first ping.
        let mut timer = pin!(sleep_until(self.heard));
        loop {
            if let Err(bye) = self.turn(socket, timer.as_mut()).await {
                return bye;
            }
        }
    }

    async fn turn(&mut self, socket: &mut WebSocket, mut timer: Pin<&mut Sleep>) -> Step {
        self.changes.mark_unchanged();
        let more = self.deliver(socket).await?;
        tokio::select! {
            heard = socket.recv() => self.hear(socket, heard).await,
            // The sender lives as long as the seat.
            _ = self.changes.changed() => Ok(()),
            () = std::future::ready(()), if more => Ok(()),
            () = timer.as_mut() => {
                let next = Box::pin(self.tick(socket)).await?;
                timer.reset(next);
                Ok(())
            }
            () = asked_to_drain(&mut self.draining), if self.leave_at.is_none() => {
                // Each viewer at its own moment: they reconnect elsewhere, and not all at once.
                let leave = Instant::now() + self.shared.config.drain.mul_f32(fastrand::f32());
                self.leave_at = Some(leave);
                timer.reset(leave);
                Ok(())
            }
        }
    }

    /// Sends what there is; true when there is more.
    async fn deliver(&mut self, socket: &mut WebSocket) -> Step<bool> {
        let mut frames = Vec::new();
        let taken = self.place.seat.hub().take(&mut self.cursor, BATCH, &mut frames);
        if !frames.is_empty() {
            self.write(socket, frames).await?;
        }
        match taken {
            Taken::Idle => Ok(false),
            Taken::More => Ok(true),
            Taken::ReadLog { after } => Box::pin(self.replay(socket, after)).await.map(|()| true),
            Taken::Close(why) => Err(Some(match why {
                Closing::End => Bye::END,
                Closing::Gone => Bye::GONE,
                Closing::Slow => Bye::SLOW,
                Closing::Broken => Bye::INTERNAL,
            })),
        }
    }

    async fn replay(&mut self, socket: &mut WebSocket, after: u64) -> Step {
        let records = self.shared.log().read(&self.place.id, Offset(after), BATCH).await;
        let records = records.map_err(|error| match error {
            LogError::Erased | LogError::NoSession => Some(Bye::GONE),
            error => {
                tracing::error!(session = %self.place.id, %error, "a viewer's replay cannot be read");
                Some(Bye::INTERNAL)
            }
        })?;
        let mut frames = Vec::with_capacity(records.len());
        for record in &records {
            if !self.cursor.replayed(record.offset.0) {
                return Err(Some(Bye::LOST));
            }
            frames.push(record_frame(record));
        }
        if frames.is_empty() {
            return Err(Some(Bye::LOST));
        }
        self.write(socket, frames).await
    }

    async fn write(&mut self, socket: &mut WebSocket, frames: Vec<Utf8Bytes>) -> Step {
        let count = frames.len() as u64;
        let writing = async {
            for frame in frames {
                socket.feed(Message::Text(frame)).await?;
            }
            socket.flush().await
        };
        self.idle = false;
        match timeout(self.shared.config.write_timeout, writing).await {
            Ok(Ok(())) => {
                self.shared.metrics.delivered.inc_by(count);
                Ok(())
            }
            Ok(Err(_)) => Err(None),
            // Half a frame may be out: a Close frame would land inside it.
            Err(_) => {
                self.shared.metrics.refuse("write_timeout");
                Err(None)
            }
        }
    }

    async fn say(&mut self, socket: &mut WebSocket, frame: &Say<'_>) -> Step {
        self.write(socket, vec![frame.text()]).await
    }

    /// What time asks for: leaving, liveness, token's end. Answers when to look again.
    async fn tick(&mut self, socket: &mut WebSocket) -> Step<Instant> {
        let now = Instant::now();
        if self.leave_at.is_some_and(|at| now >= at) {
            return Err(Some(Bye::DRAINING));
        }
        if now >= self.ping_at {
            self.ping(socket, now).await?;
        }
        let unix = self.shared.unix();
        let lease_at = loop {
            match self.lease.step(unix) {
                LeaseStep::WaitUntil(at) => break at,
                LeaseStep::Warn { seconds } => self.say(socket, &Say::AuthExpiring { seconds }).await?,
                LeaseStep::Over => return Err(Some(Bye::EXPIRED)),
            }
        };
        let lease_at = lease_at.map(|at| now + Duration::from_secs(at.saturating_sub(unix)));
        Ok([self.leave_at, lease_at].into_iter().flatten().fold(self.ping_at, Instant::min))
    }

    async fn ping(&mut self, socket: &mut WebSocket, now: Instant) -> Step {
        let ping = self.shared.config.ping;
        if now.duration_since(self.heard) > ping * 2 + ping / 2 {
            self.shared.metrics.refuse("no_pong");
            return Err(None);
        }
        self.ping_at = now + ping;
        let (head, backlog) = {
            let hub = self.place.seat.hub();
            (hub.head(), hub.backlog_bytes(&self.cursor))
        };
        self.shared.metrics.backlog.observe(backlog as f64);
        let ping = timeout(self.shared.config.write_timeout, socket.feed(Message::Ping(Default::default())));
        if !matches!(ping.await, Ok(Ok(()))) {
            return Err(None);
        }
        let skipped_partials = self.cursor.take_skipped();
        let mut frames = Vec::new();
        if skipped_partials > 0 {
            self.shared.metrics.skipped.inc_by(skipped_partials);
            frames.push(Say::Lag { skipped_partials }.text());
        }
        if self.idle {
            frames.push(Say::Heartbeat { head: head.max(self.cursor.offset()) }.text());
        }
        self.write(socket, frames).await?;
        self.idle = true;
        Ok(())
    }

    async fn hear(&mut self, socket: &mut WebSocket, heard: Option<Result<Message, axum::Error>>) -> Step {
        self.heard = Instant::now();
        match heard {
            Some(Ok(Message::Text(text))) => {
                self.count()?;
                Box::pin(self.obey(socket, &text)).await
            }
            Some(Ok(Message::Binary(_))) => Err(Some(Bye::NOT_TEXT)),
            // The library has answered a Ping by itself; a flood of them is a flood too.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => self.count(),
            Some(Ok(Message::Close(_))) | None => Err(None),
            Some(Err(error)) => Err(bye_of(error)),
        }
    }

    fn count(&mut self) -> Step {
        match self.bucket.take(self.shared.now()) {
            true => Ok(()),
            false => Err(Some(Bye::TOO_MUCH)),
        }
    }

    async fn obey(&mut self, socket: &mut WebSocket, text: &str) -> Step {
        match serde_json::from_str(text) {
            Ok(Heard::Auth { token }) => self.renew(socket, &token).await,
            Ok(Heard::Ack { offset }) => {
                let lag = self.place.seat.hub().head().saturating_sub(offset);
                self.shared.metrics.ack_lag.observe(lag as f64);
                Ok(())
            }
            Ok(Heard::Pause) => {
                self.cursor.set_partials(false);
                Ok(())
            }
            Ok(Heard::Resume) => {
                self.cursor.set_partials(true);
                Ok(())
            }
            Ok(Heard::Ping { t }) => self.say(socket, &Say::Pong { t }).await,
            Err(_) => {
                let message = "send auth, ack, pause, resume or ping, as the protocol spells them";
                self.say(socket, &Say::Error { code: "unknownMessage", message, retry: false }).await
            }
        }
    }

    async fn renew(&mut self, socket: &mut WebSocket, token: &str) -> Step {
        let unix = self.shared.unix();
        let place = &self.place;
        let grant = self.shared.gatekeeper.bearer(Some(token), unix);
        match grant.ok().filter(|grant| grant.check(Need::Read, place.id.as_str(), &place.room).is_ok()) {
            Some(grant) => {
                self.lease = Lease::new(grant.expires);
                // The timer looks at the new lease at the next ping at the latest.
                let expires_in_seconds = grant.expires.map(|at| at.saturating_sub(unix));
                self.say(socket, &Say::AuthOk { expires_in_seconds }).await
            }
            None => {
                let message = "the new token does not open this session; the old one still counts";
                self.say(socket, &Say::Error { code: "auth", message, retry: true }).await
            }
        }
    }
}

/// Also when the process was asked before this viewer came.
async fn asked_to_drain(draining: &mut watch::Receiver<bool>) {
    drop(draining.wait_for(|draining| *draining).await);
}

/// How a viewer that sent something wrong is closed; `None` when its socket broke.
pub(super) fn bye_of(error: axum::Error) -> Option<Bye> {
    let error = error.into_inner().downcast::<WsError>().ok()?;
    match *error {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => Some(Bye::TOO_BIG),
        WsError::Utf8(_) => Some(Bye::NOT_UTF8),
        WsError::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => None,
        WsError::Protocol(_) => Some(Bye::PROTOCOL),
        _ => None,
    }
}
