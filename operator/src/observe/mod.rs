//! Kubernetes objects as the decisions read them. Pure.

pub mod address;
pub mod gate;
mod pod;
mod report;
mod service;
mod session;

pub use pod::pod;
pub use report::{StatusError, StatusJson, report};
pub use service::service;
pub use session::session;
