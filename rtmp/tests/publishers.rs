//! Real publishers against the core on a real socket.

mod common;

use std::process::{Child, Command, Stdio};

use common::Server;
use roomscribe_rtmp::{Limits, Rejection};

const KEY: &str = "s3cret-Key_0123456789";

fn server() -> Server {
    Server::start(KEY, Rejection::Denied, Limits::default())
}

#[allow(clippy::panic, reason = "a test helper: says what is missing")]
fn spawn(program: &str, args: &[&str]) -> Child {
    Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap_or_else(
        |e| panic!("{program} is needed for this test ({e}); Debian: apt install ffmpeg gstreamer1.0-tools gstreamer1.0-plugins-{{base,good,bad}}"),
    )
}

#[test]
fn ffmpeg_publishes_and_says_goodbye() {
    let server = server();
    let url = server.url(&format!("/live/abcd1234/session.1/{KEY}"));
    let source = "sine=frequency=440:sample_rate=48000";
    let args =
        ["-v", "error", "-f", "lavfi", "-i", source, "-t", "2", "-ac", "2", "-c:a", "aac", "-f", "flv", &url];
    let output = spawn("ffmpeg", &args).wait_with_output().expect("ffmpeg");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records = server.wait("the end", |all| all.iter().any(|r| r.closed));
    let record = &records[0];
    assert_eq!(record.app.as_deref(), Some("live/abcd1234/session.1"));
    assert!(record.unpublished && record.error.is_none(), "{:?}", record.error);
    assert!(record.audio.len() > 90, "{} messages", record.audio.len());
    assert_eq!(record.audio[0].1[..2], [0xaf, 0], "the AAC header comes first");
}
