//! AAC to PCM on the media clock.
