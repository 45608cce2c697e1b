//! One session, sans-IO.

pub mod audio;
