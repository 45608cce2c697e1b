//! Keeps LiveKit and the cluster as the sessions ask: observe → plan → carry out.
//!
//! | file | |
//! |---|---|
//! | `children` | Pod, Service and Secret of a session as they should be: pure |
//! | `observe` | what the cluster shows, as the decisions read it: pure |
//! | `look` | gathers what a plan rests on |
//! | `carry` | carries its actions out |
//! | `reconcile` | one round; `run` is the controller around it, `start` the process around that |
//! | `index`, `cells`, `wake` | what this process holds: facts of the watches, memory of each session, whom to plan again |
//! | `credentials` | whose LiveKit project and speech key a session uses |
//! | `workers` | one held long poll per worker |
//! | `collector` | once a minute: egresses that have outlived their session |
//! | `keys` | the installation's own keys from files, which change |
//! | `jobs` | what the program does once and then ends: `drain`, `self-test` |
//! | `leader` | one operator at a time |
//! | `discreet` | what the log never shows of other people's code |

pub mod api;
pub mod carry;
pub mod cells;
pub mod children;
pub mod collector;
pub mod context;
pub mod credentials;
pub mod discreet;
pub mod http;
pub mod index;
pub mod jobs;
pub mod keys;
pub mod leader;
pub mod listen;
pub mod look;
pub mod metrics;
pub mod observe;
pub mod reconcile;
pub mod refusal;
pub mod run;
pub mod settings;
pub mod start;
pub mod wake;
pub mod workers;

/// Secrets and RTMP URLs of sessions; the gateway shows the same ones.
pub use roomscribe_crds::stream_key;
