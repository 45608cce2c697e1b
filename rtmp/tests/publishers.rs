//! Real publishers against the core on a real socket: ffmpeg, GStreamer's rtmp2sink (what LiveKit's egress uses),
//! librtmp through GStreamer's rtmpsink (OBS's ancestor), and rml_rtmp's client.

mod common;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::publisher::{Program, Rml, Sound, Told, ffmpeg, ffmpeg_from, gstreamer};
use common::{Record, Server};
use roomscribe_rtmp::{Limits, Rejection, SessionError, UnwrappedTime};

const KEY: &str = "s3cret-Key_0123456789";
const APP: &str = "live/abcd1234/session.1";
/// Every publisher must have left by then.
const DEADLINE: Duration = Duration::from_secs(10);

const STEREO_48: Sound = Sound { rate: 48_000, channels: 2, live: false };
const LIVE: Sound = Sound { live: true, ..STEREO_48 };

type Publisher = fn(&str, Sound) -> Program;

fn rtmp2sink(url: &str, sound: Sound) -> Program {
    gstreamer("rtmp2sink", url, sound)
}

fn librtmp(url: &str, sound: Sound) -> Program {
    gstreamer("rtmpsink", url, sound)
}

fn server(rejection: Rejection) -> Server {
    Server::start(KEY, rejection, Limits::default())
}

fn good_url(server: &Server) -> String {
    server.url(&format!("/{APP}/{KEY}"))
}

/// AudioSpecificConfig of AAC-LC (ISO/IEC 14496-3): object type 2, rate index, channels.
fn aac_header(sound: Sound) -> [u8; 4] {
    let index = if sound.rate == 48_000 { 3u16 } else { 4 };
    let [high, low] = (2u16 << 11 | index << 7 | (sound.channels as u16) << 3).to_be_bytes();
    [0xaf, 0, high, low]
}

fn first_closed(server: &Server) -> Record {
    server.wait("the first connection to close", |all| all.first().is_some_and(|r| r.closed)).swap_remove(0)
}

fn assert_good_audio(record: &Record, sound: Sound) {
    assert_eq!((record.app.as_deref(), record.key.as_deref()), (Some(APP), Some(KEY)));
    assert!(record.tc_url.starts_with("rtmp://127.0.0.1"), "{}", record.tc_url);
    assert!(!record.metadata.is_empty());
    let header = aac_header(sound);
    assert_eq!(record.audio[0].1[1..4], header[1..], "the AAC header says {sound:?}");
    assert!(record.audio.len() >= 40, "{} messages", record.audio.len());
    let mut time = UnwrappedTime::default();
    let times: Vec<i64> = record.audio.iter().map(|(stamp, _)| time.advance(*stamp)).collect();
    assert!(times.windows(2).all(|pair| (0..100).contains(&(pair[1] - pair[0]))), "{times:?}");
    assert!(record.stats.acknowledgements >= 1);
}

fn publishes_every_format(publisher: Publisher) {
    for (rate, channels) in [(44_100, 2), (48_000, 2), (44_100, 1), (48_000, 1)] {
        let sound = Sound { rate, channels, live: false };
        let server = server(Rejection::Denied);
        let (well, said) = publisher(&good_url(&server), sound).end_within(DEADLINE);
        assert!(well, "{sound:?}: {said}");
        let record = first_closed(&server);
        assert_good_audio(&record, sound);
        assert!(record.unpublished && record.error.is_none(), "{:?}", record.error);
    }
}

#[test]
fn ffmpeg_publishes_44_and_48_khz_mono_and_stereo_and_says_goodbye() {
    publishes_every_format(ffmpeg);
}

#[test]
fn rtmp2sink_publishes_44_and_48_khz_mono_and_stereo_and_says_goodbye() {
    publishes_every_format(rtmp2sink);
}

#[test]
fn librtmp_publishes_44_and_48_khz_mono_and_stereo_and_says_goodbye() {
    publishes_every_format(librtmp);
}

#[test]
fn rml_rtmp_publishes_44_and_48_khz_mono_and_stereo_and_says_goodbye() {
    for (rate, channels) in [(44_100, 2), (48_000, 2), (44_100, 1), (48_000, 1)] {
        let sound = Sound { rate, channels, live: false };
        let server = server(Rejection::Denied);
        let (client, told) = Rml::publish(server.address, APP, KEY);
        let mut client = client.unwrap_or_else(|| unreachable!("accepted, not {told:?}"));
        client.send(&aac_header(sound), 50);
        client.stop();
        client.close();
        let record = first_closed(&server);
        assert!(record.unpublished && record.error.is_none(), "{:?}", record.error);
        assert_eq!(record.audio[0], (0, aac_header(sound).to_vec()));
        let numbers: Vec<u8> = record.audio[1..].iter().map(|(_, body)| body[5]).collect();
        assert_eq!(numbers, (0..50).collect::<Vec<u8>>());
        let times: Vec<u32> = record.audio[1..].iter().map(|(time, _)| *time).collect();
        assert_eq!(times, (0..50).map(|n| n * 23).collect::<Vec<u32>>());
        assert_eq!(record.metadata[0].encoder.as_deref(), Some("roomscribe test"));
    }
}

#[test]
fn ffmpeg_stream_time_goes_on_across_24_31_and_32_bits() {
    // A second from here crosses 2^24, 2^31 and 2^32 ms. The last two are the same to ffmpeg, which sends 31 bits.
    for (seconds, boundary) in [(16_777, 1u32 << 24), (2_147_483, 1 << 31), (4_294_967, 1 << 31)] {
        let server = server(Rejection::Denied);
        let (well, said) = ffmpeg_from(seconds, &good_url(&server), STEREO_48).end_within(DEADLINE);
        assert!(well, "{said}");
        let record = first_closed(&server);
        let frames: Vec<u32> =
            record.audio.iter().filter(|(_, body)| body[1] == 1).map(|frame| frame.0).collect();
        let mut time = UnwrappedTime::default();
        let times: Vec<i64> = frames.iter().map(|stamp| time.advance(*stamp)).collect();
        assert!(times.windows(2).all(|pair| (20..=24).contains(&(pair[1] - pair[0]))), "{frames:?}");
        let (first, last) = (times[0], times[times.len() - 1]);
        assert!(first < i64::from(boundary) && i64::from(boundary) < last, "{first} to {last}");
    }
}

/// The publisher fails before the deadline and its connection is closed; returns what it said.
fn is_refused(publisher: Publisher, path: &str, rejection: Rejection) -> String {
    let server = server(rejection);
    let (well, said) = publisher(&server.url(path), LIVE).end_within(DEADLINE);
    assert!(!well, "it must not think that all is well: {said}");
    let record = first_closed(&server);
    assert!(record.audio.is_empty());
    said
}

#[test]
fn ffmpeg_with_a_bad_key_says_why_and_exits() {
    let said = is_refused(ffmpeg, &format!("/{APP}/wrong"), Rejection::Denied);
    assert!(said.contains("not allowed with this key"), "{said}");
}

#[test]
fn rtmp2sink_with_a_bad_key_says_why_and_exits() {
    let said = is_refused(rtmp2sink, &format!("/{APP}/wrong"), Rejection::Denied);
    assert!(said.contains("publish denied"), "{said}");
}

#[test]
fn librtmp_with_a_bad_key_exits() {
    is_refused(librtmp, &format!("/{APP}/wrong"), Rejection::Denied);
}

#[test]
fn rml_rtmp_with_a_bad_key_is_told_denied() {
    let server = server(Rejection::Denied);
    let (_, told) = Rml::publish(server.address, APP, "wrong");
    assert_eq!(told, Told::Status("NetStream.Publish.Denied".into()));
    assert!(first_closed(&server).audio.is_empty());
}

#[test]
fn every_publisher_of_a_busy_name_exits() {
    let path = format!("/{APP}/wrong");
    let said = is_refused(ffmpeg, &path, Rejection::BadName);
    assert!(said.contains("already being published"), "{said}");
    let said = is_refused(rtmp2sink, &path, Rejection::BadName);
    assert!(said.contains("already exists"), "{said}");
    is_refused(librtmp, &path, Rejection::BadName);
    let server = server(Rejection::BadName);
    let (_, told) = Rml::publish(server.address, APP, "wrong");
    assert_eq!(told, Told::Status("NetStream.Publish.BadName".into()));
}

#[test]
fn publishers_without_a_key_exit_and_the_server_says_so() {
    // rtmp2sink refuses such a URL by itself, before it connects.
    for publisher in [ffmpeg as Publisher, librtmp] {
        let server = server(Rejection::Denied);
        let (well, said) = publisher(&server.url("/live/"), LIVE).end_within(DEADLINE);
        assert!(!well, "{said}");
        assert_eq!(first_closed(&server).error, Some(SessionError::EmptyStreamKey));
    }
    let (well, said) = rtmp2sink(&server(Rejection::Denied).url("/live/"), LIVE).end_within(DEADLINE);
    assert!(!well, "{said}");
    let server = server(Rejection::Denied);
    let (_, told) = Rml::publish(server.address, APP, "");
    assert_eq!(told, Told::Status("NetStream.Publish.Denied".into()));
    assert_eq!(first_closed(&server).error, Some(SessionError::EmptyStreamKey));
}

/// A second publisher with the same key takes over while the first still runs; the first one ends.
fn is_taken_over(publisher: Publisher) {
    let server = server(Rejection::Denied);
    let url = good_url(&server);
    let first = publisher(&url, LIVE);
    server.wait("audio of the first", |all| all.first().is_some_and(|r| r.audio.len() > 5));
    let second = publisher(&url, LIVE);
    let has_audio = |all: &[Record]| all.iter().skip(1).any(|r| r.audio.len() > 20);
    let records = server.wait("audio of the second", has_audio);
    assert!(records[0].error.is_none(), "{:?}", records[0].error);
    let (well, said) = first.end_within(DEADLINE);
    assert!(!well, "a publisher that was cut off must know: {said}");
    let records = server.wait("the first to close", |all| all[0].closed);
    let taker = records.iter().skip(1).find(|r| r.audio.len() > 20).expect("the second");
    assert_eq!(taker.audio[0].1[..2], [0xaf, 0], "it sends its AAC header again");
    drop(second);
}

#[test]
fn a_second_ffmpeg_takes_over_from_the_first() {
    is_taken_over(ffmpeg);
}

#[test]
fn a_second_rtmp2sink_takes_over_from_the_first() {
    is_taken_over(rtmp2sink);
}

#[test]
fn a_second_librtmp_takes_over_from_the_first() {
    is_taken_over(librtmp);
}

#[test]
fn a_second_rml_rtmp_takes_over_from_the_first() {
    let server = server(Rejection::Denied);
    let (first, _) = Rml::publish(server.address, APP, KEY);
    let mut first = first.expect("accepted");
    first.send(&aac_header(STEREO_48), 10);
    server.wait("audio of the first", |all| all[0].audio.len() == 11);
    let (second, _) = Rml::publish(server.address, APP, KEY);
    let mut second = second.expect("accepted");
    second.send(&aac_header(STEREO_48), 20);
    assert!(first.is_closed_by_server());
    server.wait("audio of the second", |all| all[1].audio.len() == 21);
    second.close();
}

#[test]
fn rtmp2sink_hears_an_acknowledgement_at_once_and_every_second_and_believes_it() {
    let server = server(Rejection::Denied);
    let publisher = rtmp2sink(&good_url(&server), LIVE);
    server.wait("three acknowledgements", |all| all.first().is_some_and(|r| r.stats.acknowledgements >= 3));
    let said = publisher.kill();
    // LiveKit's egress takes its "acknowledged bytes" from this very code.
    assert!(said.matches("Peer acknowledged").count() >= 2, "{said}");
    assert!(!said.contains(" WARN "), "{said}");
}

#[test]
fn a_connection_that_is_opened_and_closed_without_a_byte_is_gone_at_once() {
    let server = server(Rejection::Denied);
    drop(TcpStream::connect(server.address).expect("connect"));
    let record = first_closed(&server);
    assert_eq!((record.error, record.stats.bytes_received), (None, 0));
}

#[test]
fn a_silent_connection_is_closed_at_the_handshake_timeout() {
    let limits = Limits { handshake_timeout: Duration::from_millis(200), ..Limits::default() };
    let server = Server::start(KEY, Rejection::Denied, limits);
    let silent = TcpStream::connect(server.address).expect("connect");
    let start = Instant::now();
    let error = server.wait("a timeout", |all| all.first().is_some_and(|r| r.closed)).swap_remove(0).error;
    assert_eq!(error, Some(SessionError::HandshakeTimeout { millis: 200 }));
    assert!(start.elapsed() >= Duration::from_millis(150), "not before its time");
    drop(silent);
}
