//! People's door: HTTP API, WebSocket fan-out, captions, one embedded page.

pub mod sessions;
