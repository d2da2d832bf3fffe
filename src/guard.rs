//! The judgement: a request, what the releases declare about its object, and the policy go in; a
//! verdict with its reasons comes out.
//!
//! Pure: no client, no clock, no I/O. The webhook, the scanner and the command line all ask here,
//! so there is one place where a rule of the decision stands.

pub mod claim;
pub mod request;
pub mod verdict;

pub use claim::{Claim, Held, RevisionClaim};
pub use request::{Operation, Request};
pub use verdict::{Change, Finding, Outcome, Reason, Shown, Verdict};
