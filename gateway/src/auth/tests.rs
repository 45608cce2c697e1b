use super::*;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

const SECRET: &str = "a shared secret of at least 32 bytes";
const NOW: u64 = 1_800_000_000;

fn gatekeeper() -> Gatekeeper {
    Gatekeeper::new(
        &Auth::Required {
            api_keys: vec![Secret::new("first-key"), Secret::new("second-key")],
            jwt_secret: Some(Secret::new(SECRET)),
        },
        None,
    )
}

fn claims() -> Value {
    json!({"sub": "eve", "exp": NOW + 600, "aud": "roomscribe", "sid": "room:standup", "scope": "read"})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn signed(claims: &Value, algorithm: Algorithm, secret: &str) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn check(claims: &Value) -> Result<Grant, Refused> {
    gatekeeper().bearer(Some(&signed(claims, Algorithm::HS256, SECRET)), NOW)
}

#[test]
fn every_configured_api_key_opens_everything_and_no_other_does() {
    for key in ["first-key", "second-key"] {
        assert!(gatekeeper().bearer(Some(key), NOW).unwrap().has(Need::Control));
    }
    for key in ["", "first-ke", "first-key ", "third-key"] {
        assert_eq!(gatekeeper().bearer(Some(key), NOW), Err(Refused::Unknown), "{key:?}");
    }
    assert_eq!(gatekeeper().bearer(None, NOW), Err(Refused::Missing));
}

#[test]
fn an_empty_api_key_in_the_settings_opens_nothing() {
    let keeper = Gatekeeper::new(&Auth::Required { api_keys: vec![Secret::new("")], jwt_secret: None }, None);
    assert_eq!(keeper.bearer(Some(""), NOW), Err(Refused::Unknown));
}

#[test]
fn a_secret_that_can_be_guessed_opens_nothing() {
    for secret in ["", "a secret of only 31 bytes......"] {
        let auth = Auth::Required { api_keys: vec![], jwt_secret: Some(Secret::new(secret)) };
        let token = signed(&claims(), Algorithm::HS256, secret);
        assert_eq!(
            Gatekeeper::new(&auth, None).bearer(Some(&token), NOW),
            Err(Refused::Unknown),
            "{secret:?}"
        );
    }
}

#[test]
fn a_viewers_token_is_judged_by_every_claim() {
    let table = [
        (claims(), Ok(())),
        (with("exp", json!(NOW - 29)), Ok(())),
        (with("exp", json!(NOW - 30)), Err(Refused::Expired)),
        (with("nbf", json!(NOW + 30)), Ok(())),
        (with("nbf", json!(NOW + 31)), Err(Refused::Unknown)),
        (with("aud", json!("livekit")), Err(Refused::Unknown)),
        (with("aud", json!(["other", "roomscribe"])), Ok(())),
        (with("exp", json!("soon")), Err(Refused::Unknown)),
        (without("exp"), Err(Refused::Unknown)),
        (without("sub"), Err(Refused::Unknown)),
        (without("aud"), Err(Refused::Unknown)),
        (without("sid"), Err(Refused::Unknown)),
        (without("scope"), Err(Refused::Unknown)),
    ];
    for (claims, expected) in table {
        assert_eq!(check(&claims).map(drop), expected, "{claims}");
    }
}

#[test]
fn only_hs256_with_our_secret_counts() {
    let keeper = gatekeeper();
    for (algorithm, secret) in [
        (Algorithm::HS256, "another secret of 32 bytes or more"),
        (Algorithm::HS384, SECRET),
        (Algorithm::HS512, SECRET),
    ] {
        let token = signed(&claims(), algorithm, secret);
        assert_eq!(keeper.bearer(Some(&token), NOW), Err(Refused::Unknown), "{algorithm:?}");
    }
    let genuine = signed(&claims(), Algorithm::HS256, SECRET);
    let body = genuine.split('.').nth(1).unwrap();
    // {"alg":"none"}
    for token in [format!("eyJhbGciOiJub25lIn0.{body}."), format!("eyJhbGciOiJub25lIn0.{body}"), "..".into()]
    {
        assert_eq!(keeper.bearer(Some(&token), NOW), Err(Refused::Unknown), "{token}");
    }
}

#[test]
fn sid_and_scope_say_which_session_and_what() {
    let table = [
        ("room:standup", "read", true, true, false),
        ("room:other", "read", false, true, false),
        ("*", "read control publish", true, true, true),
        ("the-id", "control", true, false, true),
        ("the-idx", "read", false, true, false),
        ("room:", "", false, false, false),
        ("standup", "reader controls", false, false, false),
    ];
    for (sid, scope, reaches, read, control) in table {
        let mut claims = with("sid", json!(sid));
        claims["scope"] = json!(scope);
        let grant = check(&claims).unwrap();
        assert_eq!(
            (grant.reaches("the-id", "standup"), grant.has(Need::Read), grant.has(Need::Control)),
            (reaches, read, control),
            "{sid} {scope}"
        );
    }
}

#[test]
fn a_ticket_reads_one_session_for_a_minute_and_keeps_its_makers_end() {
    let keeper = gatekeeper();
    let maker = check(&claims()).unwrap();
    let (ticket, expires) = keeper.issue(&maker, "the-id", NOW);
    assert_eq!(expires, NOW + TICKET_SECONDS);
    let grant = keeper.ticket(&ticket, NOW + 59).unwrap();
    assert!(grant.has(Need::Read) && !grant.has(Need::Control));
    assert!(grant.reaches("the-id", "standup") && !grant.reaches("another-id", "standup"));
    assert_eq!(grant.expires, maker.expires);
    assert_eq!(keeper.ticket(&ticket, NOW + 60), Err(Refused::Expired));
}

#[test]
fn a_ticket_is_no_bearer_token_and_a_changed_one_is_nothing() {
    let keeper = gatekeeper();
    let (ticket, _) = keeper.issue(&check(&claims()).unwrap(), "the-id", NOW);
    assert_eq!(keeper.bearer(Some(&ticket), NOW), Err(Refused::Unknown));
    for at in 0..ticket.len() {
        let mut bytes = ticket.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(keeper.ticket(&String::from_utf8(bytes).unwrap(), NOW).is_err(), "byte {at}");
    }
}

#[test]
fn a_replica_with_the_same_settings_takes_the_ticket_and_a_stranger_does_not() {
    let (ticket, _) = gatekeeper().issue(&check(&claims()).unwrap(), "the-id", NOW);
    assert!(gatekeeper().ticket(&ticket, NOW).is_ok());
    let stranger =
        Gatekeeper::new(&Auth::Required { api_keys: vec![Secret::new("first-key")], jwt_secret: None }, None);
    assert_eq!(stranger.ticket(&ticket, NOW), Err(Refused::Unknown));
}

#[test]
fn a_lease_warns_once_a_minute_before_and_ends_after_the_grace() {
    let mut lease = Lease::new(Some(NOW + 100));
    assert_eq!(lease.step(NOW), LeaseStep::WaitUntil(Some(NOW + 40)));
    assert_eq!(lease.step(NOW + 41), LeaseStep::Warn { seconds: 59 });
    assert_eq!(lease.step(NOW + 42), LeaseStep::WaitUntil(Some(NOW + 125)));
    assert_eq!(lease.step(NOW + 125), LeaseStep::Over);
    assert_eq!(Lease::new(None).step(NOW), LeaseStep::WaitUntil(None));
}

/// A key pair of somebody who signs tokens, and its public half in a key set.
fn signer(id: &str) -> (EncodingKey, Value) {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    // SEC 1: 4, x, y.
    let point = pair.public_key_raw();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": x, "y": y});
    (EncodingKey::from_ec_der(&pair.serialize_der()), jwk)
}

fn of_signer(id: Option<&str>, algorithm: Algorithm, claims: &Value, key: &EncodingKey) -> String {
    encode(&Header { kid: id.map(str::to_owned), ..Header::new(algorithm) }, claims, key).unwrap()
}

#[test]
fn tokens_of_others_are_taken_while_their_key_is_in_the_key_set() {
    let (keys, (old, old_jwk), (new, new_jwk)) = (KeySet::default(), signer("old"), signer("new"));
    let auth =
        Auth::Required { api_keys: vec![Secret::new("first-key")], jwt_secret: Some(Secret::new(SECRET)) };
    let keeper = Gatekeeper::new(&auth, Some(keys.clone()));
    let opens = |token: &str| keeper.bearer(Some(token), NOW);
    let by_old = of_signer(Some("old"), Algorithm::ES256, &claims(), &old);
    assert_eq!(opens(&by_old), Err(Refused::Unknown), "nothing is fetched yet");
    assert_eq!(keys.replace(json!({"keys": [old_jwk]}).to_string().as_bytes()), Ok(1));
    assert_eq!(opens(&by_old).unwrap().subject, "viewer:eve");
    assert!(opens(&of_signer(None, Algorithm::ES256, &claims(), &old)).is_ok(), "the only key needs no name");
    let expired = of_signer(Some("old"), Algorithm::ES256, &with("exp", json!(NOW - 60)), &old);
    assert_eq!(opens(&expired), Err(Refused::Expired));
    assert_eq!(opens(&of_signer(Some("old"), Algorithm::ES256, &claims(), &new)), Err(Refused::Unknown));
    assert_eq!(keys.replace(json!({"keys": [new_jwk]}).to_string().as_bytes()), Ok(1));
    assert_eq!(opens(&by_old), Err(Refused::Unknown), "the key was withdrawn");
    assert!(opens(&of_signer(Some("new"), Algorithm::ES256, &claims(), &new)).is_ok());
    assert!(opens(&signed(&claims(), Algorithm::HS256, SECRET)).is_ok(), "our own tokens too");
}

#[test]
fn a_public_key_set_holds_no_secret_that_a_token_could_be_signed_with() {
    let keys = KeySet::default();
    let symmetric = json!({"kty": "oct", "kid": "k", "alg": "HS256", "k": "c2VjcmV0LXRoYXQtZXZlcnlib2R5LWNhbi1yZWFkLS0t"});
    assert!(keys.replace(json!({"keys": [symmetric]}).to_string().as_bytes()).is_err());
    assert!(keys.replace(b"<html>").is_err());
    // The classic: the public key's text as an HMAC secret.
    let (_, jwk) = signer("k");
    keys.replace(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
    let auth = Auth::Required { api_keys: vec![], jwt_secret: None };
    let forged = of_signer(
        Some("k"),
        Algorithm::HS256,
        &claims(),
        &EncodingKey::from_secret(jwk.to_string().as_bytes()),
    );
    assert_eq!(Gatekeeper::new(&auth, Some(keys)).bearer(Some(&forged), NOW), Err(Refused::Unknown));
}
