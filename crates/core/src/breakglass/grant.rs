//! Whether somebody may break the glass: the policy's identities, the grants there are, what is
//! changed, and the time go in.
//!
//! A grant ends when it says so, and never later than the policy's `maxDuration` after it was made, so
//! that a policy that becomes stricter ends what an older one allowed. Times are compared with the
//! clock of the guard, which may differ from that of the API server by [`SKEW`].

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::BreakGlassGrant,
    policy::{
        Place,
        emergency::{Emergencies, identities},
        identity::{Identities, UserIdentity},
        scope::covers,
    },
};

/// How far the clocks of two machines may be apart. A grant from further in the future was made when
/// a clock was wrong, and would be good for longer than anybody meant.
pub const SKEW: SignedDuration = SignedDuration::from_secs(120);

/// Grants that a refusal tells of.
const TOLD: usize = 3;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What the policy says.
    pub rules: &'a Emergencies,
    /// Who asks.
    pub identity: UserIdentity<'a>,
    /// What is changed: the object as each release sees it that declares it.
    pub places: &'a [Place<'a>],
    /// Now.
    pub now: Timestamp,
}

/// Leave to break the glass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    /// The grant that covers the change; none where none is needed and there is none.
    pub grant: Option<String>,
    /// Its ticket.
    pub ticket: Option<String>,
    /// Its reason.
    pub reason: Option<String>,
}

/// Why somebody who may break the glass may not break it for this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The policy lets them elsewhere, not here.
    OutOfReach,
    /// A grant is needed, and none names them.
    NoGrant,
    /// Those that name them do not cover it.
    Uncovered(Vec<(String, Fault)>),
    /// A grant is needed, and the grants could not be read.
    Unreadable(String),
}

/// Why a grant does not cover a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Somebody ended it.
    Revoked,
    /// Its time is over.
    Ended {
        /// Since then.
        at: Timestamp,
        /// What ended it.
        by: End,
    },
    /// It was made in the future, or does not say when.
    MadeInFuture,
    /// It is for something else.
    OutOfScope,
    /// The policy asks for a reason.
    NoReason,
    /// The policy asks for a ticket.
    NoTicket,
    /// Too few have approved it.
    Approvals {
        /// So many count.
        given: usize,
        /// So many are needed.
        needed: usize,
    },
}

/// What ends a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its own `expiresAt`.
    Expiry,
    /// The policy's `maxDuration`.
    LongestDuration,
}

/// Whether somebody may break the glass. For an identity of the policy; others are never asked about.
pub fn leave<'g>(
    question: &Question<'_>,
    grants: impl IntoIterator<Item = &'g BreakGlassGrant>,
) -> Result<Leave, Refusal> {
    let rules = question.rules;
    let mut places = question.places.iter();
    if !places.all(|place| rules.reaches(question.identity, place)) {
        return Err(Refusal::OutOfReach);
    }
    let mut faults: Vec<(&BreakGlassGrant, Fault)> = Vec::new();
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
    if !rules.ask_for_a_grant() {
        return Ok(Leave::default());
    }
    if faults.is_empty() {
        return Err(Refusal::NoGrant);
    }
    // The newest is what somebody has in mind.
    faults.sort_by_key(|(grant, _)| std::cmp::Reverse(grant.made_at()));
    let told = faults.into_iter().take(TOLD);
    Err(Refusal::Uncovered(
        told.map(|(grant, fault)| (name(grant), fault)).collect(),
    ))
}

/// The names of the grants that are good now for somebody, whatever they are for.
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
                && time_fault(grant, longest, now).is_none()
                && identities(&grant.spec.subjects).is_ok_and(|who| who.hold(identity))
        })
        .map(name)
}

fn given(grant: &BreakGlassGrant) -> Leave {
    let said = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
    Leave {
        grant: Some(name(grant)),
        ticket: said(&grant.spec.ticket),
        reason: said(&grant.spec.reason),
    }
}

fn name(grant: &BreakGlassGrant) -> String {
    grant.metadata.name.clone().unwrap_or_default()
}

fn fault(question: &Question<'_>, grant: &BreakGlassGrant, subjects: &Identities) -> Option<Fault> {
    let rules = question.rules;
    let mut places = question.places.iter();
    if grant.spec.revoked {
        return Some(Fault::Revoked);
    }
    if let Some(fault) = time_fault(grant, rules.longest(), question.now) {
        return Some(fault);
    }
    if !places.all(|place| covers(&grant.spec.scope, place)) {
        return Some(Fault::OutOfScope);
    }
    if rules.rules.require_reason && grant.spec.reason.trim().is_empty() {
        return Some(Fault::NoReason);
    }
    if rules.rules.require_ticket && grant.spec.ticket.trim().is_empty() {
        return Some(Fault::NoTicket);
    }
    let needed = usize::try_from(rules.rules.approvals).unwrap_or(usize::MAX);
    let given = approvals(rules, grant, subjects, question.now);
    (given < needed).then_some(Fault::Approvals { given, needed })
}

fn time_fault(grant: &BreakGlassGrant, longest: SignedDuration, now: Timestamp) -> Option<Fault> {
    let Some((at, by)) = end(grant, longest) else {
        return Some(Fault::MadeInFuture);
    };
    let made_at = grant.made_at()?;
    if made_at.duration_since(now) > SKEW {
        return Some(Fault::MadeInFuture);
    }
    (now >= at).then_some(Fault::Ended { at, by })
}

/// When a grant ends, and what ends it; none for one that does not say when it was made.
pub fn end(grant: &BreakGlassGrant, longest: SignedDuration) -> Option<(Timestamp, End)> {
    let expires = grant.spec.expires_at.0;
    let latest = grant.made_at()?.checked_add(longest).ok()?;
    Some(if latest < expires {
        (latest, End::LongestDuration)
    } else {
        (expires, End::Expiry)
    })
}

/// How many approvals of a grant count: each by somebody else, who neither asked for it nor wins by it.
///
/// Who wrote an approval was checked when it was written, groups included: by the guard
/// ([`super::asked`]) and, also while it was away, by the admission policies of `deploy/`. Here only the
/// object is left to look at: the names, and that an approval is neither older than its grant nor from the
/// future.
pub fn approvals(
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

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfReach => f.write_str("the policy does not let this identity do it here"),
            Self::NoGrant => f.write_str("no grant names this identity"),
            Self::Unreadable(why) => write!(f, "the grants could not be read: {why}"),
            Self::Uncovered(faults) => {
                for (n, (grant, fault)) in faults.iter().enumerate() {
                    let comma = if n == 0 { "" } else { "; " };
                    write!(f, "{comma}grant {grant} {fault}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked => f.write_str("was revoked"),
            Self::Ended {
                at,
                by: End::Expiry,
            } => write!(f, "expired at {}", seconds(*at)),
            Self::Ended {
                at,
                by: End::LongestDuration,
            } => write!(
                f,
                "ended at {}, the longest that the policy allows",
                seconds(*at)
            ),
            Self::MadeInFuture => f.write_str("was made in the future: a clock is wrong"),
            Self::OutOfScope => f.write_str("is for something else"),
            Self::NoReason => f.write_str("gives no reason"),
            Self::NoTicket => f.write_str("names no ticket"),
            Self::Approvals { given, needed } => {
                write!(f, "has {given} of {needed} approvals")
            }
        }
    }
}

fn seconds(at: Timestamp) -> impl fmt::Display {
    at.strftime("%Y-%m-%dT%H:%M:%SZ")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::helm::ReleaseName;

    const USER: &str = "system:serviceaccount:ops:emergency-ops";
    const NOW: &str = "2026-11-21T03:00:00Z";

    fn rules(more: Value) -> Emergencies {
        let mut spec = json!({
            "identities": [{"subjects": {"serviceAccounts": ["ops/emergency-ops"]}}],
            "requireGrant": true,
        });
        merge(&mut spec, more);
        Emergencies::compile(&serde_json::from_value(spec).unwrap()).unwrap()
    }

    fn merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }

    fn grant(more: Value) -> BreakGlassGrant {
        let mut grant = json!({
            "apiVersion": "helm-guard.dev/v1alpha1", "kind": "BreakGlassGrant",
            "metadata": {"name": "g-1", "creationTimestamp": "2026-11-21T02:30:00Z"},
            "spec": {
                "subjects": {"serviceAccounts": ["ops/emergency-ops"]},
                "requestedBy": "ada", "expiresAt": "2026-11-21T03:30:00Z",
                "reason": "OOM", "ticket": "INC-1",
            },
        });
        merge(&mut grant, more);
        serde_json::from_value(grant).unwrap()
    }

    fn asked(rules: &Emergencies, grants: &[BreakGlassGrant], now: &str) -> Result<Leave, Refusal> {
        let release = ReleaseName {
            namespace: "shop".to_owned(),
            name: "checkout".to_owned(),
        };
        let place = Place {
            group: "apps",
            kind: "Deployment",
            namespace: "shop",
            release: &release,
            chart: "checkout-1.0.0",
        };
        let question = Question {
            rules,
            identity: UserIdentity {
                user: USER,
                groups: &[],
            },
            places: &[place],
            now: now.parse().unwrap(),
        };
        leave(&question, grants)
    }

    #[test]
    fn a_grant_that_covers_the_change_is_named_with_its_ticket_and_reason() {
        let leave = asked(&rules(json!({})), &[grant(json!({}))], NOW).unwrap();
        assert_eq!(
            leave,
            Leave {
                grant: Some("g-1".to_owned()),
                ticket: Some("INC-1".to_owned()),
                reason: Some("OOM".to_owned()),
            }
        );
    }

    #[rstest]
    #[case::revoked(json!({"spec": {"revoked": true}}), json!({}), "grant g-1 was revoked")]
    #[case::other_namespace(
        json!({"spec": {"scope": {"namespaces": ["db"]}}}), json!({}), "is for something else"
    )]
    #[case::no_reason(
        json!({"spec": {"reason": " "}}), json!({"requireReason": true}), "gives no reason"
    )]
    #[case::no_ticket(
        json!({"spec": {"ticket": ""}}), json!({"requireTicket": true}), "names no ticket"
    )]
    #[case::unapproved(json!({}), json!({"approvals": 1}), "has 0 of 1 approvals")]
    #[case::longer_than_the_policy_allows(
        json!({}), json!({"maxDuration": "20m"}), "ended at 2026-11-21T02:50:00Z, the longest"
    )]
    #[case::from_the_future(
        json!({"metadata": {"creationTimestamp": "2026-11-21T03:02:01Z"}}), json!({}), "a clock is wrong"
    )]
    #[case::of_no_time(
        json!({"metadata": {"creationTimestamp": null}}), json!({}), "a clock is wrong"
    )]
    #[case::foreign(
        json!({"spec": {"subjects": {"serviceAccounts": ["dev/emergency-ops"]}}}),
        json!({}),
        "no grant names this identity"
    )]
    fn a_grant_that_does_not_cover_it_says_why(
        #[case] more: Value,
        #[case] policy: Value,
        #[case] says: &str,
    ) {
        let refusal = asked(&rules(policy), &[grant(more)], NOW).unwrap_err();
        assert!(refusal.to_string().contains(says), "{refusal}");
    }

    #[rstest]
    #[case::before("2026-11-21T03:29:59Z", true)]
    #[case::at_the_second("2026-11-21T03:30:00Z", false)]
    #[case::after("2026-11-21T04:00:00Z", false)]
    #[case::guard_clock_a_little_late("2026-11-21T02:28:30Z", true)]
    #[case::guard_clock_far_too_late("2026-11-20T03:00:00Z", false)]
    fn a_grant_is_good_until_it_expires(#[case] now: &str, #[case] expected: bool) {
        let leave = asked(&rules(json!({})), &[grant(json!({}))], now);
        assert_eq!(leave.is_ok(), expected, "{leave:?}");
    }

    #[rstest]
    #[case::by_somebody_else(&["bob"], json!({}), 1)]
    #[case::by_who_asked(&["ada"], json!({}), 0)]
    #[case::by_who_wins(&[USER], json!({}), 0)]
    #[case::twice(&["bob", "bob"], json!({}), 1)]
    #[case::by_two(&["bob", "eve"], json!({}), 2)]
    #[case::by_a_named_approver(&["bob", "eve"], json!({"approvers": {"users": ["eve"]}}), 1)]
    #[case::checked_by_group_before(&["bob"], json!({"approvers": {"groups": ["leads"]}}), 1)]
    fn only_approvals_of_others_count(
        #[case] by: &[&str],
        #[case] policy: Value,
        #[case] expected: usize,
    ) {
        let approvals: Vec<Value> = by
            .iter()
            .map(|user| json!({"approvedBy": user, "at": NOW}))
            .collect();
        let grant = grant(json!({"status": {"approvals": approvals}}));
        let subjects = identities(&grant.spec.subjects).unwrap();
        assert_eq!(
            super::approvals(&rules(policy), &grant, &subjects, NOW.parse().unwrap()),
            expected
        );
    }

    #[rstest]
    #[case::now(NOW, 1)]
    #[case::by_a_clock_that_is_behind("2026-11-21T01:59:00Z", 1)]
    #[case::before_the_grant_was_made("2026-11-21T01:57:59Z", 0)]
    #[case::in_the_future("2026-11-21T03:02:01Z", 0)]
    fn an_approval_counts_that_was_given_since_the_grant_was_made(
        #[case] at: &str,
        #[case] expected: usize,
    ) {
        let grant = grant(json!({
            "metadata": {"creationTimestamp": "2026-11-21T02:00:00Z"},
            "status": {"approvals": [{"approvedBy": "bob", "at": at}]},
        }));
        let subjects = identities(&grant.spec.subjects).unwrap();
        let count = super::approvals(&rules(json!({})), &grant, &subjects, NOW.parse().unwrap());
        assert_eq!(count, expected);
    }

    #[test]
    fn the_grants_in_force_are_those_that_name_somebody_and_have_not_ended() {
        let grants = [
            grant(json!({"metadata": {"name": "good"}})),
            grant(json!({"metadata": {"name": "revoked"}, "spec": {"revoked": true}})),
            grant(json!({"metadata": {"name": "expired"},
                "spec": {"expiresAt": "2026-11-21T02:30:00Z"}})),
            grant(json!({"metadata": {"name": "of-another"},
                "spec": {"subjects": {"serviceAccounts": ["dev/emergency-ops"]}}})),
        ];
        let identity = UserIdentity {
            user: USER,
            groups: &[],
        };
        let longest = SignedDuration::from_hours(4);
        let names: Vec<String> =
            super::in_force(&grants, identity, longest, NOW.parse().unwrap()).collect();
        assert_eq!(names, ["good"]);
    }

    #[test]
    fn where_no_grant_is_needed_one_still_tells_the_ticket() {
        let rules = rules(json!({"requireGrant": false}));
        let revoked = grant(json!({"spec": {"revoked": true}}));
        assert_eq!(asked(&rules, &[], NOW), Ok(Leave::default()));
        assert_eq!(
            asked(&rules, std::slice::from_ref(&revoked), NOW),
            Ok(Leave::default())
        );
        let leave = asked(&rules, &[revoked, grant(json!({}))], NOW).unwrap();
        assert_eq!(leave.ticket.as_deref(), Some("INC-1"));
    }

    #[test]
    fn a_grant_does_not_reach_further_than_the_policy() {
        let narrow = json!({"identities": [{
            "subjects": {"serviceAccounts": ["ops/emergency-ops"]},
            "scope": {"namespaces": ["db"]},
        }]});
        let refusal = asked(&rules(narrow), &[grant(json!({}))], NOW).unwrap_err();
        assert_eq!(refusal, Refusal::OutOfReach);
    }

    #[test]
    fn of_many_grants_the_newest_are_told_of() {
        let old = |n: usize| {
            grant(json!({"metadata": {"name": format!("g-{n}"),
                "creationTimestamp": format!("2026-11-2{n}T02:00:00Z")},
                "spec": {"revoked": true}}))
        };
        let grants: Vec<_> = (0..5).map(old).collect();
        let refusal = asked(&rules(json!({})), &grants, "2026-11-26T00:00:00Z").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "grant g-4 was revoked; grant g-3 was revoked; grant g-2 was revoked"
        );
    }
}
