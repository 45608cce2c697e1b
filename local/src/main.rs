//! The `roomscribe` command.

fn main() {}
