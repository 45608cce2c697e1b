//! Sessions on Kubernetes: several replicas, one truth. `POST` creates the resource, `DELETE` asks it to stop, the rest
//! follows a watch.
//!
//! | file | |
//! |---|---|
//! | `cache` | the resources as the watches show them: pure |
//! | `document` | a resource as a session document: pure |
//! | `request` | a request as a resource, and which name it gets: pure |
//! | `refusal` | what the API server refuses, by JSON pointers: pure |
//! | `api` | calls to the API server, each with a deadline |
//! | `watch` | the watches, one per namespace |
//! | `ends` | the `end` of logs that nobody has ended, and asked-for erasures |
//! | `sessions` | the directory that the gateway asks; `find` and `change` are its two halves |
//! | `jwks` | the keys of whoever signs viewers' tokens |
//! | `settings`, `start`, `listen`, `door` | the process `roomscribe-gateway` |

mod api;
mod cache;
mod change;
mod document;
pub mod door;
mod ends;
mod find;
mod jwks;
mod listen;
mod refusal;
mod request;
mod sessions;
pub mod settings;
pub mod start;
mod watch;

pub use document::Install;
pub use sessions::{ClusterSessions, Place};
