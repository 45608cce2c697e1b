use crate::SessionError;
use crate::outbox::Outbox;

/// What we announce before our first long message.
pub(crate) const OUTBOUND_CHUNK_SIZE: u32 = 4096;

/// Writes one short message as one chunk of type 0, time 0: needs no memory of earlier headers on either side.
/// Our messages are shorter than a chunk: the longest is the answer to `connect`, about 250 bytes.
pub(crate) fn write_message(
    outbox: &mut Outbox,
    csid: u8,
    type_id: u8,
    stream_id: u32,
    body: &[u8],
) -> Result<(), SessionError> {
    debug_assert!(body.len() <= OUTBOUND_CHUNK_SIZE as usize);
    let length = u32::try_from(body.len()).unwrap_or_default().to_be_bytes();
    let mut header = [0; 12];
    header[0] = csid;
    header[4..7].copy_from_slice(&length[1..]);
    header[7] = type_id;
    header[8..].copy_from_slice(&stream_id.to_le_bytes());
    outbox.push(&[&header, body].concat())
}
