//! What is recorded of a change that passes in an emergency. Pure.
//!
//! Invariants
//! - A [`change::EmergencyChange`] holds no Secret value: it is redacted when it is made.

pub mod change;

pub use change::EmergencyChange;
