//! Which grants cover a change, and which approvals count.

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

fn asked(
    rules: &Emergencies,
    grants: &[BreakGlassGrant],
    now: &str,
) -> Result<Authorization, Refusal> {
    let release = ReleaseName {
        namespace: "shop".to_owned(),
        name: "checkout".to_owned(),
    };
    let place = ObjectPlace {
        group: "apps",
        kind: "Deployment",
        namespace: "shop",
        release: &release,
        chart: "checkout-1.0.0",
    };
    let question = EmergencyQuestion {
        rules,
        identity: UserIdentity {
            user: USER,
            groups: &[],
        },
        places: &[place],
        now: now.parse().unwrap(),
    };
    authorize(&question, grants)
}

#[test]
fn a_grant_that_covers_the_change_is_named_with_its_ticket_and_reason() {
    let leave = asked(&rules(json!({})), &[grant(json!({}))], NOW).unwrap();
    assert_eq!(
        leave,
        Authorization {
            grant: Some("g-1".to_owned()),
            ticket: Some("INC-1".to_owned()),
            reason: Some("OOM".to_owned()),
        }
    );
}

#[rstest]
#[case::revoked(json!({"spec": {"revoked": true}}), json!({}), "grant g-1 was revoked")]
#[case::other_namespace(
    json!({"spec": {"scope": {"namespaces": ["db"]}}}), json!({}), "is only for ns db"
)]
#[case::no_reason(
    json!({"spec": {"reason": " "}}), json!({"requireReason": true}), "has no reason"
)]
#[case::no_ticket(
    json!({"spec": {"ticket": ""}}), json!({"requireTicket": true}), "has no ticket"
)]
#[case::unapproved(json!({}), json!({"approvals": 1}), "has 0 of 1 approval")]
#[case::longer_than_the_policy_allows(
    json!({}), json!({"maxDuration": "20m"}), "ended at 2026-11-21T02:50:00Z, by the policy"
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
fn a_grant_that_does_not_cover_the_change_says_why(
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
fn a_grant_is_in_force_until_it_expires(#[case] now: &str, #[case] expected: bool) {
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
        approvals::count(&rules(policy), &grant, &subjects, NOW.parse().unwrap()),
        expected
    );
}

#[rstest]
#[case::now(NOW, 1)]
#[case::by_a_clock_that_is_behind("2026-11-21T01:59:00Z", 1)]
#[case::before_the_grant_was_made("2026-11-21T01:57:59Z", 0)]
#[case::in_the_future("2026-11-21T03:02:01Z", 0)]
fn only_approvals_since_the_creation_of_the_grant_count(#[case] at: &str, #[case] expected: usize) {
    let grant = grant(json!({
        "metadata": {"creationTimestamp": "2026-11-21T02:00:00Z"},
        "status": {"approvals": [{"approvedBy": "bob", "at": at}]},
    }));
    let subjects = identities(&grant.spec.subjects).unwrap();
    let count = approvals::count(&rules(json!({})), &grant, &subjects, NOW.parse().unwrap());
    assert_eq!(count, expected);
}

#[test]
fn grants_in_force_name_the_identity_and_have_not_ended() {
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
fn an_optional_grant_still_provides_the_ticket() {
    let rules = rules(json!({"requireGrant": false}));
    let revoked = grant(json!({"spec": {"revoked": true}}));
    assert_eq!(asked(&rules, &[], NOW), Ok(Authorization::default()));
    assert_eq!(
        asked(&rules, std::slice::from_ref(&revoked), NOW),
        Ok(Authorization::default())
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
fn only_the_newest_of_many_grants_are_named() {
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
