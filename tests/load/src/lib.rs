//! Load generators and the benchmarks' harness.
//!
//! Everything stays on loopback, on ports that the kernel chose, for a bounded time. CPU is read from
//! `/proc/PID/task/*/schedstat` (nanoseconds, not ticks); children end with the process that started them.

pub mod http;
pub mod process;
pub mod publisher;
pub mod receivers;
pub mod relay;
pub mod report;
pub mod stats;
pub mod usage;
pub mod viewers;
