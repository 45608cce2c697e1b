//! What real publishers do on the wire, each habit by name (measured with LiveKit egress 1.14, GStreamer, ffmpeg,
//! librtmp), and the answers that they need.

mod common;

use common::wire::*;
use roomscribe_rtmp::{AudioCodec, Event, Limits, Metadata, SessionError};

#[test]
fn messages_may_start_with_headers_of_every_type() {
    let mut peer = Peer::publishing();
    let body = |n| [0xaf, 1, n];
    let bytes = [
        [&head0(5, 1000, 3, AUDIO, 1)[..], &body(0)].concat(),
        [&head1(5, 23, 3, AUDIO)[..], &body(1)].concat(),
        [&head2(5, 24)[..], &body(2)].concat(),
        [&basic(3, 5)[..], &body(3)].concat(),
        [&basic(3, 5)[..], &body(4)].concat(),
    ];
    let times: Vec<u32> = audio_of(&peer.send(&bytes.concat()).unwrap()).iter().map(|a| a.0).collect();
    assert_eq!(times, [1000, 1023, 1047, 1071, 1095]);
}

#[test]
fn a_chunk_stream_may_begin_with_a_type_1_header_as_librtmp_does() {
    let mut peer = Peer::publishing();
    let bytes = [head1(5, 40, 2, AUDIO), vec![0xaf, 1], head2(5, 2), vec![0xaf, 1]].concat();
    let times: Vec<u32> = audio_of(&peer.send(&bytes).unwrap()).iter().map(|a| a.0).collect();
    assert_eq!(times, [40, 42]);
}

#[test]
fn a_type_3_start_after_a_type_0_header_takes_that_time_as_its_delta() {
    let mut peer = Peer::publishing();
    let bytes = [&head0(5, 23, 2, AUDIO, 1)[..], &[0xaf, 1], &basic(3, 5), &[0xaf, 1]].concat();
    let times: Vec<u32> = audio_of(&peer.send(&bytes).unwrap()).iter().map(|a| a.0).collect();
    assert_eq!(times, [23, 46]);
}

#[test]
fn time_passes_24_bits_with_extended_timestamps_on_every_chunk() {
    let mut peer = Peer::publishing();
    let body: Vec<u8> = (0..=255).chain(0..=255).collect();
    let mut events = Vec::new();
    for time in [0xFF_FFFE, 0xFF_FFFF, 0x100_0000, 0x8000_0000, 7] {
        events.extend(audio_of(&peer.send(&audio(time, &body)).unwrap()));
    }
    let expected = [0xFF_FFFE, 0xFF_FFFF, 0x100_0000, 0x8000_0000u32, 7].map(|time| (time, body.clone()));
    assert_eq!(events, expected);
}

#[test]
fn a_type_3_start_after_an_extended_header_repeats_its_four_bytes() {
    let mut peer = Peer::publishing();
    let again = [&basic(3, 5)[..], &0x100_0000u32.to_be_bytes(), &[0xaf, 2]].concat();
    let bytes = [head1(5, 0x100_0000, 2, AUDIO), vec![0xaf, 1], again, head2(5, 5), vec![0xaf, 3]].concat();
    let expected = [(0x100_0000, vec![0xaf, 1]), (0x200_0000, vec![0xaf, 2]), (0x200_0005, vec![0xaf, 3])];
    assert_eq!(audio_of(&peer.send(&bytes).unwrap()), expected);
}

#[test]
fn chunk_stream_ids_of_one_two_and_three_bytes_are_told_apart() {
    let mut peer = Peer::publishing();
    let ids = [4, 63, 64, 319, 320, 65_599];
    let bytes: Vec<u8> = ids.iter().flat_map(|&id| message(id, id, AUDIO, &[0xaf; 300], 128)).collect();
    let times: Vec<u32> = audio_of(&peer.send(&bytes).unwrap()).iter().map(|a| a.0).collect();
    assert_eq!(times, ids);
}

#[test]
fn audio_and_video_chunks_may_interleave() {
    let mut peer = Peer::publishing();
    let video = message(6, 0, VIDEO, &[7; 700], 128);
    let sound = message(4, 0, AUDIO, &[0xaf; 300], 128);
    // Chunk by chunk: video 12+128, audio 12+128, then type 3 chunks of 1+128.
    let bytes =
        [&video[..140], &sound[..140], &video[140..269], &sound[140..269], &video[269..], &sound[269..]]
            .concat();
    assert_eq!(audio_of(&peer.send(&bytes).unwrap()), [(0, vec![0xaf; 300])]);
    assert_eq!(peer.session.stats().discarded_bytes, 700);
}

#[test]
fn the_chunk_size_may_change_between_chunks_of_another_message() {
    let mut peer = Peer::publishing();
    let body: Vec<u8> = (0..600).map(|i| i as u8).collect();
    let bytes =
        [&head0(4, 0, 600, AUDIO, 1)[..], &body[..128], &set_chunk_size(400), &basic(3, 4), &body[128..528]];
    let events = peer.send(&[&bytes.concat()[..], &basic(3, 4), &body[528..]].concat()).unwrap();
    assert_eq!(audio_of(&events), [(0, body)]);
}

#[test]
fn delete_stream_with_a_string_ends_the_publish() {
    let mut peer = Peer::publishing();
    let goodbye = command("deleteStream", 0.0, &[vec![5], text("KEY1")]);
    assert_eq!(peer.send(&goodbye), Ok(vec![Event::Unpublished]));
}

#[test]
fn every_kind_of_goodbye_ends_the_publish_once() {
    let goodbyes = [
        command("FCUnpublish", 0.0, &[vec![5], text("key")]),
        command("deleteStream", 7.0, &[vec![5], number(1.0)]),
        command("deleteStream", 7.0, &[vec![5]]),
        command("closeStream", 0.0, &[vec![5]]),
        message(3, 0, COMMAND, &text("closeStream"), 128),
    ];
    for goodbye in goodbyes {
        assert_eq!(Peer::publishing().send(&goodbye.repeat(2)), Ok(vec![Event::Unpublished]));
    }
}

#[test]
fn a_goodbye_and_metadata_before_publish_are_nothing() {
    let mut peer = Peer::connected();
    peer.send(&connect("live")).unwrap();
    assert_eq!(peer.send(&command("FCUnpublish", 0.0, &[vec![5], text("key")])), Ok(vec![]));
    let metadata = [text("onMetaData"), object(&[property("stereo", &[1, 1])])].concat();
    assert_eq!(peer.send(&message(4, 0, DATA, &metadata, 128)), Ok(vec![]));
    assert_eq!(peer.send(&[create_stream(), publish("key")].concat()).unwrap().len(), 1);
}

#[test]
fn audio_after_the_goodbye_is_dropped() {
    let mut peer = Peer::publishing();
    peer.send(&command("FCUnpublish", 0.0, &[vec![5], text("key")])).unwrap();
    assert_eq!(peer.send(&audio(0, &[0xaf, 1])), Ok(vec![]));
}

#[test]
fn a_three_part_app_and_its_key_are_found_wherever_the_publisher_cuts_the_path() {
    let cuts = [
        ("live/abcd1234/session.1", "KEY"),  // GStreamer, OBS
        ("live/abcd1234", "session.1/KEY"),  // ffmpeg, librtmp
        ("live", "abcd1234/session.1/KEY"),  // early librtmp
        ("live/abcd1234/session.1/", "KEY"), // a trailing slash in OBS's server field
        ("/live/abcd1234/session.1", "KEY"),
    ];
    for (app, name) in cuts {
        let mut peer = Peer::connected();
        let events = peer.send(&[connect(app), create_stream(), publish(name)].concat()).unwrap();
        let [Event::Publish { app, stream_key, .. }] = &events[..] else { unreachable!("{events:?}") };
        assert_eq!((app.as_str(), stream_key.expose()), ("live/abcd1234/session.1", "KEY"));
    }
}

#[test]
fn a_query_string_stays_in_the_key() {
    let mut peer = Peer::connected();
    let events = peer.send(&[connect("live"), create_stream(), publish("key?token=a/b")].concat()).unwrap();
    let [Event::Publish { app, stream_key, tc_url }] = &events[..] else { unreachable!("{events:?}") };
    assert_eq!((app.as_str(), stream_key.expose()), ("live", "key?token=a/b"));
    assert_eq!(tc_url, "rtmp://127.0.0.1/live");
}

#[test]
fn an_empty_key_is_told_denied_and_ends_the_connection() {
    for name in ["", "session.1/", "?token=1/"] {
        let mut peer = Peer::connected();
        let result = peer.send(&[connect("live"), create_stream(), publish(name)].concat());
        if name.starts_with('?') {
            assert!(result.is_ok(), "a query alone is a key that somebody else judges");
            continue;
        }
        assert_eq!(result, Err(SessionError::EmptyStreamKey));
        assert!(contains(peer.session.outbound(), "NetStream.Publish.Denied"));
    }
    let mut peer = Peer::connected();
    let no_name = command("publish", 3.0, &[vec![5]]);
    let result = peer.send(&[connect("live"), create_stream(), no_name].concat());
    assert_eq!(result, Err(SessionError::EmptyStreamKey));
}

#[test]
fn the_publish_type_is_not_looked_at() {
    for kind in [vec![], text("LIVE"), text("record"), text("append"), vec![5]] {
        let mut peer = Peer::connected();
        let publish = command("publish", 3.0, &[vec![5], text("key"), kind]);
        let events = peer.send(&[connect("live"), create_stream(), publish].concat()).unwrap();
        assert!(matches!(events[..], [Event::Publish { .. }]));
    }
}

#[test]
fn the_start_burst_and_a_three_second_stall_and_its_catch_up_lose_nothing() {
    let mut peer = Peer::publishing();
    let frames = |from: u32, n: u32| -> Vec<u8> {
        (from..from + n).flat_map(|i| message(5, i * 23, AUDIO, &[0xaf; 373], 128)).collect()
    };
    let burst = peer.send(&frames(0, 35)).unwrap();
    assert_eq!(peer.wait(2_800), Ok(()));
    let catch_up = peer.send(&frames(35, 122)).unwrap();
    let times: Vec<u32> = audio_of(&[burst, catch_up].concat()).iter().map(|a| a.0).collect();
    assert_eq!(times, (0..157).map(|i| i * 23).collect::<Vec<_>>());
}

#[test]
fn commands_may_come_in_the_same_segment_as_the_handshake() {
    let events =
        Peer::new(Limits::default()).send(&[setup(), audio(0, &[0xaf, 0, 0x12, 0x10])].concat()).unwrap();
    assert!(matches!(&events[..], [Event::Publish { .. }, Event::Audio { .. }]), "{events:?}");
}

#[test]
fn commands_and_data_in_amf3_messages_are_read() {
    let mut peer = Peer::publishing();
    let data = [vec![0], text("onMetaData"), object(&[property("stereo", &[1, 1])])].concat();
    let events = peer.send(&message(4, 0, 15, &data, 128)).unwrap();
    assert_eq!(events, [Event::Metadata(Metadata { stereo: Some(true), ..Metadata::default() })]);
    let goodbye = [vec![0], text("closeStream"), number(0.0)].concat();
    assert_eq!(peer.send(&message(3, 0, 17, &goodbye, 128)), Ok(vec![Event::Unpublished]));
    assert_eq!(peer.send(&head0(9, 0, 0, 15, 1)), Ok(vec![]));
}

#[test]
fn metadata_of_every_amf0_type_is_tolerated_and_its_audio_fields_are_read() {
    let mut peer = Peer::publishing();
    let date = [&[0x0B][..], &1.7e12f64.to_be_bytes(), &[0, 0]].concat();
    let long = [&[0x0C, 0, 0, 0, 3][..], b"abc"].concat();
    let xml = [&[0x0F, 0, 0, 0, 4][..], b"<a/>"].concat();
    let typed = [&[0x10, 0, 1, b'C'][..], &property("x", &number(1.0)), &[0, 0, 9]].concat();
    let nested = [&[0x0A, 0, 0, 0, 2][..], &object(&[property("y", &[5])]), &[6]].concat();
    let properties = [
        property("creationdate", &date),
        property("long", &long),
        property("xml", &xml),
        property("typed", &typed),
        property("reference", &[7, 0, 1]),
        property("unsupported", &[0x0D]),
        property("nested", &nested),
        property("audiocodecid", &number(10.0)),
        property("audiosamplerate", &number(44_100.0)),
        property("audiodatarate", &number(128.0)),
        property("stereo", &[1, 1]),
        property("encoder", &text("Lavf59.27.100")),
    ];
    let ecma = [&[8, 0, 0, 0, 99][..], &properties.concat(), &[0, 0, 9]].concat();
    let body = [text("@setDataFrame"), text("onMetaData"), ecma].concat();
    let expected = Metadata {
        audio_codec: Some(AudioCodec::Number(10.0)),
        audio_kbps: Some(128.0),
        audio_sample_rate_hz: Some(44_100.0),
        stereo: Some(true),
        encoder: Some("Lavf59.27.100".into()),
    };
    assert_eq!(peer.send(&message(4, 0, DATA, &body, 128)), Ok(vec![Event::Metadata(expected)]));
    let number_only = [text("onMetaData"), number(1.0)].concat();
    assert_eq!(
        peer.send(&message(4, 0, DATA, &number_only, 128)),
        Ok(vec![Event::Metadata(Metadata::default())])
    );
    assert_eq!(peer.send(&message(4, 0, DATA, &text("onCuePoint"), 128)), Ok(vec![]));
    assert_eq!(peer.session.stats().metadata_dropped, 0);
}

#[test]
fn a_codec_name_and_three_metadata_messages_in_a_row_are_fine() {
    let mut peer = Peer::publishing();
    let body = [text("onMetaData"), object(&[property("audiocodecid", &text("mp4a"))])].concat();
    let events = peer.send(&message(4, 0, DATA, &body, 128).repeat(3)).unwrap();
    let codec = Some(AudioCodec::Name("mp4a".into()));
    assert_eq!(events, vec![Event::Metadata(Metadata { audio_codec: codec, ..Metadata::default() }); 3]);
}

#[test]
fn audio_that_is_not_aac_is_delivered_for_others_to_judge() {
    for first in [0x2f, 0x7f, 0x9f] {
        assert_eq!(audio_of(&Peer::publishing().send(&audio(0, &[first])).unwrap()), [(0, vec![first])]);
    }
}

#[test]
fn a_recycled_body_serves_the_next_message_of_steady_audio() {
    let mut peer = Peer::publishing();
    let mut take = |time| {
        let mut events = peer.send(&audio(time, &[0xaf; 373])).unwrap();
        peer.answers();
        let Some(Event::Audio { body, .. }) = events.pop() else { unreachable!("audio") };
        let place = body.as_ptr();
        peer.session.recycle(body);
        place
    };
    let first = take(0);
    assert!((1..100).all(|i| take(i * 23) == first), "the same memory again and again");
}
