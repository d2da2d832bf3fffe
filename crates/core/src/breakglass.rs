//! Emergencies: who may break the glass, what is recorded of it, and when it is settled. Pure.
//!
//! Invariants
//! - A [`RedactedPatch`] holds no Secret value: it is redacted when it is made.
//! - Time is an argument.
//!
//! Start at [`grant::leave`] for who may, at [`recorded::record`] for what is kept, at
//! [`settle::settle`] for what happens to it.

pub mod grant;
pub mod grant_validation;
pub mod recorded;
pub mod redacted_patch;
pub mod retried;
pub mod settle;
pub mod token;

pub use grant::{Leave, Refusal};
pub use redacted_patch::RedactedPatch;
