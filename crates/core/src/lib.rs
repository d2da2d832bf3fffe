//! The decision of helm-guard: release records, manifests, the comparison, the policy and the rule.
//!
//! The modules, in the direction in which data flows; a module uses only those above it:
//!
//! | module | holds |
//! |---|---|
//! | [`names`] | names and labels as the API server takes them |
//! | [`text`] | text for people, cut to a bound |
//! | [`api`] | the kinds of `helm-guard.dev/v1alpha1`: policy, grants, emergency changes |
//! | [`yaml`] | YAML as Helm reads it |
//! | [`helm`] | release records, manifests, the revision life cycle |
//! | [`compare`] | the declared-versus-requested walk over raw JSON, list keys, values, paths |
//! | [`policy`] | enforcement modes and the named exemptions |
//! | [`guard`] | the rule: (request, claims, policy) to a verdict |
//! | [`scan`] | drift: live objects compared with what releases declare |
//! | [`breakglass`] | the identities that may pass in an emergency, and what is recorded of it |
//!
//! Invariants
//! - No client, no socket, no file, no clock: all facts are arguments. The dependencies ensure it,
//!   and `tests/layers.rs` checks the dependencies.
//!
//! Start reading at [`guard::judge`]: it is the rule that the rest serves.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![warn(unreachable_pub)]

pub mod api;
pub mod breakglass;
pub mod compare;
pub mod guard;
pub mod helm;
pub mod names;
pub mod policy;
pub mod scan;
pub mod text;
pub mod yaml;
