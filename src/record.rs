//! What stays of a decision: metrics, audit lines, events.
//!
//! Invariants
//! - A dry-run request leaves nothing here.
//! - Recording never delays or changes an answer: events go through a bounded queue, and what does
//!   not fit is dropped and counted.
//! - Nothing here sees an object; only verdicts, whose values are redacted already.

pub mod audit;
pub mod events;
pub mod metrics;
