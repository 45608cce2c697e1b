//! Chunks: how RTMP interleaves messages (RTMP 1.0 §5.3).

mod header;
mod reader;
mod writer;

pub(crate) use reader::{ChunkReader, Message};
pub(crate) use writer::{OUTBOUND_CHUNK_SIZE, write_message};

/// RTMP message types (RTMP 1.0 §5.4, §7.1).
pub(crate) mod message_type {
    pub(crate) const SET_CHUNK_SIZE: u8 = 1;
    pub(crate) const ABORT: u8 = 2;
    pub(crate) const ACKNOWLEDGEMENT: u8 = 3;
    pub(crate) const USER_CONTROL: u8 = 4;
    pub(crate) const WINDOW_ACK_SIZE: u8 = 5;
    pub(crate) const SET_PEER_BANDWIDTH: u8 = 6;
    pub(crate) const AUDIO: u8 = 8;
    pub(crate) const DATA_AMF3: u8 = 15;
    pub(crate) const COMMAND_AMF3: u8 = 17;
    pub(crate) const DATA_AMF0: u8 = 18;
    pub(crate) const COMMAND_AMF0: u8 = 20;
}
