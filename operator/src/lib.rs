//! Keeps LiveKit and the cluster as the sessions ask: observe → plan → carry out.
//!
//! | folder | |
//! |---|---|
//! | `children` | Pod, Service and Secret of a session as they should be: pure |
//! | `observe` | what the cluster shows, as the decisions read it: pure |
//! | `stream_key` | secrets and RTMP URLs of sessions: pure |

pub mod children;
pub mod observe;
pub mod stream_key;
