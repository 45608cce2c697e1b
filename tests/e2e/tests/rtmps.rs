//! `serve` with TLS_CERT and TLS_KEY: the address says rtmps, and real publishers that follow it are heard.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use roomscribe_e2e::{Place, Program, Viewer, lines, repository};
use serde_json::json;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// A certificate for `localhost` beside the data, and `serve` with it.
fn secured(place: &Place) -> Command {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (place.data.path().join("tls.crt"), place.data.path().join("tls.key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut command = place.command(&["--speech", "local"]).unwrap();
    command.env("TLS_CERT", cert).env("TLS_KEY", key).env("RTMP_HOST", "localhost");
    command
}

fn publish(program: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is missing ({error}); `make e2e-local` installs it"))
}

/// A session whose address is a publisher's: it is given the URL, and heard.
async fn assert_heard(program: &Program, place: &Place, room: &str, publisher: impl Fn(&str) -> Child) {
    let session = program.start_push(room, json!({})).await.unwrap();
    let url = session["ingest"]["url"].as_str().unwrap();
    let expected = format!("rtmps://localhost:{}/live/", place.rtmp);
    assert!(
        url.starts_with(&expected) && session["ingest"]["server"].as_str().unwrap().starts_with(&expected)
    );
    let mut publisher = publisher(url);
    let mut viewer = Viewer::new(&program.url, &session);
    viewer.watch_until(|viewer| viewer.finals().len() >= 2).await.unwrap();
    publisher.kill().await.unwrap();
    viewer.assert_each_segment_once();
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    assert!(program.get(&path).await.unwrap()["mediaZeroAt"].is_string());
}

#[tokio::test]
async fn publishers_that_follow_an_rtmps_address_are_heard_and_http_stays_plain() {
    let place = Place::new().unwrap();
    let program = place.run(secured(&place)).await.unwrap();
    let meeting = repository("tests/fixtures/meeting/meeting.aac");
    let meeting = meeting.to_str().unwrap();
    let cert = place.data.path().join("tls.crt");
    // It verifies the certificate and its name, and ends when it does not trust them.
    let trust = ["-tls_verify", "1", "-ca_file", cert.to_str().unwrap()];
    let input = ["-nostdin", "-v", "error", "-re", "-i", meeting, "-c:a", "aac"];
    let ffmpeg = |url: &str| publish("ffmpeg", &[&input[..], &trust, &["-f", "flv", url]].concat());
    let gstreamer = |url: &str| {
        let (from, to) = (format!("location={meeting}"), format!("location={url}"));
        let pipeline =
            ["filesrc", &from, "!", "aacparse", "!", "flvmux", "streamable=true", "!", "rtmp2sink", &to];
        publish("gst-launch-1.0", &[&["-q"], &pipeline[..], &["tls-validation-flags=0"]].concat())
    };
    assert_heard(&program, &place, "ffmpeg", ffmpeg).await;
    assert_heard(&program, &place, "gstreamer", gstreamer).await;
    assert_eq!(program.terminate().await.unwrap(), 0);
}

#[tokio::test]
async fn serve_says_that_its_rtmp_is_rtmps() {
    let place = Place::new().unwrap();
    let mut command = secured(&place);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = lines(&mut child).unwrap();
    let line = loop {
        let line = said.next_line().await.unwrap().expect("it ended");
        if line.starts_with("rtmp") {
            break line;
        }
    };
    assert_eq!(line, format!("rtmps      localhost:{}", place.rtmp));
}
