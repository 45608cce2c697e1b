//! An egress as LiveKit's behaves on the wire: real RTMP, paced by the clock, with its habits and faults on demand.

use crate::adts::{self, AdtsError, FRAME_SAMPLES, Recording};
use crate::rtmp_client::{Client, target};
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// What is published.
#[derive(Debug, Clone)]
pub enum AudioSource {
    /// An ADTS file's bytes.
    Adts(Vec<u8>),
}

/// What a real egress does besides sending frames (observed on LiveKit egress 1.14).
#[derive(Debug, Clone, Default)]
pub struct Habits {
    /// The first audio comes at once: 0.2–0.8 s on a real one.
    pub start_burst: Duration,
    /// At this stream time nothing is sent for so long, then everything that is late at once.
    pub stall: Option<(Duration, Duration)>,
    /// At this stream time the connection breaks; a new one begins with headers at timestamp 0 and goes on in stream time.
    pub cut: Option<Duration>,
    /// With `cut`: the outage takes so long, and its audio is never sent (69 ms on a real one whose server is back at once).
    pub lost: Duration,
}

/// One publish.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// `rtmp://HOST[:PORT]/APP/KEY`.
    pub url: String,
    /// What.
    pub audio: AudioSource,
    /// Times real time.
    pub speed: f64,
    /// How.
    pub habits: Habits,
}

/// What was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// AAC frames sent.
    pub frames: usize,
    /// Connections used.
    pub connections: u32,
}

/// Why a publish failed. The URL's key never appears.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The URL has no app or no key.
    #[error("the URL is not rtmp://HOST[:PORT]/APP/KEY")]
    Url,
    /// The recording cannot be read.
    #[error("the recording is {0}")]
    Audio(#[from] AdtsError),
    /// The server said no.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server did not answer in 10 s.
    #[error("the server did not answer in 10 s")]
    NoAnswer,
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server broke the protocol.
    #[error("RTMP: {0}")]
    Protocol(String),
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Publishes to the end of the recording, or until `stop`.
pub async fn publish(
    publisher: Publisher,
    stop: impl Future<Output = ()>,
) -> Result<Published, PublishError> {
    let AudioSource::Adts(bytes) = &publisher.audio;
    let recording = adts::parse(bytes)?;
    let target = target(&publisher.url)?;
    let mut published = Published { frames: 0, connections: 1 };
    let mut client = connect(&target, &recording).await?;
    let begun = Instant::now();
    let mut cut = publisher.habits.cut;
    let mut back = Duration::ZERO;
    tokio::pin!(stop);
    for (index, frame) in recording.frames.iter().enumerate() {
        let time =
            Duration::from_micros(index as u64 * FRAME_SAMPLES * 1_000_000 / u64::from(recording.rate));
        if cut.is_some_and(|cut| time >= cut) {
            cut = None;
            back = time + publisher.habits.lost;
            drop(client);
            tokio::time::sleep_until(begun + publisher.due(back)).await;
            client = connect(&target, &recording).await?;
            published.connections += 1;
        }
        if time < back {
            continue;
        }
        let due = begun + publisher.due(time);
        tokio::select! {
            () = &mut stop => break,
            error = client.listen(), if due > Instant::now() => return Err(error),
            () = tokio::time::sleep_until(due) => {}
        }
        client.audio(1, frame, time.as_millis() as u32).await?;
        published.frames += 1;
    }
    client.goodbye().await?;
    Ok(published)
}

async fn connect(target: &crate::rtmp_client::Target, recording: &Recording) -> Result<Client, PublishError> {
    let mut client = Client::publish(target).await?;
    client.metadata().await?;
    client.audio(0, &recording.config, 0).await?;
    Ok(client)
}

impl Publisher {
    /// When a frame of stream time `time` goes out, counted from the start.
    fn due(&self, time: Duration) -> Duration {
        let early = time.saturating_sub(self.habits.start_burst);
        let late = match self.habits.stall {
            Some((at, length)) if time >= at => {
                early.max((at + length).saturating_sub(self.habits.start_burst))
            }
            _ => early,
        };
        late.div_f64(self.speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher(habits: Habits) -> Publisher {
        Publisher { url: String::new(), audio: AudioSource::Adts(Vec::new()), speed: 2.0, habits }
    }

    #[test]
    fn speed_divides_the_time() {
        assert_eq!(publisher(Habits::default()).due(Duration::from_secs(10)), Duration::from_secs(5));
    }

    #[test]
    fn a_start_burst_sends_the_first_audio_at_once_and_stays_ahead() {
        let habits = Habits { start_burst: Duration::from_millis(500), ..Habits::default() };
        assert_eq!(publisher(habits.clone()).due(Duration::from_millis(400)), Duration::ZERO);
        assert_eq!(publisher(habits).due(Duration::from_millis(2500)), Duration::from_secs(1));
    }

    #[test]
    fn after_a_stall_all_late_frames_come_at_once() {
        let habits =
            Habits { stall: Some((Duration::from_secs(4), Duration::from_secs(3))), ..Habits::default() };
        let stalled = publisher(habits);
        assert_eq!(stalled.due(Duration::from_secs(3)), Duration::from_millis(1500));
        assert_eq!(stalled.due(Duration::from_secs(5)), Duration::from_millis(3500));
        assert_eq!(stalled.due(Duration::from_secs(8)), Duration::from_secs(4));
    }
}
