//! The RTMP messages that rml_rtmp's client cannot make as a real egress makes them: audio whose messages begin with fmt 1, 2
//! and 3 (rtmp2sink's habit), and `deleteStream` with the stream's name instead of its number.

/// Chunk stream of the audio.
const AUDIO: u8 = 5;
/// Chunk stream of the last commands; rml_rtmp does not use it.
const COMMANDS: u8 = 7;
const CHUNK: usize = 128;
const AUDIO_TYPE: u8 = 8;
const COMMAND_TYPE: u8 = 20;
const EXTENDED: u32 = 0x00ff_ffff;

/// Writes audio messages; remembers what the next header may leave out.
#[derive(Debug, Clone)]
pub(crate) struct AudioChunks {
    stream: u32,
    last: Option<Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    timestamp: u32,
    length: usize,
    delta: Option<u32>,
}

impl AudioChunks {
    /// For a message stream.
    pub(crate) fn new(stream: u32) -> Self {
        Self { stream, last: None }
    }

    /// One message in chunks of 128 bytes.
    pub(crate) fn message(&mut self, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let delta =
            self.last.and_then(|last| timestamp.checked_sub(last.timestamp)).filter(|d| *d < EXTENDED);
        let mut out = Vec::with_capacity(payload.len() + 16 + payload.len() / CHUNK);
        let mut extended = None;
        match (self.last, delta) {
            (Some(last), Some(delta)) if last.length == payload.len() && last.delta == Some(delta) => {
                out.push(0xc0 | AUDIO);
            }
            (Some(last), Some(delta)) => {
                let same_length = last.length == payload.len();
                out.push(if same_length { 0x80 } else { 0x40 } | AUDIO);
                out.extend_from_slice(&delta.to_be_bytes()[1..]);
                if !same_length {
                    length_and_type(&mut out, payload.len(), AUDIO_TYPE);
                }
            }
            _ => {
                extended = (timestamp >= EXTENDED).then_some(timestamp);
                full_header(&mut out, AUDIO, timestamp, payload.len(), AUDIO_TYPE, self.stream);
            }
        }
        // Extended time can only come from fmt 0 here, and is repeated in front of every chunk of the message.
        body(&mut out, AUDIO, extended, payload);
        self.last = Some(Last { timestamp, length: payload.len(), delta });
        out
    }
}

/// FCUnpublish, then deleteStream, both with the stream's name as a string (observed on egress 1.14).
pub(crate) fn goodbye(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for command in ["FCUnpublish", "deleteStream"] {
        let mut payload = Vec::new();
        amf_string(&mut payload, command);
        payload.extend_from_slice(&[0; 9]);
        payload.push(5);
        amf_string(&mut payload, name);
        full_header(&mut out, COMMANDS, 0, payload.len(), COMMAND_TYPE, 0);
        body(&mut out, COMMANDS, None, &payload);
    }
    out
}

fn amf_string(out: &mut Vec<u8>, text: &str) {
    out.push(2);
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn full_header(out: &mut Vec<u8>, chunk_stream: u8, timestamp: u32, length: usize, kind: u8, stream: u32) {
    out.push(chunk_stream);
    out.extend_from_slice(&timestamp.min(EXTENDED).to_be_bytes()[1..]);
    length_and_type(out, length, kind);
    out.extend_from_slice(&stream.to_le_bytes());
}

fn length_and_type(out: &mut Vec<u8>, length: usize, kind: u8) {
    out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
    out.push(kind);
}

fn body(out: &mut Vec<u8>, chunk_stream: u8, extended: Option<u32>, payload: &[u8]) {
    for (index, chunk) in payload.chunks(CHUNK).enumerate() {
        if index > 0 {
            out.push(0xc0 | chunk_stream);
        }
        if let Some(timestamp) = extended {
            out.extend_from_slice(&timestamp.to_be_bytes());
        }
        out.extend_from_slice(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use rml_rtmp::chunk_io::ChunkDeserializer;
    use rml_rtmp::messages::RtmpMessage;

    fn formats(chunks: &mut AudioChunks, messages: &[(u32, usize)]) -> Vec<u8> {
        messages.iter().map(|(at, length)| chunks.message(*at, &vec![7; *length])[0] >> 6).collect()
    }

    #[test]
    fn messages_begin_as_short_as_the_last_one_allows() {
        let mut chunks = AudioChunks::new(1);
        let sent = [(0, 4), (23, 300), (46, 300), (69, 300), (93, 300), (93, 4), (0, 4)];
        assert_eq!(formats(&mut chunks, &sent), [0, 1, 3, 3, 2, 1, 0]);
    }

    #[test]
    fn another_implementation_reads_what_was_written() {
        let mut chunks = AudioChunks::new(1);
        let mut reader = ChunkDeserializer::new();
        let sent = [(0, 4), (23, 300), (46, 300), (69, 300), (0x0100_0000, 300), (0x0100_0017, 9)];
        let bytes: Vec<u8> =
            sent.iter().flat_map(|(at, length)| chunks.message(*at, &vec![7; *length])).collect();
        let mut input = &bytes[..];
        let mut read = Vec::new();
        while let Some(message) = reader.get_next_message(input).unwrap() {
            input = &[];
            read.push((message.timestamp.value, message.data.len()));
        }
        assert_eq!(read, sent);
    }

    #[test]
    fn delete_stream_carries_the_name() {
        let mut reader = ChunkDeserializer::new();
        let bytes = goodbye("KEY");
        let first = reader.get_next_message(&bytes).unwrap().unwrap();
        let second = reader.get_next_message(&[]).unwrap().unwrap();
        for (message, expected) in [(first, "FCUnpublish"), (second, "deleteStream")] {
            let RtmpMessage::Amf0Command { command_name, additional_arguments, .. } =
                message.to_rtmp_message().unwrap()
            else {
                panic!("not a command");
            };
            assert_eq!(command_name, expected);
            assert_eq!(additional_arguments, [string("KEY")]);
        }
        assert!(Bytes::from(bytes).len() > 40);
    }

    fn string(text: &str) -> rml_rtmp::rml_amf0::Amf0Value {
        rml_rtmp::rml_amf0::Amf0Value::Utf8String(text.into())
    }
}
