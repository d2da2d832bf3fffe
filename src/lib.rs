//! helm-guard prevents drift from your Helm releases.
//!
//! What decides is the crate [`helm_guard_core`], without I/O. Here is what feeds it and carries its
//! answers. The modules, in the direction in which data flows; a module uses only those above it:
//!
//! | module | holds | I/O |
//! |---|---|---|
//! | [`cluster`] | client, CRD schemas | API server |
//! | [`releases`] | the index of declared objects, fed by watches; read-through | API server |
//! | [`review`] | one request: object, claims, verdict, break-glass, decision | by its sources |
//! | `scanner` | reads live objects, and has drift found in them | API server |
//! | [`record`] | metrics, audit lines, events | API server, log |
//! | [`webhook`] | `AdmissionReview` envelope, TLS, accept loop, registration, answers | sockets |
//! | [`cli`] | one file a subcommand; the only place that knows all modules | all |
//!
//! Start reading at [`helm_guard_core::guard::judge`]: it is the rule that the rest serves.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![warn(unreachable_pub)]

pub mod cli;
pub mod cluster;
pub mod record;
pub mod releases;
pub mod review;
mod scanner;
pub mod webhook;
