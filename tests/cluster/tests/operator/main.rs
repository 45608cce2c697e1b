//! The operator on a real API server. It is its ServiceAccount with the committed Role; LiveKit is simulated and publishes
//! real RTMP; a small program plays kubelet and load balancer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: clippy knows tests only by their attribute"
)]

mod children;
mod crashes;
mod credentials;
mod exposure;
mod jobs;
mod refused;
mod rights;
mod rooms;
mod scale;
mod sessions;
mod world;
