//! JSON, SRT, WebVTT and TXT as pure functions of the log.
