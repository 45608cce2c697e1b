//! What the same program does once and then ends, for Helm's hooks and for people: `drain`, `self-test`.

mod drain;
mod rights;
mod self_test;

pub use drain::{Drained, drain};
pub use self_test::{SelfTest, self_test};

use clap::{Args, Subcommand};

/// What to do instead of looking after sessions.
#[derive(Debug, Clone, Subcommand)]
pub enum Job {
    /// Delete every session of the watched namespaces and wait until all are gone: before the operator goes away.
    Drain(DrainArgs),
    /// Check what an installation needs, one line each: API server, rights, LiveKit, speech service, NATS, gateway.
    SelfTest(SelfTestArgs),
}

/// Settings of `drain`.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// How long to wait; the operator needs up to CLEANUP_DEADLINE_SECONDS for a session whose LiveKit does not answer.
    #[arg(long, env = "DRAIN_TIMEOUT_SECONDS", default_value_t = 360, value_parser = clap::value_parser!(u64).range(1..=86_400), value_name = "SECONDS")]
    pub timeout_seconds: u64,
}

/// Settings of `self-test`.
#[derive(Debug, Clone, Args)]
pub struct SelfTestArgs {
    /// Base URL of the gateway; none: it is not checked.
    #[arg(long, env = "GATEWAY_URL", default_value = "", value_name = "URL")]
    pub gateway_url: String,
}
