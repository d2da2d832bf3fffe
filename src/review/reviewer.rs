//! Everything that a review depends on.

use helm_guard_core::{
    compare::redact::Redactor,
    guard::Own,
    policy::{Live, Policy},
};

use super::conversions::ActiveConversions;

/// Everything that a review depends on.
#[derive(Debug)]
pub struct Reviewer<S> {
    /// What is known of the cluster.
    pub sources: S,
    /// The policy in force.
    pub policy: Live,
    /// Shows values.
    pub redactor: Redactor,
    /// The versions in which the API server makes calls of their own.
    pub conversions: ActiveConversions,
    /// The release that the guard is installed by, if any: what it declares in the guard's namespace
    /// is not evaluated.
    pub own: Option<Own>,
    /// Whether break-glass identities get what the policy gives them.
    pub emergencies: Emergencies,
}

/// Whether break-glass counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emergencies {
    /// As the policy and the grants say.
    Considered,
    /// Everybody is treated alike: for commands that ask what a change would come to.
    Ignored,
}

impl<S> Reviewer<S> {
    /// For commands that ask what a request would come to: nobody gets break-glass, nothing is the guard's
    /// own, and there are no other calls.
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
