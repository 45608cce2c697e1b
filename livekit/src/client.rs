//! The calls. A start is never repeated here, and has a deadline that outlasts the SFU's own tries.

use crate::bucket::{Bucket, DEFAULT_BURST, DEFAULT_RATE, Lane};
use crate::error::{ApiError, ErrorKind};
use crate::twirp;
use crate::view::{EgressView, RoomPeople};
use livekit_api::access_token::{AccessToken, VideoGrants};
use livekit_protocol as proto;
use prost::Message;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The SFU tries a start for up to 75 s (10 + 20 + 40 s and its waits).
const START_DEADLINE: Duration = Duration::from_secs(100);
const DEADLINE: Duration = Duration::from_secs(15);
/// Pages of ListEgress that are followed: a server that never ends its list is broken.
const MAX_PAGES: usize = 1000;
const TOKEN_TTL: Duration = Duration::from_secs(600);
/// AAC at 16–32 kHz would fall below the liveness limit of egress 1.14 in a silent room (4096 bytes per 5 s).
const AUDIO_HZ: i32 = 48_000;
const AUDIO_KBITS: i32 = 128;

/// URL, key and secret of a LiveKit project. `Debug` shows URL and key only.
#[derive(Clone)]
pub struct Credentials {
    /// `https://…`; `ws` and `wss` are taken as `http` and `https`.
    pub url: String,
    /// API key.
    pub api_key: String,
    /// API secret.
    pub api_secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("url", &self.url)
            .field("api_key", &self.api_key)
            .finish_non_exhaustive()
    }
}

/// A LiveKit project's API, cheap to clone. All clones share one token bucket.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    credentials: Credentials,
    bucket: Arc<Mutex<Bucket>>,
    begun: Instant,
    start_deadline: Duration,
    deadline: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of one project.
    ///
    /// # Errors
    /// `Refused` with the setting's name when the URL cannot be one.
    pub fn new(credentials: Credentials) -> Result<Self, ApiError> {
        let base = base(&credentials.url)?;
        // Idempotent: the first provider stays.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| settings(&error.to_string()))?;
        let bucket = Bucket::new(DEFAULT_RATE, DEFAULT_BURST, Duration::ZERO);
        Ok(Self {
            http,
            base,
            credentials,
            bucket: Arc::new(Mutex::new(bucket)),
            begun: Instant::now(),
            start_deadline: START_DEADLINE,
            deadline: DEADLINE,
        })
    }

    /// For people: where LiveKit's API is asked. Without user and password, which somebody may have put there.
    pub fn url(&self) -> String {
        let (scheme, rest) = self.base.split_once("://").unwrap_or(("https", &self.base));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}")
    }

    /// Another rate of calls: per second, and at once.
    #[must_use]
    pub fn with_rate(self, rate: f64, burst: f64) -> Self {
        let bucket = Arc::new(Mutex::new(Bucket::new(rate, burst, self.begun.elapsed())));
        Self { bucket, ..self }
    }

    /// Other deadlines: of a start, which must outlast the SFU's own 75 s of trying, and of every other call. For a simulated
    /// LiveKit whose clock runs faster.
    #[must_use]
    pub fn with_deadlines(self, start: Duration, other: Duration) -> Self {
        Self { start_deadline: start, deadline: other, ..self }
    }

    /// Room Composite, audio only, no layout (so no Chrome), AAC 48 kHz, one RTMP output.
    ///
    /// # Errors
    /// See [`ErrorKind`]; `NoCapacity` and `Unknown` may still become an egress.
    pub async fn start_room_composite(
        &self,
        room: &str,
        rtmp_url: &str,
    ) -> Result<proto::EgressInfo, ApiError> {
        use proto::room_composite_egress_request::Options;
        let encoding = proto::EncodingOptions {
            audio_codec: proto::AudioCodec::Aac as i32,
            audio_bitrate: AUDIO_KBITS,
            audio_frequency: AUDIO_HZ,
            ..Default::default()
        };
        let output = proto::StreamOutput {
            protocol: proto::StreamProtocol::Rtmp as i32,
            urls: vec![rtmp_url.to_owned()],
        };
        let request = proto::RoomCompositeEgressRequest {
            room_name: room.to_owned(),
            audio_only: true,
            stream_outputs: vec![output],
            options: Some(Options::Advanced(encoding)),
            ..Default::default()
        };
        self.egress(Lane::Act, "StartRoomCompositeEgress", &request, self.start_deadline).await
    }

    /// One UpdateStream: adds one URL and removes another.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn update_stream(
        &self,
        id: &str,
        add: &str,
        remove: &str,
    ) -> Result<proto::EgressInfo, ApiError> {
        let request = proto::UpdateStreamRequest {
            egress_id: id.to_owned(),
            add_output_urls: vec![add.to_owned()],
            remove_output_urls: vec![remove.to_owned()],
        };
        self.egress(Lane::Act, "UpdateStream", &request, self.deadline).await
    }

    /// StopEgress. An egress that has ended already (412) or is unknown (404) counts as stopped.
    ///
    /// # Errors
    /// See [`ErrorKind`], and [`ApiError::is_unattended`]: nobody is there who could stop it.
    pub async fn stop_egress(&self, id: &str) -> Result<(), ApiError> {
        let request = proto::StopEgressRequest { egress_id: id.to_owned() };
        match self.egress::<_, proto::EgressInfo>(Lane::Act, "StopEgress", &request, self.deadline).await {
            // A 404 of something else at that address, or of a path that it does not know, has stopped nothing.
            Err(error) if error.kind != ErrorKind::NotFound && error.status != Some(412) => Err(error),
            _ => Ok(()),
        }
    }

    /// Egresses of ours in a room, or in all rooms; ended ones stay in the list for a day.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn list_egress(&self, room: Option<&str>) -> Result<Vec<EgressView>, ApiError> {
        let mut request =
            proto::ListEgressRequest { room_name: room.unwrap_or_default().to_owned(), ..Default::default() };
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let list: proto::ListEgressResponse =
                self.egress(Lane::Question, "ListEgress", &request, self.deadline).await?;
            found.extend(list.items.iter().filter_map(EgressView::of));
            request.page_token = list.next_page_token.filter(|next| !next.token.is_empty());
            if request.page_token.is_none() {
                return Ok(found);
            }
        }
        let message = format!("the list of egresses has more than {MAX_PAGES} pages");
        Err(ApiError { kind: ErrorKind::Unknown, status: Some(200), code: String::new(), message })
    }

    /// Who is in a room; `None`: there is no such room.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn room(&self, room: &str) -> Result<Option<RoomPeople>, ApiError> {
        let names = proto::ListRoomsRequest { names: vec![room.to_owned()] };
        let list = VideoGrants { room_list: true, ..Default::default() };
        self.turn(Lane::Question).await;
        let rooms: proto::ListRoomsResponse =
            self.call("livekit.RoomService/ListRooms", list, &names, self.deadline).await?;
        if rooms.rooms.iter().all(|found| found.name != room) {
            return Ok(None);
        }
        let request = proto::ListParticipantsRequest { room: room.to_owned() };
        let admin = VideoGrants { room_admin: true, room: room.to_owned(), ..Default::default() };
        self.turn(Lane::Question).await;
        let answer = self.call("livekit.RoomService/ListParticipants", admin, &request, self.deadline).await;
        match answer {
            Ok(proto::ListParticipantsResponse { participants }) => Ok(Some(RoomPeople::of(&participants))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn egress<Q: Message, A: Message + Default>(
        &self,
        lane: Lane,
        method: &str,
        request: &Q,
        deadline: Duration,
    ) -> Result<A, ApiError> {
        let grants = VideoGrants { room_record: true, ..Default::default() };
        self.turn(lane).await;
        self.call(&format!("livekit.Egress/{method}"), grants, request, deadline).await
    }

    async fn call<Q: Message, A: Message + Default>(
        &self,
        path: &str,
        grants: VideoGrants,
        request: &Q,
        deadline: Duration,
    ) -> Result<A, ApiError> {
        let token = self.token(grants)?;
        twirp::call(&self.http, &self.base, path, &token, request, deadline).await
    }

    async fn turn(&self, lane: Lane) {
        let wait = {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.take(lane, self.begun.elapsed())
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn token(&self, grants: VideoGrants) -> Result<String, ApiError> {
        AccessToken::with_api_key(&self.credentials.api_key, &self.credentials.api_secret)
            .with_grants(grants)
            .with_ttl(TOKEN_TTL)
            .to_jwt()
            .map_err(|_| settings("the API key and secret give no token: check both"))
    }
}

fn settings(message: &str) -> ApiError {
    ApiError { kind: ErrorKind::Refused, status: None, code: String::new(), message: message.to_owned() }
}

/// The base of the API, from whatever people paste.
fn base(url: &str) -> Result<String, ApiError> {
    let trimmed = url.trim().trim_end_matches('/');
    let base = match trimmed.split_once("://") {
        Some(("http" | "ws", rest)) => format!("http://{rest}"),
        Some(("https" | "wss", rest)) => format!("https://{rest}"),
        _ => return Err(settings("the LiveKit URL must begin with https://, http://, wss:// or ws://")),
    };
    reqwest::Url::parse(&base).map_err(|_| settings("the LiveKit URL cannot be read"))?;
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_paste_becomes_the_base() {
        assert_eq!(base("wss://p.livekit.cloud/").unwrap(), "https://p.livekit.cloud");
        assert_eq!(base(" ws://127.0.0.1:7880 ").unwrap(), "http://127.0.0.1:7880");
        for wrong in ["", "p.livekit.cloud", "rtmp://h", "https://"] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_url_for_people_has_no_password() {
        let shown = |url: &str| {
            let credentials =
                Credentials { url: url.into(), api_key: "key".into(), api_secret: "secret".into() };
            Client::new(credentials).unwrap().url()
        };
        assert_eq!(shown("wss://p.livekit.cloud/"), "https://p.livekit.cloud");
        assert_eq!(shown("http://ada:SECRET@h:7880/twirp?k=SECRET"), "http://h:7880");
    }

    #[test]
    fn no_secret_is_ever_printed() {
        let credentials =
            Credentials { url: "https://h".into(), api_key: "key".into(), api_secret: "SECRET".into() };
        assert!(!format!("{credentials:?}").contains("SECRET"));
        assert!(!format!("{:?}", Client::new(credentials).unwrap()).contains("SECRET"));
    }
}
