//! Measures the cost of helm-guard, for `make bench` and `make bench-check`.
//!
//! | module | measures |
//! |---|---|
//! | [`cases`], [`counts`] | the evaluation alone: time (criterion, `judge.rs`) and instructions |
//! | [`server`] | the guard's server compared with a null webhook: throughput, latency, CPU |
//! | [`cluster`] | a PATCH and a `helm upgrade` through a real API server |
//! | [`memory`] | resident memory, time to ready and API calls, by number of releases |
//! | [`check`] | figures that must not grow, compared with the committed baseline |
//!
//! The other modules support them: [`release`] and [`stream`] generate the data, [`api`] is an API server with
//! release records, [`null`] the baseline, [`guard`] a running guard, [`load`] its callers, [`report`] the table.
//!
//! The measured guard is the release binary, in its own process. CPU time and memory are those of the kernel.

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
