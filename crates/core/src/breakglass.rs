//! Emergencies: who has break-glass, what is recorded, and how a change is resolved. Pure.
//!
//! Invariants
//! - A [`RedactedPatch`] holds no Secret value: it is redacted when it is made.
//! - Time is an argument.
//!
//! Start at [`grant::authorize`] for who may act, at [`recorded::record`] for the record, at
//! [`resolution::resolve`] for its resolution.

pub mod approvals;
pub mod grant;
pub mod grant_validation;
pub mod lifetime;
pub mod recorded;
pub(crate) mod redacted_patch;
pub mod refusal;
pub mod resolution;
pub mod retried;
pub mod token;

pub use grant::Authorization;
pub use redacted_patch::RedactedPatch;
pub use refusal::Refusal;
