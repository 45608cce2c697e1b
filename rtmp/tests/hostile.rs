//! Hostile and broken input: what has crashed, hung or bloated other RTMP servers, and each limit at its edge.

mod common;

use std::time::Duration;

use common::wire::*;
use roomscribe_rtmp::{Amf0Error, Event, Limits, SessionError};

/// Partial messages, spare bodies and waiting bytes of one hostile connection stay below this.
const HELD: usize = 128 * 1024;

#[test]
fn a_lone_set_data_frame_costs_only_the_metadata() {
    let mut peer = Peer::publishing();
    assert_eq!(peer.send(&message(4, 0, DATA, &text("@setDataFrame"), 128)), Ok(vec![]));
    assert_eq!(peer.session.stats().metadata_dropped, 1);
    assert_eq!(audio_of(&peer.send(&audio(5, &[0xaf, 1, 2])).unwrap()).len(), 1);
}

#[test]
fn interleaved_messages_of_different_lengths_both_arrive_whole() {
    let mut peer = Peer::publishing();
    let long: Vec<u8> = (0..1000).map(|i| i as u8).collect();
    let whole = message(4, 40, AUDIO, &long, 128);
    let mut events = peer.send(&whole[..12 + 128]).unwrap();
    events.extend(peer.send(&message(6, 41, AUDIO, &[0xaf; 10], 128)).unwrap());
    events.extend(peer.send(&whole[12 + 128..]).unwrap());
    assert_eq!(audio_of(&events), [(41, vec![0xaf; 10]), (40, long)]);
}

#[test]
fn arrays_nested_ten_thousand_deep_cost_only_the_metadata_on_a_small_stack() {
    let run = || {
        let mut peer = Peer::publishing();
        let nested = [0x0A, 0, 0, 0, 1].repeat(10_000);
        let body = [text("onMetaData"), nested.clone()].concat();
        assert_eq!(peer.send(&message(4, 0, DATA, &body, 128)), Ok(vec![]));
        assert_eq!(peer.session.stats().metadata_dropped, 1);
        // The same in a command argument that is read.
        let connect = command("connect", 1.0, &[nested[..10_000].to_vec()]);
        assert_eq!(Peer::connected().send(&connect), Err(SessionError::Amf0(Amf0Error::TooDeep)));
    };
    std::thread::Builder::new()
        .stack_size(128 * 1024)
        .spawn(run)
        .expect("thread")
        .join()
        .expect("no overflow");
}

#[test]
fn arrays_nested_two_hundred_thousand_deep_are_longer_than_any_message_may_be() {
    let length = 1_000_000;
    let error = Peer::publishing().send(&head0(4, 0, length, DATA, 1)).unwrap_err();
    assert_eq!(error, SessionError::MessageTooLong { type_id: DATA, length, limit: 65536 });
}

#[test]
fn an_extended_timestamp_below_the_marker_on_a_delta_chunk_is_just_a_delta() {
    let mut peer = Peer::publishing();
    let mut bytes = audio(100, &[0xaf, 1]);
    bytes.extend([0x44, 0xFF, 0xFF, 0xFF, 0, 0, 2, AUDIO, 0, 0, 0, 23, 0xaf, 1]);
    assert_eq!(audio_of(&peer.send(&bytes).unwrap())[1].0, 123);
}

#[test]
fn a_delta_that_overflows_32_bits_wraps() {
    let mut peer = Peer::publishing();
    let bytes = [audio(u32::MAX - 5, &[0xaf, 1]), head2(4, 10), vec![0xaf, 1]].concat();
    assert_eq!(audio_of(&peer.send(&bytes).unwrap())[1].0, 4);
}

#[test]
fn create_stream_before_connect_ends_the_connection_at_once() {
    let error = Peer::connected().send(&create_stream()).unwrap_err();
    assert_eq!(error, SessionError::CommandTooEarly { command: "createStream" });
}

#[test]
fn publish_before_create_stream_ends_the_connection() {
    let mut peer = Peer::connected();
    peer.send(&connect("live")).unwrap();
    assert_eq!(peer.send(&publish("key")), Err(SessionError::CommandTooEarly { command: "publish" }));
}

#[test]
fn a_million_connects_end_at_the_second() {
    let mut peer = Peer::connected();
    peer.send(&connect("live")).unwrap();
    assert_eq!(peer.send(&connect("live")), Err(SessionError::RepeatedCommand { command: "connect" }));
    assert!(peer.session.outbound().len() < 1024);
}

#[test]
fn a_second_create_stream_ends_the_connection() {
    let mut peer = Peer::connected();
    peer.send(&[connect("live"), create_stream()].concat()).unwrap();
    assert_eq!(peer.send(&create_stream()), Err(SessionError::RepeatedCommand { command: "createStream" }));
}

#[test]
fn a_second_publish_ends_the_connection_before_and_after_the_end_of_the_first() {
    let error = Err(SessionError::RepeatedCommand { command: "publish" });
    assert_eq!(Peer::publishing().send(&publish("other")), error);
    let mut peer = Peer::publishing();
    peer.send(&command("FCUnpublish", 7.0, &[vec![5], text("key")])).unwrap();
    assert_eq!(peer.send(&publish("other")), error);
}

#[test]
fn a_huge_chunk_size_and_a_huge_message_cost_no_memory() {
    let mut peer = Peer::publishing();
    peer.send(&set_chunk_size(0x7FFF_FFFF)).unwrap();
    for kind in [AUDIO, DATA, COMMAND] {
        let mut peer = Peer::publishing();
        peer.send(&set_chunk_size(0x7FFF_FFFF)).unwrap();
        let error = peer.send(&head0(4, 0, 0xFF_FFFF, kind, 1)).unwrap_err();
        assert_eq!(error, SessionError::MessageTooLong { type_id: kind, length: 0xFF_FFFF, limit: 65536 });
        assert!(peer.session.held_bytes() < HELD);
    }
}

#[test]
fn sixteen_megabytes_of_video_are_dropped_while_reading() {
    let mut peer = Peer::publishing();
    peer.send(&set_chunk_size(0x7FFF_FFFF)).unwrap();
    peer.send(&head0(6, 0, 0xFF_FFFF, VIDEO, 1)).unwrap();
    let block = vec![0; 65535];
    for _ in 0..0xFF_FFFF / block.len() {
        peer.now += Duration::from_millis(30);
        assert_eq!(peer.send(&block), Ok(vec![]));
        assert!(peer.session.held_bytes() < 8 * 1024);
    }
    peer.send(&block[..0xFF_FFFF % block.len()]).unwrap();
    assert_eq!(peer.session.stats().discarded_bytes, 0xFF_FFFF);
    assert_eq!(audio_of(&peer.send(&audio(9, &[0xaf, 1])).unwrap()).len(), 1);
}

#[test]
fn a_string_shorter_than_declared_is_an_error_not_zeroes() {
    let body = [vec![2, 0, 200], b"connect".to_vec()].concat();
    let error = Peer::connected().send(&message(3, 0, COMMAND, &body, 128)).unwrap_err();
    assert_eq!(error, SessionError::Amf0(Amf0Error::Truncated));
}

#[test]
fn an_array_that_declares_four_billion_elements_ends_where_its_bytes_end() {
    let mut peer = Peer::publishing();
    let lie = [text("onMetaData"), vec![0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 5, 5]].concat();
    assert_eq!(peer.send(&message(4, 0, DATA, &lie, 128)), Ok(vec![]));
    assert_eq!(peer.session.stats().metadata_dropped, 1);
}

#[test]
fn an_amf3_value_or_an_unknown_marker_costs_the_metadata() {
    let mut peer = Peer::publishing();
    for marker in [0x11, 0x0E, 0x04, 0x7F] {
        let body = [text("onMetaData"), vec![marker, 1]].concat();
        assert_eq!(peer.send(&message(4, 0, DATA, &body, 128)), Ok(vec![]));
    }
    assert_eq!(peer.session.stats().metadata_dropped, 4);
}

#[test]
fn a_command_that_is_not_amf0_ends_the_connection() {
    let error = Peer::publishing().send(&message(3, 0, COMMAND, &[0xFF; 9], 128)).unwrap_err();
    assert_eq!(error, SessionError::Amf0(Amf0Error::UnknownMarker(0xFF)));
    let no_name = number(1.0);
    let no_number = [text("connect"), text("1")].concat();
    let no_object = [text("connect"), number(1.0), text("live")].concat();
    for body in [no_name, no_number, no_object] {
        let error = Peer::connected().send(&message(3, 0, COMMAND, &body, 128)).unwrap_err();
        assert_eq!(error, SessionError::Amf0(Amf0Error::WrongType));
    }
}

#[test]
fn an_abort_forgets_the_partial_message_and_the_stream_goes_on() {
    let mut peer = Peer::publishing();
    peer.send(&[head0(4, 0, 1000, AUDIO, 1), vec![0; 128]].concat()).unwrap();
    peer.send(&message(2, 0, 2, &4u32.to_be_bytes(), 128)).unwrap();
    assert_eq!(audio_of(&peer.send(&audio(7, &[0xaf, 1, 7])).unwrap()), [(7, vec![0xaf, 1, 7])]);
}

#[test]
fn an_abort_finds_chunk_streams_with_long_ids_by_their_number() {
    let mut peer = Peer::publishing();
    for csid in [64, 319, 320, 1000, 65_599] {
        peer.send(&[head0(csid, 0, 1000, AUDIO, 1), vec![0; 128]].concat()).unwrap();
        peer.send(&message(2, 0, 2, &csid.to_be_bytes(), 128)).unwrap();
        let next = peer.send(&message(csid, 7, AUDIO, &[0xaf, 1], 128)).unwrap();
        assert_eq!(audio_of(&next), [(7, vec![0xaf, 1])], "id {csid}");
    }
}

#[test]
fn an_abort_of_a_stream_that_is_not_there_is_nothing() {
    assert_eq!(Peer::publishing().send(&message(2, 0, 2, &999u32.to_be_bytes(), 128)), Ok(vec![]));
}

#[test]
fn a_window_of_zero_then_data_is_a_window_that_was_not_set() {
    let mut peer = Peer::publishing();
    peer.send(&message(2, 0, 5, &[0; 4], 128)).unwrap();
    for i in 0..200 {
        peer.send(&audio(i, &[0xaf; 1000])).unwrap();
    }
    let acknowledgements = server_messages(&peer.answers()).len();
    assert!((2..=5).contains(&acknowledgements), "{acknowledgements} for 200 KB at one instant");
}

#[test]
fn a_window_of_one_byte_does_not_buy_an_answer_per_byte() {
    let mut peer = Peer::publishing();
    peer.send(&message(2, 0, 5, &[0, 0, 0, 1], 128)).unwrap();
    peer.send(&audio(0, &[0xaf; 1000])).unwrap();
    peer.answers();
    for byte in audio(23, &[0xaf; 1000]) {
        peer.send(&[byte]).unwrap();
    }
    assert!(peer.answers().is_empty());
}

#[test]
fn a_new_header_inside_a_message_ends_the_connection() {
    for (fmt, header) in [(0, head0(4, 0, 5, AUDIO, 1)), (1, head1(4, 0, 5, AUDIO)), (2, head2(4, 0))] {
        let mut peer = Peer::publishing();
        peer.send(&[head0(4, 0, 1000, AUDIO, 1), vec![0; 128]].concat()).unwrap();
        assert_eq!(peer.send(&header), Err(SessionError::HeaderInsideMessage { fmt }));
    }
}

#[test]
fn a_chunk_that_refers_to_no_header_ends_the_connection() {
    assert_eq!(Peer::connected().send(&head2(9, 0)), Err(SessionError::HeaderWithoutPrevious { fmt: 2 }));
    assert_eq!(Peer::connected().send(&basic(3, 9)), Err(SessionError::HeaderWithoutPrevious { fmt: 3 }));
}

#[test]
fn a_control_message_without_its_number_ends_the_connection() {
    for kind in 1..=6 {
        let error = Peer::publishing().send(&message(2, 0, kind, &[0], 128)).unwrap_err();
        assert_eq!(error, SessionError::ShortControlMessage { type_id: kind, length: 1 });
        let error = Peer::publishing().send(&head0(2, 0, 0, kind, 0)).unwrap_err();
        assert_eq!(error, SessionError::ShortControlMessage { type_id: kind, length: 0 });
    }
}

#[test]
fn zero_length_messages_are_nothing() {
    let mut peer = Peer::publishing();
    for kind in [AUDIO, VIDEO, 22, 99] {
        assert_eq!(peer.send(&head0(9, 0, 0, kind, 1)), Ok(vec![]));
    }
    assert_eq!(peer.session.stats().audio_messages_dropped, 1);
}

#[test]
fn an_aggregate_a_shared_object_and_unknown_types_are_dropped() {
    let mut peer = Peer::publishing();
    for kind in [0, 7, 10, 14, 16, 19, 22, 255] {
        assert_eq!(peer.send(&message(9, 0, kind, &[1; 500], 128)), Ok(vec![]));
    }
    assert_eq!(peer.session.stats().discarded_bytes, 8 * 500);
}

#[test]
fn audio_before_publish_is_dropped() {
    let mut peer = Peer::connected();
    assert_eq!(peer.send(&audio(0, &[0xaf, 0])), Ok(vec![]));
    assert_eq!(peer.session.stats().audio_messages_dropped, 1);
}

#[test]
fn a_dead_session_stays_dead_and_keeps_its_error() {
    let mut peer = Peer::publishing();
    let error = peer.send(&set_chunk_size(1)).unwrap_err();
    assert_eq!(peer.send(&audio(0, &[0xaf, 1])), Err(error));
    assert_eq!(peer.wait(60_000), Err(error));
    assert_eq!(peer.session.next_deadline(), None);
}

#[test]
fn neither_debug_output_nor_errors_show_a_stream_key() {
    let mut peer = Peer::new(Limits::default());
    let bytes = [handshake(), connect("live"), create_stream(), publish("hunter2")].concat();
    let events = peer.send(&bytes).unwrap();
    let Event::Publish { stream_key, .. } = &events[0] else { unreachable!("{events:?}") };
    assert_eq!(stream_key.expose(), "hunter2");
    assert!(!format!("{events:?} {:?}", peer.session).contains("hunter2"));
}

#[test]
fn a_release_build_checks_for_overflow_and_the_crate_has_no_unsafe_code() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let manifest = std::fs::read_to_string(format!("{root}/Cargo.toml")).expect("the workspace's manifest");
    let section =
        |name: &str| manifest.split(name).nth(1).map(|rest| rest.split("\n[").next().unwrap_or(rest));
    let release = section("[profile.release]").expect("a release profile");
    assert!(release.lines().any(|line| line == "overflow-checks = true"), "{release}");
    let lints = section("[workspace.lints.rust]").expect("lints");
    assert!(lints.lines().any(|line| line == "unsafe_code = \"forbid\""), "{lints}");
}
