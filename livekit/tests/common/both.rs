//! What holds for every LiveKit: each test's body runs against the simulated one and against a real livekit-server.

use super::{KEY, SECRET, STREAM_KEY, client, hook::Hook};
use livekit_api::access_token::{AccessToken, VideoGrants};
use livekit_protocol::participant_info::Kind;
use roomscribe_livekit::webhook::{Rejected, Webhooks};
use roomscribe_livekit::{ApiError, Client, ErrorKind};
use roomscribe_sims::livekit::{Microphone, Person};
use std::time::Duration;

/// Everything ends within this or fails; a real one tries 22 s for an egress worker.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const ROOM: &str = "planning";
/// A URL of ours that nobody listens at.
const URL: &str =
    "rtmp://127.0.0.1:9/live/0a1b2c3d/7c9e6679-7425-40de-944b-e07fc1f90ae7.1/q83vEjRWeJCrze8SNFZ4kA";

/// A LiveKit with people in it.
pub(crate) trait LiveKit {
    /// Base URL.
    fn url(&self) -> String;
    /// Our client, with the right key.
    fn client(&self) -> Client;
    /// Somebody comes, with their microphone as given.
    async fn join(&mut self, room: &str, person: &Person);
    /// Somebody publishes, mutes, unmutes or unpublishes.
    async fn microphone(&mut self, room: &str, identity: &str, to: Microphone);
    /// Somebody goes.
    async fn leave(&mut self, room: &str, identity: &str);
}

pub(crate) fn person(identity: &str, microphone: Microphone) -> Person {
    Person { identity: identity.into(), microphone, ..Person::default() }
}

pub(crate) fn assert_no_secret(error: &ApiError) {
    let text = format!("{error} {error:?}");
    for secret in [SECRET, STREAM_KEY, "eyJ"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, looking).await.is_ok(), "never: {what}");
}

/// Waits until the room has so many people and open microphones; `None`: until it is gone.
async fn until_room(client: &Client, expected: Option<(u32, u32)>) {
    until(&format!("{expected:?}"), || async {
        let people = client.room(ROOM).await.unwrap();
        people.map(|people| (people.participants, people.open_microphones)) == expected
    })
    .await;
}

pub(crate) async fn people_and_open_microphones_are_counted(mut livekit: impl LiveKit) {
    let client = livekit.client();
    assert_eq!(client.room(ROOM).await.unwrap(), None);
    livekit.join(ROOM, &person("ada", Microphone::Open)).await;
    until_room(&client, Some((1, 1))).await;
    livekit.join(ROOM, &person("bea", Microphone::Muted)).await;
    until_room(&client, Some((2, 1))).await;
    livekit.microphone(ROOM, "ada", Microphone::Muted).await;
    until_room(&client, Some((2, 0))).await;
    livekit.microphone(ROOM, "bea", Microphone::Open).await;
    until_room(&client, Some((2, 1))).await;
    livekit.microphone(ROOM, "bea", Microphone::None).await;
    until_room(&client, Some((2, 0))).await;
    livekit.microphone(ROOM, "ada", Microphone::Open).await;
    until_room(&client, Some((2, 1))).await;
    // Neither an agent nor a hidden observer is anybody.
    livekit.join(ROOM, &Person { agent: true, ..person("bot", Microphone::None) }).await;
    livekit.join(ROOM, &Person { hidden: true, ..person("observer", Microphone::None) }).await;
    livekit.join(ROOM, &person("cid", Microphone::None)).await;
    until_room(&client, Some((3, 1))).await;
    assert_eq!(client.room("another").await.unwrap(), None);
    for identity in ["ada", "bea", "cid", "bot", "observer"] {
        livekit.leave(ROOM, identity).await;
    }
    until_room(&client, None).await;
}

/// Status, content type and body of one call of the API with this token.
async fn call(url: &str, path: &str, token: Option<&str>) -> (u16, String, String) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.post(format!("{url}/twirp/livekit.{path}")).header("content-type", "application/json");
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = request.body("{}").send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), kind, answer.text().await.unwrap())
}

fn token(grants: VideoGrants, key: &str, secret: &str) -> String {
    AccessToken::with_api_key(key, secret).with_grants(grants).to_jwt().unwrap()
}

/// One whose time was over an hour ago.
fn expired(grants: VideoGrants) -> String {
    use livekit_api::access_token::Claims;
    let fresh = token(grants, KEY, SECRET);
    let mut claims: Claims = Claims::from_unverified(&fresh).unwrap();
    claims.exp -= 3600 * 24;
    claims.nbf -= 3600 * 24;
    signed(&claims)
}

/// HS256, by hand: LiveKit's own makers of tokens make none that are over.
fn signed(claims: &impl serde::Serialize) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hmac::Mac as _;
    let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).unwrap()));
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

pub(crate) async fn tokens_are_accepted_or_refused_as_they_deserve(livekit: impl LiveKit) {
    let url = livekit.url();
    let record = || VideoGrants { room_record: true, ..Default::default() };
    let good = token(record(), KEY, SECRET);
    let (status, kind, body) = call(&url, "Egress/ListEgress", Some(&good)).await;
    assert_eq!((status, kind.as_str()), (200, "application/json"), "{body}");
    // Plain text comes from the gate before the API, JSON from the API itself.
    let refused = [
        (Some(expired(record())), "text/plain", "token is expired"),
        (
            Some(token(record(), KEY, "another-secret-of-thirty-two-chars")),
            "text/plain",
            "token signature is invalid",
        ),
        (Some(token(record(), "APIother", SECRET)), "text/plain", "invalid API key"),
        (Some("nonsense".into()), "text/plain", "invalid authorization token"),
        (Some(token(VideoGrants::default(), KEY, SECRET)), "application/json", "permissions denied"),
        (None, "application/json", "permissions denied"),
    ];
    for (token, kind, words) in refused {
        let answer = call(&url, "Egress/ListEgress", token.as_deref()).await;
        assert_eq!(answer.0, 401, "{words}: {answer:?}");
        assert!(answer.1.starts_with(kind) && answer.2.contains(words), "{words}: {answer:?}");
    }
}

pub(crate) async fn refused_credentials_are_never_taken_for_the_network(livekit: impl LiveKit) {
    let url = livekit.url();
    for (key, secret, words) in [
        (KEY, "another-secret-of-thirty-two-chars", "token signature is invalid"),
        ("APIother", SECRET, "invalid API key: APIother"),
    ] {
        let wrong = client(&url, key, secret);
        let errors = [
            wrong.list_egress(None).await.unwrap_err(),
            wrong.room(ROOM).await.unwrap_err(),
            wrong.start_room_composite(ROOM, URL).await.unwrap_err(),
            wrong.stop_egress("EG_nobody").await.unwrap_err(),
        ];
        for error in errors {
            let seen = (error.kind, error.status, error.code.as_str());
            assert_eq!(seen, (ErrorKind::CredentialsRefused, Some(401), ""), "{error}");
            assert!(error.message.contains(words), "{words}: {error}");
            assert_no_secret(&error);
        }
    }
    assert!(livekit.client().list_egress(None).await.unwrap().is_empty());
}

pub(crate) async fn what_is_not_there_is_404_and_an_empty_project_has_no_egress(livekit: impl LiveKit) {
    let client = livekit.client();
    assert!(client.list_egress(None).await.unwrap().is_empty());
    assert!(client.list_egress(Some("nobody")).await.unwrap().is_empty());
    let missing = client.start_room_composite("nobody", URL).await.unwrap_err();
    assert_eq!((missing.kind, missing.status), (ErrorKind::NotFound, Some(404)));
    assert_eq!(missing.message, "twirp error unknown: requested room does not exist");
    assert!(missing.kind.is_definite_no());
    client.stop_egress("EG_nobody").await.unwrap();
    let moved = client.update_stream("EG_nobody", URL, URL).await.unwrap_err();
    assert_eq!((moved.kind, moved.status), (ErrorKind::NotFound, Some(404)), "{moved}");
    assert_eq!(moved.message, "twirp error unknown: egress does not exist");
}

pub(crate) async fn a_wrong_base_url_is_told_from_a_missing_room(livekit: impl LiveKit) {
    // The second is answered by the API itself, which does not know such a path.
    for path in ["elsewhere", "twirp/livekit.Egress"] {
        let elsewhere = client(&format!("{}/{path}", livekit.url()), KEY, SECRET);
        for error in [
            elsewhere.list_egress(None).await.unwrap_err(),
            elsewhere.room(ROOM).await.unwrap_err(),
            elsewhere.stop_egress("EG_nobody").await.unwrap_err(),
        ] {
            assert_eq!((error.kind, error.status), (ErrorKind::Refused, Some(404)), "{path}: {error}");
        }
    }
}

/// The LiveKit has no egress worker.
pub(crate) async fn no_egress_worker_is_a_lack_of_capacity(mut livekit: impl LiveKit) {
    livekit.join(ROOM, &person("ada", Microphone::Open)).await;
    let client = livekit.client();
    let begun = client.start_room_composite(ROOM, URL);
    let error = tokio::time::timeout(PATIENCE, begun).await.expect("no answer").unwrap_err();
    let seen = (error.kind, error.status, error.code.as_str());
    assert_eq!(seen, (ErrorKind::NoCapacity, Some(503), "unavailable"), "{error}");
    assert!(!error.kind.is_definite_no());
    assert_no_secret(&error);
    assert!(client.list_egress(None).await.unwrap().iter().all(|egress| egress.room == ROOM));
}

/// Somebody comes, speaks and goes; the LiveKit tells `hook`.
pub(crate) async fn webhooks_are_signed_and_count_once(mut livekit: impl LiveKit, hook: Hook) {
    let heard = |name: &str| hook.heard().iter().any(|got| got.names(name));
    livekit.join(ROOM, &person("ada", Microphone::Open)).await;
    until("a track", || async { heard("track_published") }).await;
    livekit.leave(ROOM, "ada").await;
    until("the room's end", || async { heard("room_finished") }).await;
    let mut webhooks = Webhooks::new(KEY, SECRET);
    let mut names = Vec::new();
    for got in hook.heard().iter().filter(|got| got.body.contains(ROOM)) {
        assert!(got.authorization.starts_with("eyJ"), "a bare JWT");
        assert_eq!(got.content_type, "application/webhook+json");
        let event = webhooks.take(&got.body, &got.authorization).unwrap().expect("it came before");
        assert_eq!(event.room.unwrap().name, ROOM);
        names.push(event.event);
        assert!(webhooks.take(&got.body, &got.authorization).unwrap().is_none(), "it counts twice");
        let forged = got.body.replace(ROOM, "mutiny");
        assert!(matches!(webhooks.take(&forged, &got.authorization), Err(Rejected::Signature)));
        let mut others = Webhooks::new(KEY, "another-secret-of-thirty-two-chars");
        assert!(matches!(others.take(&got.body, &got.authorization), Err(Rejected::Signature)));
        assert!(matches!(
            Webhooks::new("APIother", SECRET).take(&got.body, &got.authorization),
            Err(Rejected::Signature)
        ));
    }
    let at = |name: &str| {
        names.iter().position(|seen| seen == name).unwrap_or_else(|| panic!("{name}: {names:?}"))
    };
    let steps =
        ["room_started", "participant_joined", "track_published", "participant_left", "room_finished"];
    assert!(steps.map(at).is_sorted(), "{names:?}");
}

/// The token of somebody who joins.
pub(crate) fn ticket(room: &str, person: &Person) -> String {
    let grants = VideoGrants {
        room_join: true,
        room: room.into(),
        hidden: person.hidden,
        agent: person.agent,
        ..Default::default()
    };
    let kind = if person.agent { Kind::Agent } else { Kind::Standard };
    AccessToken::with_api_key(KEY, SECRET)
        .with_identity(&person.identity)
        .with_kind(&kind.as_str_name().to_lowercase())
        .with_grants(grants)
        .to_jwt()
        .unwrap()
}
