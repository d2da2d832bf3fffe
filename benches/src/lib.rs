//! What helm-guard costs: the measuring behind `make bench` and `make bench-check`.
//!
//! | module | measures |
//! |---|---|
//! | [`cases`], [`counts`] | the evaluation alone: time (criterion, `judge.rs`) and instructions |
//! | [`server`] | the guard's server compared with a null webhook: throughput, latency, CPU |
//! | [`cluster`] | a PATCH and a `helm upgrade` through a real API server |
//! | [`memory`] | resident memory, time to ready and API calls, by number of releases |
//! | [`check`] | what must not grow, against the committed baseline |
//!
//! Everything else makes what they need: [`release`] and [`stream`] the data, [`api`] an API server of
//! release records, [`null`] the floor, [`guard`] a running guard, [`load`] its callers, [`report`] the
//! table.
//!
//! The measured guard is the release binary, in a process of its own. CPU and memory are as the kernel
//! counts them.

pub mod api;
pub mod cases;
pub mod check;
pub mod cluster;
pub mod counts;
pub mod guard;
pub mod load;
pub mod memory;
pub mod null;
pub mod plan;
pub mod proc;
pub mod recorded;
pub mod release;
pub mod report;
pub mod review;
pub mod server;
pub mod stream;
pub mod times;
pub mod tls;
