//! A small, hardened, ingest-only RTMP protocol core: bytes and now in, events and bytes out.
