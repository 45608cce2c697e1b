//! When the server answers what, and how long it waits.

mod common;

use std::time::Duration;

use common::wire::*;
use roomscribe_rtmp::{Limits, Rejection, ServerSession, SessionError};

#[test]
fn nine_seconds_of_silence_pass_and_ten_do_not() {
    let mut peer = Peer::publishing();
    assert_eq!(peer.wait(9_000), Ok(()));
    peer.send(&audio(0, &[0xaf, 1])).unwrap();
    assert_eq!(peer.session.next_deadline(), Some(Duration::from_secs(19)));
    assert_eq!(peer.wait(9_999), Ok(()));
    assert_eq!(peer.wait(1), Err(SessionError::Idle { millis: 10_000 }));
}

#[test]
fn a_silent_connection_ends_after_five_seconds() {
    let mut peer = Peer::new(Limits::default());
    assert_eq!(peer.wait(4_999), Ok(()));
    assert_eq!(peer.wait(1), Err(SessionError::HandshakeTimeout { millis: 5_000 }));
}

#[test]
fn a_handshake_in_drops_does_not_move_its_deadline() {
    let mut peer = Peer::new(Limits::default());
    for byte in handshake().iter().take(100) {
        peer.now += Duration::from_millis(49);
        peer.send(&[*byte]).unwrap();
    }
    assert_eq!(peer.wait(100), Err(SessionError::HandshakeTimeout { millis: 5_000 }));
}

#[test]
fn a_connection_that_never_publishes_ends_five_seconds_after_its_handshake() {
    let mut peer = Peer::connected();
    for _ in 0..9 {
        peer.wait(500).unwrap();
        peer.send(&command("anything", 0.0, &[])).unwrap();
    }
    assert_eq!(peer.wait(500), Err(SessionError::PublishTimeout { millis: 5_000 }));
}

#[test]
fn a_rejected_publisher_has_two_seconds_to_read_why() {
    let mut peer = Peer::connected();
    peer.send(&[connect("live"), create_stream(), publish("key")].concat()).unwrap();
    peer.session.reject_publish(Rejection::Denied);
    assert_eq!(peer.send(&[0xFF; 5000]), Ok(vec![]), "what it still sends is ignored");
    assert_eq!(peer.wait(2_000), Err(SessionError::Rejected));
}

#[test]
fn only_version_3_is_spoken() {
    for byte in [0u8, 2, 4, 6, 0x16, b'G'] {
        assert_eq!(Peer::new(Limits::default()).send(&[byte]), Err(SessionError::WrongVersion { byte }));
    }
    let hint = SessionError::WrongVersion { byte: 0x16 }.to_string();
    assert!(hint.contains("TLS"), "{hint}");
}

#[test]
fn the_server_answers_connect_create_stream_and_publish() {
    let mut peer = Peer::connected();
    peer.send(&connect("live")).unwrap();
    let answers = server_messages(&peer.answers());
    let kinds: Vec<u8> = answers.iter().map(|m| m.0).collect();
    assert_eq!(kinds, [5, 6, 1, COMMAND]);
    assert!(contains(&answers[3].2, "NetConnection.Connect.Success"));
    assert_eq!(answers[3].2[..19], [text("_result"), number(1.0)].concat());
    peer.send(&command("createStream", 4.0, &[vec![5]])).unwrap();
    let created = [text("_result"), number(4.0), vec![5], number(1.0)].concat();
    assert_eq!(server_messages(&peer.answers()), [(COMMAND, 0, created)]);
    peer.send(&publish("key")).unwrap();
    assert!(peer.answers().is_empty(), "the caller decides first");
    peer.session.accept_publish(peer.now);
    let started = server_messages(&peer.answers());
    assert_eq!(started[0], (4, 0, vec![0, 0, 0, 0, 0, 1]));
    assert_eq!((started[1].0, started[1].1), (COMMAND, 1), "GStreamer hears only its own stream id");
    assert!(contains(&started[1].2, "NetStream.Publish.Start"));
    let sent =
        [handshake(), connect("live"), command("createStream", 4.0, &[vec![5]]), publish("key")].concat();
    assert_eq!(peer.session.stats().bytes_received, sent.len() as u64);
}

#[test]
fn a_rejection_is_an_on_status_error_on_the_stream_id() {
    let codes =
        [(Rejection::Denied, "NetStream.Publish.Denied"), (Rejection::BadName, "NetStream.Publish.BadName")];
    for (rejection, code) in codes {
        let mut peer = Peer::connected();
        peer.send(&[connect("live"), create_stream(), publish("key")].concat()).unwrap();
        peer.answers();
        peer.session.reject_publish(rejection);
        let answers = server_messages(&peer.answers());
        let [(COMMAND, 1, body)] = &answers[..] else { unreachable!("{answers:?}") };
        assert_eq!(body[..11], text("onStatus"));
        assert!(contains(body, code) && contains(body, "error"));
    }
}

#[test]
fn only_numbered_requests_are_answered() {
    let mut peer = Peer::connected();
    peer.send(&connect("live")).unwrap();
    peer.answers();
    for name in ["releaseStream", "FCPublish", "_checkbw", "FCUnpublish"] {
        peer.send(&command(name, 0.0, &[vec![5], text("key")])).unwrap();
        assert!(peer.answers().is_empty(), "GStreamer's transaction 0 expects nothing");
        peer.send(&command(name, 3.0, &[vec![5], text("key")])).unwrap();
        let answer = [text("_result"), number(3.0), vec![5]].concat();
        assert_eq!(server_messages(&peer.answers()), [(COMMAND, 0, answer)]);
    }
}

#[test]
fn unknown_commands_are_counted_and_go_unanswered() {
    let mut peer = Peer::publishing();
    assert_eq!(peer.send(&command("getStreamLength", 9.0, &[vec![0x11, 1, 2, 3]])), Ok(vec![]));
    assert_eq!(peer.session.stats().unknown_commands, 1);
    assert!(server_messages(&peer.answers()).iter().all(|answer| answer.0 != COMMAND));
}

#[test]
fn the_first_acknowledgement_follows_the_first_media_bytes_and_is_the_running_total() {
    let mut peer = Peer::publishing();
    let before = setup().len() - handshake().len();
    let first = audio(0, &[0xaf, 0, 0x12, 0x10]);
    peer.send(&first).unwrap();
    let total = (before + first.len()) as u32;
    assert_eq!(server_messages(&peer.answers()), [(3, 0, total.to_be_bytes().to_vec())]);
    // At one instant only a full window is acknowledged, again with the running total.
    let more = audio(23, &[0xaf; 30_000]);
    for _ in 0..2 {
        peer.send(&more).unwrap();
        assert!(peer.answers().is_empty());
    }
    peer.send(&more).unwrap();
    let total = total + 3 * more.len() as u32;
    assert_eq!(server_messages(&peer.answers()), [(3, 0, total.to_be_bytes().to_vec())]);
}

#[test]
fn a_quiet_stream_is_acknowledged_every_second() {
    let mut peer = Peer::publishing();
    for i in 0..200 {
        peer.wait(23).unwrap();
        peer.send(&audio(i * 23, &[0xaf; 15])).unwrap();
        peer.answers();
    }
    assert_eq!(peer.session.stats().acknowledgements, 5, "at once, then four in 4.6 s");
}

#[test]
fn accept_and_reject_without_a_publisher_do_nothing() {
    let mut session = ServerSession::new(Limits::default(), [0; 32], Duration::ZERO);
    session.accept_publish(Duration::ZERO);
    session.reject_publish(Rejection::Denied);
    assert!(session.outbound().is_empty());
    let mut peer = Peer::publishing();
    peer.session.accept_publish(peer.now);
    assert!(peer.answers().is_empty(), "a second accept says nothing twice");
}

#[test]
fn a_clock_that_stands_still_or_steps_back_harms_nothing() {
    let mut peer = Peer::publishing();
    peer.now = Duration::from_secs(3);
    peer.send(&audio(0, &[0xaf, 1])).unwrap();
    peer.now = Duration::from_secs(1);
    assert_eq!(audio_of(&peer.send(&audio(23, &[0xaf, 1])).unwrap()).len(), 1);
    assert_eq!(peer.session.next_deadline(), Some(Duration::from_secs(13)));
}

#[test]
fn a_connection_that_stays_open_after_its_stream_ends_is_closed_though_it_still_sends() {
    let mut peer = Peer::publishing();
    peer.send(&command("FCUnpublish", 0.0, &[vec![5], text("key")])).unwrap();
    for _ in 0..9 {
        peer.wait(1_000).unwrap();
        peer.send(&command("anything", 0.0, &[])).unwrap();
    }
    assert_eq!(peer.wait(1_000), Err(SessionError::Lingering { millis: 10_000 }));
}

#[test]
fn the_time_to_publish_counts_from_the_end_of_the_handshake() {
    let mut peer = Peer::new(Limits::default());
    peer.now = Duration::from_millis(4_900);
    peer.send(&handshake()).unwrap();
    assert_eq!(peer.session.next_deadline(), Some(Duration::from_millis(9_900)));
}

#[test]
fn a_window_that_echoes_ours_is_obeyed_as_rtmp2sink_sends_it() {
    let mut peer = Peer::publishing();
    peer.send(&message(2, 0, 5, &2_500_000u32.to_be_bytes(), 128)).unwrap();
    peer.send(&audio(0, &[0xaf; 1000])).unwrap();
    peer.answers();
    let block = message(6, 0, VIDEO, &vec![0; 49_000], 128);
    let mut bytes = 0;
    while peer.answers().is_empty() {
        peer.send(&block).unwrap();
        bytes += block.len();
    }
    assert!((2_500_000..2_600_000).contains(&bytes), "{bytes} bytes at one instant before the second answer");
}

#[test]
fn the_acknowledged_total_goes_on_past_4_gib_by_wrapping() {
    let mut peer = Peer::publishing();
    let block = vec![0; 65_536];
    let mut total = (setup().len() - handshake().len()) as u64;
    let mut video = |peer: &mut Peer, bytes: &[u8]| {
        peer.now += Duration::from_millis(25);
        peer.send(bytes).unwrap();
        total += bytes.len() as u64;
        server_messages(&peer.answers()).last().map(|answer| (total, answer.2.clone()))
    };
    video(&mut peer, &set_chunk_size(0x7FFF_FFFF));
    let mut last = None;
    for _ in 0..258 {
        video(&mut peer, &head0(6, 0, 256 * 65_536 - 1, VIDEO, 1));
        for _ in 0..255 {
            last = video(&mut peer, &block).or(last);
        }
        last = video(&mut peer, &block[..65_535]).or(last);
    }
    let (total, answer) = last.unwrap();
    assert!(total > 1 << 32, "{total} bytes");
    assert_eq!(answer, (total as u32).to_be_bytes());
}

#[test]
fn user_control_messages_other_than_a_ping_go_unanswered_and_a_cut_ping_is_an_error() {
    let mut peer = Peer::publishing();
    for kind in [0, 1, 3, 7, 31] {
        peer.send(&message(2, 0, 4, &[0, kind, 0, 0, 0, 1], 128)).unwrap();
    }
    assert!(server_messages(&peer.answers()).iter().all(|answer| answer.0 == 3), "acknowledgements only");
    let error = SessionError::ShortControlMessage { type_id: 4, length: 5 };
    assert_eq!(peer.send(&message(2, 0, 4, &[0, 6, 1, 2, 3], 128)), Err(error));
}
