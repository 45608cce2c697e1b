//! A publisher with the habits of a real egress: paced by the clock, reconnecting at once, going on in stream time.

use crate::tones::{Hole, recording};
use roomscribe_sims::adts::FRAME_SAMPLES;
use roomscribe_sims::rtmp_client::{Client, Target, target};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// What is in the sockets when a process dies has reached nobody.
const IN_FLIGHT: f64 = 1.2;
/// A refused egress tries about 40 times a second.
const RETRY: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq)]
enum Wish {
    Publish,
    Pause,
    Leave,
}

/// Publishes until dropped.
pub(crate) struct Publisher {
    task: JoinHandle<()>,
    begun: Instant,
    speed: f64,
    holes: Arc<Mutex<Vec<Hole>>>,
    inject: mpsc::Sender<Vec<u8>>,
    moves: mpsc::Sender<Target>,
    wish: watch::Sender<Wish>,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Publisher {
    /// Connects, then publishes the tones, `speed` times real time.
    pub(crate) async fn start(url: &str, speed: f64) -> Self {
        let target = target(url).unwrap();
        let client = timeout(PATIENCE, connected(&target)).await.expect("nobody listens");
        let (begun, holes) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
        let (inject, injected) = mpsc::channel(8);
        let (moves, moved) = mpsc::channel(1);
        let wish = watch::Sender::new(Wish::Publish);
        let pace = (begun, speed, wish.subscribe());
        let task = tokio::spawn(publish(client, target, pace, holes.clone(), (injected, moved)));
        Self { task, begun, speed, holes, inject, moves, wish }
    }

    /// Stream time, seconds.
    pub(crate) fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() * self.speed
    }

    /// Waits for a stream time.
    pub(crate) async fn reach(&self, seconds: f64) {
        sleep_until(self.begun + Duration::from_secs_f64(seconds / self.speed)).await;
    }

    /// What has reached nobody, or may not have.
    pub(crate) fn holes(&self) -> Vec<Hole> {
        self.holes.lock().unwrap().clone()
    }

    /// Sends an audio tag beside the frames.
    pub(crate) fn inject(&self, body: &[u8]) {
        self.inject.try_send(body.to_vec()).unwrap();
    }

    /// As an egress does what UpdateStream asks: the new connection is there, then the old one goes, between two frames.
    pub(crate) fn move_to(&self, url: &str) {
        self.moves.try_send(target(url).unwrap()).ok().unwrap();
    }

    /// Sends nothing from now on; the connection stays.
    pub(crate) fn pause(&self) {
        self.wish.send_replace(Wish::Pause);
    }

    /// Says goodbye; the stream time of that.
    pub(crate) async fn leave(mut self) -> f64 {
        let left = self.now();
        self.wish.send_replace(Wish::Leave);
        (&mut self.task).await.unwrap();
        left
    }
}

async fn connect(target: &Target) -> Option<Client> {
    let mut client = Client::publish(target).await.ok()?;
    client.metadata().await.ok()?;
    client.audio(0, &recording().config, 0).await.ok()?;
    Some(client)
}

/// Tries again, as an egress does.
async fn connected(target: &Target) -> Client {
    loop {
        match connect(target).await {
            Some(client) => return client,
            None => sleep(RETRY).await,
        }
    }
}

async fn publish(
    mut client: Client,
    mut target: Target,
    (begun, speed, wish): (Instant, f64, watch::Receiver<Wish>),
    holes: Arc<Mutex<Vec<Hole>>>,
    (mut injected, mut moved): (mpsc::Receiver<Vec<u8>>, mpsc::Receiver<Target>),
) {
    let mut skip_until = 0.0;
    for (index, frame) in recording().frames.iter().enumerate() {
        let time = index as f64 * FRAME_SAMPLES as f64 / f64::from(recording().rate);
        if time < skip_until {
            continue;
        }
        if *wish.borrow() != Wish::Publish {
            break;
        }
        if let Ok(body) = injected.try_recv() {
            client.message(body, (time * 1000.0) as u32).await.unwrap();
        }
        if let Ok(next) = moved.try_recv() {
            let successor = timeout(PATIENCE, connected(&next)).await.expect("nobody listens at the new URL");
            client.goodbye().await.unwrap();
            (client, target) = (successor, next);
        }
        let due = begun + Duration::from_secs_f64(time / speed);
        let closed = tokio::select! {
            biased;
            _ = client.listen(), if due > Instant::now() => true,
            () = sleep_until(due) => false,
        };
        if closed || client.audio(1, frame, (time * 1000.0) as u32).await.is_err() {
            client = connected(&target).await;
            skip_until = begun.elapsed().as_secs_f64() * speed;
            holes.lock().unwrap().push((time - IN_FLIGHT * speed, skip_until + 0.1));
        }
    }
    if *wish.borrow() == Wish::Leave {
        return client.goodbye().await.unwrap();
    }
    std::future::pending::<()>().await;
    drop(client);
}
