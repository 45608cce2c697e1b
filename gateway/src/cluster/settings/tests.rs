//! Settings as they are given.

use super::*;

fn args(flags: &[&str]) -> Args {
    Args::try_parse_from(["gateway"].iter().chain(flags)).unwrap()
}

#[test]
fn a_gateway_without_keys_or_with_ones_that_can_be_guessed_does_not_start() {
    assert_eq!(args(&[]).auth().unwrap_err().setting, "ROOMSCRIBE_API_KEY");
    assert_eq!(args(&["--api-key", "short"]).auth().unwrap_err().setting, "ROOMSCRIBE_API_KEY");
    assert_eq!(args(&["--jwt-secret", "short"]).auth().unwrap_err().setting, "ROOMSCRIBE_JWT_SECRET");
    assert_eq!(args(&["--jwks-url", "https://h"]).auth().unwrap_err().setting, "ROOMSCRIBE_API_KEY");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, "0123456789abcdef\nfedcba9876543210\n").unwrap();
    let crate::Auth::Required { api_keys, jwt_secret } =
        args(&["--api-key-file", file.to_str().unwrap()]).auth().unwrap()
    else {
        unreachable!("a key is set")
    };
    assert_eq!((api_keys.len(), jwt_secret), (2, None));
}

#[test]
fn a_cluster_without_nats_has_no_transcripts_and_a_wrong_url_is_not_quoted() {
    for (url, says) in
        [("", "is not set"), ("http://a:hush@h", "no URL"), ("nats://hush@", "no URL"), ("h, ,i", "no URL")]
    {
        let error = args(&["--nats-url", url]).nats().unwrap_err();
        assert!(error.setting == "NATS_URL" && error.detail.contains(says), "{error}");
        assert!(!error.detail.contains("hush"), "{error}");
    }
    let settings =
        args(&["--nats-url", " tls://h:4222,nats://user:password@[::1]:4222", "--retention-days", "2"])
            .nats()
            .unwrap();
    assert_eq!((settings.replicas, settings.retention), (1, Duration::from_secs(172_800)));
    let error = args(&["--nats-url", "h", "--nats-creds", "/not/there"]).nats().unwrap_err();
    assert!(error.setting == "NATS_CREDS" && error.detail.contains("/not/there"), "{error}");
}

#[test]
fn defaults_that_no_request_could_have_are_refused_by_field() {
    let said = |json: &str| args(&["--session-defaults", json]).defaults().unwrap_err().detail;
    assert!(said(r#"{"colour": 1}"#).contains("colour"));
    assert!(said(r#"{"roomName": "a"}"#).contains("roomName"));
    assert!(said(r#"{"limits": {"maxDurationSeconds": 0}}"#).contains("/limits/maxDurationSeconds"));
    assert!(said("[]").contains("no JSON object"));
    assert_eq!(
        args(&["--session-defaults", r#"{"worker": {"disruption": "Never"}}"#]).defaults().unwrap().len(),
        1
    );
}

#[test]
fn sessions_are_created_in_the_first_namespace_and_each_is_watched_once() {
    assert_eq!(args(&["--gateway-namespaces", "b, a,b,"]).namespaces(), ["b", "a"]);
    assert_eq!(args(&["--namespace", "own"]).namespaces(), ["own"]);
}
