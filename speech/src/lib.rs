//! A Gladia-v2-live-compatible speech server for one machine.
