//! The decision: from a request, what the releases declare about its object, and the policy, to a
//! verdict with its reason.
//!
//! Pure: no client, no clock, no I/O. The webhook, the scanner and the command line all use it, so
//! each rule of the decision exists once.
//!
//! The steps, in order: [`screen`], [`subject`], the caller's lookup of claims, [`judge`].

mod change;
pub mod claim;
pub mod claimant;
mod counting;
pub mod decision;
pub mod deputies;
pub mod flight;
pub mod judge;
pub mod own;
mod ownership;
pub mod question;
pub mod reach;
pub mod records;
mod reporting;
pub mod request;
mod scale;
mod shared_ownership;
pub mod subject;
mod undeclared;
pub mod verdict;

pub use claim::{Claim, RecordsAt, RevisionClaim, RevisionObject};
pub use claimant::{Claimant, Sighting, Trusts, Witness};
pub use counting::settle;
pub use decision::{Decided, Decision, EmergencyAccess, Ruling, decide};
pub use flight::{HELM_WRITERS, in_flight, is_helm_manager, is_helm_writer};
pub use judge::judge;
pub use own::{KnownBy, Own};
pub use question::{ConversionTargets, Knowledge, Question};
pub use reach::{NamedOwner, Reach};
pub use request::{Kind, Operation, Options, Parts, Raw, Request, Resource, Unread, UserInfo};
pub use subject::{
    Effect, ObjectRef, RequestSubject, effect, is_binding, is_dry_run_eviction, owner, owners,
    screen, subject,
};
pub use verdict::{Confidence, FieldChange, Finding, Reason, Verdict, VerdictOutcome};
