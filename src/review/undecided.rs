//! Why no verdict could be reached.

use helm_guard_core::guard::{Reason, Verdict, VerdictOutcome};

/// Why no verdict could be reached: always an indeterminate reason. Every allowed request has a [`Verdict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undecided(pub(super) Reason);

impl Undecided {
    pub(super) fn because(reason: Reason) -> Self {
        debug_assert_eq!(reason.outcome(), VerdictOutcome::Indeterminate, "{reason}");
        Self(reason)
    }
}

impl From<Undecided> for Verdict {
    fn from(Undecided(reason): Undecided) -> Self {
        Self::because(reason)
    }
}
