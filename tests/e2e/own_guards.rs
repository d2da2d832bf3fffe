//! The guard as a process: its modes, how it starts, serves, reloads and exits, on a real API server.
//!
//! Each test runs its own guard, alone: see [`Turn`](crate::turn::Turn). They mostly wait, so `.ci/test` runs them at the
//! same time as the rest, on a control plane of their own. It knows them by the name of this module.

mod bad_records;
mod caller;
mod certificates;
mod client_certificates;
mod closed;
mod dead_connections;
mod drift;
mod endings;
mod enforcement;
mod flags;
mod flood;
mod foreign;
mod full_index;
mod hanging_audit_log;
mod hostile_records;
mod installations;
mod large_reviews;
mod merged_forecast;
mod metrics;
mod owner;
mod proxy;
mod readiness;
mod record_bombs;
mod replicas;
mod rotation;
mod scan;
mod secret_paths;
mod service;
mod static_registration;
