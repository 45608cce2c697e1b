//! Who is let in: keys, viewers' tokens, tickets, the four ways to show them on a socket, renewal and the end of a right.

use crate::common::{Client, Door, Heard, JWT_SECRET, KEY, keyed, problem, signed, token, unix};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use roomscribe_gateway::{Auth, Config, Secret};
use roomscribe_transcript::SessionId;
use serde_json::{Value, json};
use std::time::Duration;

async fn status_with(door: &Door, token: &str) -> u16 {
    let request = door.http.get(format!("{}/v1/sessions/standup-name", door.base)).bearer_auth(token);
    request.send().await.unwrap().status().as_u16()
}

/// A socket that shows nothing in its handshake.
async fn bare(door: &Door, id: &SessionId, query: &str) -> Client {
    Client::open(&door.stream_url(id.as_str(), query), None).await
}

#[tokio::test]
async fn every_route_of_sessions_asks_for_a_token() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let one = format!("/v1/sessions/{id}");
    for (method, path) in [
        ("GET", "/v1/sessions".into()),
        ("POST", "/v1/sessions".into()),
        ("GET", one.clone()),
        ("DELETE", one.clone()),
        ("GET", format!("{one}/transcript")),
        ("DELETE", format!("{one}/transcript")),
        ("POST", format!("{one}/ingest-key")),
        ("POST", format!("{one}/tickets")),
    ] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let answer = door.http.request(method.clone(), format!("{}{path}", door.base)).send().await.unwrap();
        assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"roomscribe\"");
        assert_eq!(problem(answer).await, (401, "unauthorized".into()), "{method} {path}");
    }
}

#[tokio::test]
async fn either_api_key_opens_and_the_scheme_is_read_in_any_case() {
    let door = Door::with(keyed()).await;
    door.session("standup").await;
    for header in [format!("Bearer {KEY}"), format!("bearer  {KEY}"), "BEARER another-key".into()] {
        let request = door.http.get(format!("{}/v1/sessions", door.base)).header("authorization", &header);
        assert_eq!(request.send().await.unwrap().status(), 200, "{header}");
    }
    for header in
        [format!("Basic {KEY}"), KEY.into(), "Bearer".into(), "Bearer ".into(), format!("Bearer x{KEY}")]
    {
        let request = door.http.get(format!("{}/v1/sessions", door.base)).header("authorization", &header);
        assert_eq!(request.send().await.unwrap().status(), 401, "{header}");
    }
}

#[tokio::test]
async fn a_viewers_token_is_judged_by_signature_algorithm_audience_time_and_session() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let none = {
        let genuine = token(json!({}));
        let body = genuine.split('.').nth(1).unwrap();
        format!("{}.{body}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#))
    };
    let table = [
        ("all sessions", token(json!({})), 200),
        ("this session", token(json!({"sid": id.as_str()})), 200),
        ("this room", token(json!({"sid": "room:standup"})), 200),
        ("several audiences", token(json!({"aud": ["x", "roomscribe"]})), 200),
        ("just expired, within the leeway", token(json!({"exp": unix() - 5})), 200),
        ("another session", token(json!({"sid": uuid::Uuid::now_v7().to_string()})), 403),
        ("another room", token(json!({"sid": "room:stand"})), 403),
        ("the name is no id", token(json!({"sid": "standup-name"})), 403),
        ("no scope read", token(json!({"scope": "control publish"})), 403),
        ("expired", token(json!({"exp": unix() - 60})), 401),
        ("not yet", token(json!({"nbf": unix() + 120})), 401),
        ("another audience", token(json!({"aud": "livekit"})), 401),
        ("no audience", token(json!({"aud": null})), 401),
        ("no end", token(json!({"exp": null})), 401),
        ("no subject", token(json!({"sub": null})), 401),
        ("no session", token(json!({"sid": null})), 401),
        ("another secret", signed(json!({}), Algorithm::HS256, "another secret of at least 32 bytes"), 401),
        ("HS384", signed(json!({}), Algorithm::HS384, JWT_SECRET), 401),
        ("HS512", signed(json!({}), Algorithm::HS512, JWT_SECRET), 401),
        ("alg none", none, 401),
        ("the secret itself", JWT_SECRET.replace(' ', "_"), 401),
    ];
    for (what, token, status) in table {
        assert_eq!(status_with(&door, &token).await, status, "{what}");
    }
}

#[tokio::test]
async fn a_gateway_with_neither_key_nor_secret_is_shut_not_open() {
    let door =
        Door::with(Config::new(Auth::Required { api_keys: vec![Secret::new("")], jwt_secret: None })).await;
    door.session("standup").await;
    for token in ["", KEY, "null", &token(json!({}))] {
        assert_eq!(status_with(&door, token).await, 401, "{token}");
    }
}

#[tokio::test]
async fn an_open_gateway_will_not_listen_beyond_loopback_nor_answer_to_a_stranger() {
    use tower_service::Service;
    let app = || {
        roomscribe_gateway::app(
            crate::common::open(),
            std::sync::Arc::<crate::common::Directory>::default(),
            roomscribe_transcript::Log::memory(),
        )
    };
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = app().serve(listener, std::future::pending()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("ROOMSCRIBE_API_KEY"), "{refused}");
    // Its routes behind somebody else's listener: nobody can say from where the request comes.
    let request = axum::extract::Request::get("/v1/sessions").header("host", "localhost");
    let answer = app().router().call(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn an_open_gateway_answers_under_loopback_names_only() {
    let door = Door::with(crate::common::open()).await;
    for (host, status) in [("localhost", 200), ("127.0.0.1:99", 200), ("rebound.evil.test", 403)] {
        let request = door.http.get(format!("{}/v1/sessions", door.base)).header("host", host);
        assert_eq!(request.send().await.unwrap().status(), status, "{host}");
    }
}

#[tokio::test]
async fn a_browser_shows_its_token_as_a_subprotocol_encoded_or_plain() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let jwt = token(json!({"sid": "room:standup"}));
    for item in [jwt.clone(), URL_SAFE_NO_PAD.encode(&jwt), URL_SAFE_NO_PAD.encode(KEY)] {
        let offer = format!("roomscribe.v1.json, bearer.{item}");
        let headers = [("sec-websocket-protocol", offer)];
        let mut viewer = Client::with_headers(&door.stream_url(id.as_str(), ""), &headers).await.unwrap();
        assert_eq!(viewer.frame().await["type"], "hello");
    }
    let headers = [("sec-websocket-protocol", "roomscribe.v1.json, bearer.guessed".to_owned())];
    let mut viewer = Client::with_headers(&door.stream_url(id.as_str(), ""), &headers).await.unwrap();
    assert_eq!(viewer.close_code().await, 4401);
}

#[tokio::test]
async fn a_viewer_may_show_its_token_in_the_first_frame() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.speak(&id, 2).await;
    let mut viewer = bare(&door, &id, "?after=1").await;
    viewer.say(&json!({"type": "auth", "token": token(json!({}))}).to_string()).await;
    assert_eq!(viewer.frame().await["type"], "hello");
    assert_eq!(viewer.frame().await["offset"], 2);
    for first in [r#"{"type":"ping"}"#, r#"{"type":"auth","token":"guessed"}"#, r#"{"type":"auth"}"#, "x"] {
        let mut viewer = bare(&door, &id, "").await;
        viewer.say(first).await;
        assert_eq!(viewer.close_code().await, 4401, "{first}");
    }
}

#[tokio::test]
async fn a_viewer_that_shows_no_token_in_time_is_4401_and_has_heard_nothing() {
    let door = Door::with(Config { auth_timeout: Duration::from_millis(50), ..keyed() }).await;
    let id = door.session("standup").await;
    door.speak(&id, 2).await;
    let mut viewer = bare(&door, &id, "").await;
    assert_eq!(viewer.frame().await["type"], "error");
    assert_eq!(viewer.next().await, Heard::Closed(4401));
    assert_eq!(keyed().auth_timeout, Duration::from_secs(5), "the protocol's own time");
}

#[tokio::test]
async fn a_token_in_the_url_counts_only_where_the_settings_allow_it() {
    let query = format!("?access_token={KEY}");
    let quick = Config { auth_timeout: Duration::from_millis(50), ..keyed() };
    let door = Door::with(quick.clone()).await;
    let id = door.session("standup").await;
    assert_eq!(bare(&door, &id, &query).await.close_code().await, 4401);
    let door = Door::with(Config { access_token_in_url: true, ..quick }).await;
    let id = door.session("standup").await;
    assert_eq!(bare(&door, &id, &query).await.frame().await["type"], "hello");
    assert_eq!(bare(&door, &id, "?access_token=guessed").await.close_code().await, 4401);
}

async fn ticket(door: &Door, id: &SessionId, token: &str) -> Value {
    let request = door.http.post(format!("{}/v1/sessions/{id}/tickets", door.base)).bearer_auth(token);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_ticket_opens_its_own_session_for_a_minute_as_often_as_a_page_reconnects() {
    let door = Door::with(keyed()).await;
    let (id, other) = (door.session("standup").await, door.session("other").await);
    let made = ticket(&door, &id, &token(json!({"sid": "room:standup"}))).await;
    let lives =
        made["expiresAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second() - unix() as i64;
    assert!((55..=60).contains(&lives), "{lives} s");
    let query = format!("?ticket={}", made["ticket"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(bare(&door, &id, &query).await.frame().await["type"], "hello");
    }
    assert_eq!(bare(&door, &other, &query).await.close_code().await, 4403);
    assert_eq!(bare(&door, &id, "?ticket=e30.e30").await.close_code().await, 4401);
    let as_bearer = status_with(&door, made["ticket"].as_str().unwrap()).await;
    assert_eq!(as_bearer, 401, "a ticket is for the socket only");
}

#[tokio::test]
async fn a_ticket_never_outlives_the_token_that_made_it() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let made = ticket(&door, &id, &token(json!({"exp": unix() + 10}))).await;
    let ends = made["expiresAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    assert!(ends <= unix() as i64 + 10);
    let query = format!("?ticket={}", made["ticket"].as_str().unwrap());
    let mut viewer = bare(&door, &id, &query).await;
    assert_eq!(
        viewer.of_type("authExpiring").await["type"],
        "authExpiring",
        "the maker's end is the viewer's"
    );
}

#[tokio::test]
async fn a_viewer_whose_token_ends_soon_is_told_and_may_renew_it_in_band() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    let url = door.stream_url(id.as_str(), "");
    let mut viewer = Client::open(&url, Some(&token(json!({"exp": unix() + 30})))).await;
    let left = viewer.of_type("authExpiring").await["seconds"].as_u64().unwrap();
    assert!((25..=30).contains(&left), "{left}");
    for bad in [json!({"sid": "room:other"}), json!({"scope": "control"}), json!({"exp": unix() - 60})] {
        viewer.say(&json!({"type": "auth", "token": token(bad)}).to_string()).await;
        let said = viewer.frame().await;
        assert_eq!(
            (&said["type"], &said["code"], &said["retry"]),
            (&json!("error"), &json!("auth"), &json!(true))
        );
    }
    viewer.say(&json!({"type": "auth", "token": token(json!({}))}).to_string()).await;
    let ok = viewer.frame().await;
    assert_eq!(ok["type"], "authOk");
    assert!((3590..=3600).contains(&ok["expiresInSeconds"].as_u64().unwrap()), "{ok}");
    door.speak(&id, 1).await;
    assert_eq!(viewer.frame().await["offset"], 1);
}

#[tokio::test]
async fn after_the_grace_an_expired_viewer_is_4401() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    // Within the clocks' leeway, and a second before the end of the grace of 25 s.
    let ended = token(json!({"exp": unix() - 24}));
    let mut viewer = Client::open(&door.stream_url(id.as_str(), ""), Some(&ended)).await;
    assert_eq!(viewer.frame().await["type"], "hello");
    assert_eq!(viewer.frame().await, json!({"type": "authExpiring", "seconds": 0}));
    assert_eq!(viewer.next().await, Heard::Closed(4401));
}
