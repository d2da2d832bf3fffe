//! Whether an identity has break-glass for a change: by the policy, the grants, the changed object and the
//! time.
//!
//! Start at [`authorize`].

use jiff::{SignedDuration, Timestamp};

use super::{
    approvals, lifetime,
    refusal::{GrantFault, Refusal},
};
use crate::{
    api::BreakGlassGrant,
    policy::{
        ObjectPlace,
        emergency::{Emergencies, identities},
        identity::{Identities, UserIdentity},
        scope::{covers, describe},
    },
};

/// The most grants that a refusal names.
const MAX_NAMED: usize = 3;

/// A request for break-glass.
#[derive(Clone, Copy, Debug)]
pub struct EmergencyQuestion<'a> {
    /// The rules of the policy.
    pub rules: &'a Emergencies,
    /// The requesting user.
    pub identity: UserIdentity<'a>,
    /// The changed object, from the view of each release that declares it.
    pub places: &'a [ObjectPlace<'a>],
    /// The current time.
    pub now: Timestamp,
}

/// Permission to make a change in an emergency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorization {
    /// The grant that covers the change; `None` if no grant is needed and none covers it.
    pub grant: Option<String>,
    /// The ticket that the requester gave.
    pub ticket: Option<String>,
    /// Why access was requested, in the words of the requester.
    pub reason: Option<String>,
}

/// Decides whether a break-glass identity of the policy may make the change. Not for other identities.
pub fn authorize<'g>(
    question: &EmergencyQuestion<'_>,
    grants: impl IntoIterator<Item = &'g BreakGlassGrant>,
) -> Result<Authorization, Refusal> {
    let rules = question.rules;
    let mut places = question.places.iter();
    if !places.all(|place| rules.reaches(question.identity, place)) {
        return Err(Refusal::OutOfReach);
    }
    let mut faults: Vec<(&BreakGlassGrant, GrantFault)> = Vec::new();
    for grant in grants {
        let Ok(subjects) = identities(&grant.spec.subjects) else {
            continue;
        };
        if !subjects.hold(question.identity) {
            continue;
        }
        match fault(question, grant, &subjects) {
            None => return Ok(given(grant)),
            Some(fault) => faults.push((grant, fault)),
        }
    }
    if !rules.requires_grant() {
        return Ok(Authorization::default());
    }
    if faults.is_empty() {
        return Err(Refusal::NoGrant);
    }
    // The user most likely means the newest.
    faults.sort_by_key(|(grant, _)| std::cmp::Reverse(grant.made_at()));
    let named = faults.into_iter().take(MAX_NAMED);
    Err(Refusal::Uncovered(
        named.map(|(grant, fault)| (name(grant), fault)).collect(),
    ))
}

/// The names of the grants for an identity that are in force now, of any scope.
pub fn in_force<'g>(
    grants: &'g [BreakGlassGrant],
    identity: UserIdentity<'g>,
    longest: SignedDuration,
    now: Timestamp,
) -> impl Iterator<Item = String> + 'g {
    grants
        .iter()
        .filter(move |grant| {
            !grant.spec.revoked
                && lifetime::fault(grant, longest, now).is_none()
                && identities(&grant.spec.subjects).is_ok_and(|who| who.hold(identity))
        })
        .map(name)
}

fn given(grant: &BreakGlassGrant) -> Authorization {
    let non_blank = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
    Authorization {
        grant: Some(name(grant)),
        ticket: non_blank(&grant.spec.ticket),
        reason: non_blank(&grant.spec.reason),
    }
}

fn name(grant: &BreakGlassGrant) -> String {
    grant.metadata.name.clone().unwrap_or_default()
}

fn fault(
    question: &EmergencyQuestion<'_>,
    grant: &BreakGlassGrant,
    subjects: &Identities,
) -> Option<GrantFault> {
    let rules = question.rules;
    let mut places = question.places.iter();
    if grant.spec.revoked {
        return Some(GrantFault::Revoked);
    }
    if let Some(fault) = lifetime::fault(grant, rules.longest(), question.now) {
        return Some(fault);
    }
    if !places.all(|place| covers(&grant.spec.scope, place)) {
        return Some(GrantFault::OutOfScope(describe(&grant.spec.scope)));
    }
    if rules.rules.require_reason && grant.spec.reason.trim().is_empty() {
        return Some(GrantFault::NoReason);
    }
    if rules.rules.require_ticket && grant.spec.ticket.trim().is_empty() {
        return Some(GrantFault::NoTicket);
    }
    let needed = usize::try_from(rules.rules.approvals).unwrap_or(usize::MAX);
    let given = approvals::count(rules, grant, subjects, question.now);
    (given < needed).then_some(GrantFault::Approvals { given, needed })
}

#[cfg(test)]
mod tests;
