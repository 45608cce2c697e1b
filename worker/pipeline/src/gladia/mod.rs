//! Gladia v2 live, the client's side (Gladia OpenAPI document and SDKs 2.1/2.2).

pub mod classify;
pub mod message;
pub mod request;
pub mod stream;
