//! Which approvals of a grant count.

use jiff::Timestamp;

use super::lifetime::SKEW;
use crate::{
    api::BreakGlassGrant,
    policy::{emergency::Emergencies, identity::Identities},
};

/// The number of approvals of a grant that count: each by another user, who neither requested the grant nor
/// is one of its subjects.
///
/// The author of an approval was checked when it was written, including groups: by the guard
/// ([`super::grant_validation`]) and, even while the guard was away, by the admission policies in
/// `deploy/`. Here, only the names are left to check, and that an approval is neither older than its grant
/// nor from the future.
pub fn count(
    rules: &Emergencies,
    grant: &BreakGlassGrant,
    subjects: &Identities,
    now: Timestamp,
) -> usize {
    let Some(status) = &grant.status else {
        return 0;
    };
    let is_in_time = |at: Timestamp| {
        at.duration_since(now) <= SKEW
            && grant
                .made_at()
                .is_some_and(|made_at| made_at.duration_since(at) <= SKEW)
    };
    let mut names: Vec<&str> = status
        .approvals
        .iter()
        .filter(|approval| is_in_time(approval.at.0))
        .map(|approval| approval.approved_by.as_str())
        .filter(|user| *user != grant.spec.requested_by && !subjects.names_user(user))
        .filter(|user| {
            let approvers = rules.approvers.as_ref();
            approvers.is_none_or(|who| who.names_user(user) || who.groups().next().is_some())
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}
