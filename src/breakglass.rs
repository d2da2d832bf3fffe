//! Who may pass in an emergency, and what is recorded of it. Pure.
//!
//! Invariants
//! - Identities match exactly: no prefix, no pattern. A name that a user can create is never
//!   enough to match another one.
//! - Only the user of the review counts, which is the effective one after impersonation.
//! - A [`change::EmergencyChange`] holds no Secret value: it is redacted when it is made.

pub mod change;
pub mod identity;

pub use change::EmergencyChange;
pub use identity::{Identities, IdentityError};
