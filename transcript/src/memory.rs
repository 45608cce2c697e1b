//! A log that is gone with the process.

/// In memory.
#[derive(Debug)]
pub struct MemoryLog {}
