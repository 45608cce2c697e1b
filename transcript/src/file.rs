//! Append-only segment files.

/// A log under a folder.
#[derive(Debug)]
pub struct FileLog {}
