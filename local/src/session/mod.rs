//! One session as tasks of this process: observe → plan → carry out, as the operator does it with pods.
//!
//! - `observe`: what this process knows, in the plan's words. Pure.
//! - `advice`: the plan's reasons in the words of people without Kubernetes. Pure.
//! - `words`: what people read in the session document. Pure.
//! - `worker`: the worker's task, which is what a pod is in a cluster.
//! - `drive`: the loop. The status is on disk before anything is begun.
//! - `collect`: egresses of this installation that belong to no session.

mod advice;
pub(crate) mod collect;
mod drive;
mod end;
pub(crate) mod erase;
mod observe;
mod running;
#[cfg(test)]
mod tests;
pub(crate) mod words;
mod worker;

pub(crate) use running::{Running, begin};

/// Where LiveKit's egress finds this process.
pub(crate) struct Place {
    /// `rtmp`, or `rtmps` when the door speaks TLS.
    pub scheme: &'static str,
    /// Public host of RTMP URLs.
    pub host: String,
    /// Public port of RTMP URLs.
    pub port: u16,
    /// The host leads LiveKit nowhere: it is no address, or LiveKit is elsewhere and would find its own machine.
    pub is_loopback: bool,
    /// LiveKit is not in a private network.
    pub livekit_is_public: bool,
}

impl Place {
    /// Where every RTMP URL begins.
    pub(crate) fn base(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.port)
    }
}
