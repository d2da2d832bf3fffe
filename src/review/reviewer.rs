//! The dependencies of a review.

use helm_guard_core::{
    compare::redact::Redactor,
    guard::Own,
    policy::{Live, Policy},
};

use super::conversions::ActiveConversions;

/// Everything that a review depends on.
#[derive(Debug)]
pub struct Reviewer<S> {
    /// The sources of cluster state.
    pub sources: S,
    /// The policy in force.
    pub policy: Live,
    /// Redacts values.
    pub redactor: Redactor,
    /// The versions in which the API server makes separate calls.
    pub conversions: ActiveConversions,
    /// The guard's own release, if any: its objects in the guard's namespace are not evaluated.
    pub own: Option<Own>,
    /// Whether break-glass applies.
    pub emergencies: Emergencies,
}

/// Whether break-glass applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emergencies {
    /// According to the policy and the grants.
    Considered,
    /// Never, for commands that show the outcome of a change.
    Ignored,
}

impl<S> Reviewer<S> {
    /// For commands that show the outcome of a request: without break-glass, without the guard's own
    /// release, and without other calls.
    pub fn for_questions(sources: S, policy: Policy, redactor: Redactor) -> Self {
        Self {
            sources,
            policy: policy.live(),
            redactor,
            conversions: ActiveConversions::default(),
            own: None,
            emergencies: Emergencies::Ignored,
        }
    }
}
