//! Load generators and the benchmarks' harness.
