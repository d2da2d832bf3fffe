//! The guard as a process: its modes, how it starts, serves, reloads and exits, on a real API server.
//!
//! Each test runs its own guard. A webhook configuration applies to the whole cluster, so the tests
//! take turns: see [`turn::Turn`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test are part of it"
)]

#[allow(
    dead_code,
    reason = "not all charts of the other tests are needed here"
)]
#[path = "../cluster/charts.rs"]
mod charts;
#[allow(dead_code, reason = "not all that the other tests do is done here")]
#[path = "../cluster/scene.rs"]
mod scene;

mod bad_records;
mod caller;
mod certificates;
mod client_certificates;
mod closed;
mod dead_connections;
mod endings;
mod flood;
mod foreign;
mod full_index;
mod hanging_audit_log;
mod hostile_records;
mod installations;
mod large_reviews;
mod metrics;
mod modes;
mod owner;
mod proxy;
mod readiness;
mod record_bombs;
mod replicas;
mod secret_paths;
mod static_registration;
mod turn;
