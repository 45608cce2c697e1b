//! Errors are an interface: their labels go into metrics, their texts into logs.

use std::collections::HashSet;

use roomscribe_rtmp::{Amf0Error, SessionError};

/// One of each; the match makes the compiler ask for a line here when a variant is added.
fn all() -> Vec<SessionError> {
    use SessionError as E;
    let (limit, millis, fmt, bytes_per_second) = (1, 2, 3, 4);
    let every = vec![
        E::WrongVersion { byte: 0x16 },
        E::HandshakeTimeout { millis },
        E::PublishTimeout { millis },
        E::Idle { millis },
        E::Lingering { millis },
        E::Rejected,
        E::EmptyStreamKey,
        E::TooManyBytesBeforePublish { limit },
        E::TooManyCommandsBeforePublish { limit },
        E::RepeatedCommand { command: "connect" },
        E::CommandTooEarly { command: "publish" },
        E::Amf0(Amf0Error::TooDeep),
        E::ChunkSizeTooSmall { size: 1 },
        E::MessageTooLong { type_id: 8, length: 9, limit },
        E::TooManyChunkStreams { limit },
        E::TooManyPartialMessages { limit },
        E::HeaderInsideMessage { fmt },
        E::HeaderWithoutPrevious { fmt },
        E::ShortControlMessage { type_id: 1, length: 0 },
        E::RateExceeded { bytes_per_second },
        E::AudioRateExceeded { bytes_per_second },
        E::OutboundOverflow { limit },
        E::EventsNotDrained { limit },
    ];
    for error in &every {
        match error {
            E::WrongVersion { .. }
            | E::HandshakeTimeout { .. }
            | E::PublishTimeout { .. }
            | E::Idle { .. } => {}
            E::Lingering { .. } | E::Rejected | E::EmptyStreamKey | E::TooManyBytesBeforePublish { .. } => {}
            E::TooManyCommandsBeforePublish { .. }
            | E::RepeatedCommand { .. }
            | E::CommandTooEarly { .. } => {}
            E::Amf0(_)
            | E::ChunkSizeTooSmall { .. }
            | E::MessageTooLong { .. }
            | E::TooManyChunkStreams { .. } => {}
            E::TooManyPartialMessages { .. }
            | E::HeaderInsideMessage { .. }
            | E::HeaderWithoutPrevious { .. } => {}
            E::ShortControlMessage { .. } | E::RateExceeded { .. } | E::AudioRateExceeded { .. } => {}
            E::OutboundOverflow { .. } | E::EventsNotDrained { .. } => {}
        }
    }
    every
}

#[test]
fn every_error_has_a_label_of_its_own_that_a_metric_can_carry() {
    let labels: HashSet<&str> = all().iter().map(SessionError::metric_label).collect();
    assert_eq!(labels.len(), all().len());
    assert!(
        labels
            .iter()
            .all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
    );
}

#[test]
fn every_error_says_its_limit_or_what_came() {
    let texts: HashSet<String> = all().iter().map(SessionError::to_string).collect();
    assert_eq!(texts.len(), all().len());
    assert!(texts.contains("first byte is 0x16, expected RTMP version 3 (this looks like TLS: use rtmp://, or rtmps:// on the TLS port)"));
    assert!(texts.contains("message of type 8 declares 9 bytes, at most 1 allowed"));
}
