//! Validates the creation, approval and revocation of grants: the rules that depend on the user, which the
//! schema of the CRD cannot express.
//!
//! All problems are reported at once, up to [`SHOWN`](crate::policy::problem::SHOWN).

use jiff::Timestamp;

use super::lifetime::SKEW;
use crate::{
    api::BreakGlassGrant,
    policy::{
        emergency::{Emergencies, identities},
        identity::UserIdentity,
        problem::Problems,
    },
    text::counted,
};

/// The longest reason, in bytes; the schema counts characters.
pub(crate) const REASON_BYTES: usize = 1024;

/// The problems of a new grant.
pub fn new_grant(
    rules: &Emergencies,
    grant: &BreakGlassGrant,
    identity: UserIdentity<'_>,
    now: Timestamp,
) -> Vec<String> {
    let spec = &grant.spec;
    let mut wrong = Problems::default();
    if spec.requested_by != identity.user {
        wrong.add(
            "spec.requestedBy",
            format!("must be the requesting user, {:?}", identity.user),
        );
    }
    match identities(&spec.subjects) {
        Err(error) => wrong.add("spec.subjects", error),
        Ok(subjects) if subjects.is_empty() => {
            wrong.add("spec.subjects", "must not be empty");
        }
        Ok(subjects) => {
            for name in rules.strangers(&subjects) {
                let what = format!("{name:?} is not a break-glass identity of the policy");
                wrong.add("spec.subjects", what);
            }
        }
    }
    let (expires, latest) = (spec.expires_at.0, now.checked_add(rules.longest()));
    if expires <= now {
        wrong.add("spec.expiresAt", "must be in the future");
    } else if latest.is_ok_and(|latest| expires.duration_since(latest) > SKEW) {
        wrong.add(
            "spec.expiresAt",
            format!(
                "must be at most {} from now, the maximum of the policy",
                rules.rules.max_duration
            ),
        );
    }
    if spec.reason.len() > REASON_BYTES {
        let what = format!("must be at most {REASON_BYTES} bytes long");
        wrong.add("spec.reason", what);
    }
    if rules.rules.require_reason && spec.reason.trim().is_empty() {
        wrong.add("spec.reason", "required by the policy");
    }
    if rules.rules.require_ticket && spec.ticket.trim().is_empty() {
        wrong.add("spec.ticket", "required by the policy");
    }
    if spec.revoked {
        wrong.add("spec.revoked", "a new grant must not be revoked");
    }
    wrong.lines()
}

/// The most grants of one user in force at the same time: enough for an incident, too few for a loop.
const MAX_IN_FORCE: usize = 32;
/// The most stored grants of one user.
const MAX_STORED: usize = 500;

/// The problem with another grant for a user who has these grants. With thousands of grants, a user
/// could keep the guard from finding the one that matters.
pub fn one_more(theirs: &[BreakGlassGrant], now: Timestamp) -> Option<String> {
    let in_force = theirs
        .iter()
        .filter(|grant| !grant.spec.revoked && grant.spec.expires_at.0 > now)
        .count();
    if in_force >= MAX_IN_FORCE {
        let what = "grants in force: close some with helm-guard break-glass close";
        return Some(format!("spec.requestedBy: has {in_force} {what}"));
    }
    let stored = theirs.len();
    (stored >= MAX_STORED).then(|| {
        format!(
            "spec.requestedBy: has {} from the last 30 days: delete some",
            counted(stored, "grant")
        )
    })
}

/// The problems of a change of a grant: it may only be revoked. The CRD has the same rule; this covers
/// a cluster where somebody removed it.
pub fn changed_grant(old: &BreakGlassGrant, new: &BreakGlassGrant) -> Vec<String> {
    let mut allowed = old.spec.clone();
    allowed.revoked = true;
    if new.spec == old.spec || new.spec == allowed {
        Vec::new()
    } else {
        vec!["spec: a grant can be revoked, but not changed otherwise".to_owned()]
    }
}

/// The problems of a change of a grant's approvals: a user may only approve in their own name.
pub fn approved_grant(
    rules: &Emergencies,
    (old, new): (&BreakGlassGrant, &BreakGlassGrant),
    identity: UserIdentity<'_>,
    now: Timestamp,
) -> Vec<String> {
    let approvals = |grant: &BreakGlassGrant| {
        let status = grant.status.as_ref();
        status.map(|status| status.approvals.clone())
    };
    let (old_ones, new_ones) = (
        approvals(old).unwrap_or_default(),
        approvals(new).unwrap_or_default(),
    );
    let Some(added) = new_ones.strip_prefix(old_ones.as_slice()) else {
        return vec![
            "status.approvals: existing approvals cannot change; append new ones".to_owned(),
        ];
    };
    if added.is_empty() {
        return Vec::new();
    }
    let mut wrong = Problems::default();
    let spec = &old.spec;
    for approval in added {
        if approval.approved_by != identity.user {
            wrong.add(
                "status.approvals",
                format!("approvedBy must be the approving user, {:?}", identity.user),
            );
        }
        if approval.at.0.duration_since(now).abs() > SKEW {
            wrong.add("status.approvals", "at must be the current time");
        }
    }
    if added.len() > 1 || old_ones.iter().any(|one| one.approved_by == identity.user) {
        wrong.add("status.approvals", "a user can approve only once");
    }
    if spec.requested_by == identity.user {
        wrong.add(
            "status.approvals",
            "the requester of a grant cannot approve it",
        );
    }
    if identities(&spec.subjects).is_ok_and(|subjects| subjects.hold(identity)) {
        wrong.add("status.approvals", "subjects of a grant cannot approve it");
    }
    let mut approvers = rules.approvers.iter();
    if approvers.any(|approvers| !approvers.hold(identity)) {
        wrong.add(
            "status.approvals",
            format!("{:?} is not an approver of the policy", identity.user),
        );
    }
    if spec.revoked || spec.expires_at.0 <= now {
        wrong.add("status.approvals", "the grant has ended");
    }
    wrong.lines()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-11-21T03:00:00Z";

    fn rules(spec: &Value) -> Emergencies {
        let mut whole = json!({"identities": [{"subjects": {
            "serviceAccounts": ["ops/emergency-ops"], "groups": ["on-call"],
        }}]});
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        Emergencies::compile(&serde_json::from_value(whole).unwrap()).unwrap()
    }

    fn grant(pointer: &str, value: Value) -> BreakGlassGrant {
        let mut grant = json!({
            "apiVersion": "helm-guard.dev/v1alpha1", "kind": "BreakGlassGrant",
            "metadata": {"name": "g-1"},
            "spec": {
                "subjects": {"serviceAccounts": ["ops/emergency-ops"]},
                "requestedBy": "ada", "expiresAt": "2026-11-21T04:00:00Z",
                "reason": "OOM", "ticket": "INC-1", "revoked": false,
            },
            "status": {"approvals": []},
        });
        // The empty pointer is the unchanged grant.
        if !pointer.is_empty() {
            *grant.pointer_mut(pointer).unwrap() = value;
        }
        serde_json::from_value(grant).unwrap()
    }

    fn approval(by: &str) -> Value {
        json!({"approvedBy": by, "at": NOW})
    }

    fn identity<'a>(user: &'a str, groups: &'a [Cow<'a, str>]) -> UserIdentity<'a> {
        UserIdentity { user, groups }
    }

    #[rstest]
    #[case::fine("", json!(null), json!({}), "")]
    #[case::in_another_name("/spec/requestedBy", json!("bob"), json!({}), "requestedBy: must be the requesting user")]
    #[case::without_subjects("/spec/subjects", json!({}), json!({}), "subjects: must not be empty")]
    #[case::for_a_stranger("/spec/subjects", json!({"users": ["eve"]}), json!({}), "\"eve\" is not a break-glass identity")]
    #[case::for_a_strange_group("/spec/subjects", json!({"groups": ["dev"]}), json!({}), "\"dev\" is not a break-glass")]
    #[case::for_a_group_of_the_policy("/spec/subjects", json!({"groups": ["on-call"]}), json!({}), "")]
    #[case::for_everybody("/spec/subjects", json!({"groups": ["system:authenticated"]}), json!({}), "matches everyone")]
    #[case::expired("/spec/expiresAt", json!(NOW), json!({}), "must be in the future")]
    #[case::too_long("/spec/expiresAt", json!("2026-11-21T07:02:01Z"), json!({}), "at most 4h from now")]
    #[case::as_long_as_allowed("/spec/expiresAt", json!("2026-11-21T07:00:01Z"), json!({}), "")]
    #[case::no_reason("/spec/reason", json!(" "), json!({"requireReason": true}), "spec.reason")]
    #[case::no_ticket("/spec/ticket", json!(""), json!({"requireTicket": true}), "spec.ticket")]
    #[case::a_reason_of_a_mebibyte("/spec/reason", json!("x".repeat(1 << 20)), json!({}), "at most 1024 bytes")]
    #[case::revoked_at_creation("/spec/revoked", json!(true), json!({}), "spec.revoked")]
    fn a_new_grant(
        #[case] pointer: &str,
        #[case] value: Value,
        #[case] policy: Value,
        #[case] says: &str,
    ) {
        let grant = grant(pointer, value);
        let wrong = new_grant(
            &rules(&policy),
            &grant,
            identity("ada", &[]),
            NOW.parse().unwrap(),
        );
        assert_eq!(wrong.is_empty(), says.is_empty(), "{wrong:?}");
        assert!(wrong.join("\n").contains(says), "{wrong:?}");
    }

    #[rstest]
    #[case::few(31, 0, "")]
    #[case::too_many_in_force(32, 0, "has 32 grants in force")]
    #[case::many_that_have_ended(31, 400, "")]
    #[case::too_many_that_have_ended(0, 500, "has 500 grants from the last 30 days")]
    fn grants_of_one_user_are_limited(
        #[case] in_force: usize,
        #[case] ended: usize,
        #[case] says: &str,
    ) {
        let good = std::iter::repeat_n(grant("", json!(null)), in_force);
        let over = std::iter::repeat_n(grant("/spec/revoked", json!(true)), ended);
        let theirs: Vec<_> = good.chain(over).collect();
        let wrong = one_more(&theirs, NOW.parse().unwrap()).unwrap_or_default();
        assert_eq!(wrong.is_empty(), says.is_empty(), "{wrong}");
        assert!(wrong.contains(says), "{wrong}");
    }

    #[test]
    fn further_unknown_subjects_of_a_grant_are_counted() {
        let names: Vec<String> = (0..5_000).map(|n| format!("user-{n}")).collect();
        let grant = grant("/spec/subjects", json!({"users": names}));
        let wrong = new_grant(
            &rules(&json!({})),
            &grant,
            identity("ada", &[]),
            NOW.parse().unwrap(),
        );
        assert_eq!(wrong.len(), 33, "{wrong:?}");
        assert_eq!(wrong.last().unwrap(), "and 4968 more");
    }

    #[test]
    fn all_problems_of_a_grant_are_reported() {
        let mut grant = grant("/spec/requestedBy", json!("bob"));
        grant.spec.ticket.clear();
        let wrong = new_grant(
            &rules(&json!({"requireTicket": true})),
            &grant,
            identity("ada", &[]),
            NOW.parse().unwrap(),
        );
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }

    #[rstest]
    #[case::nothing("", json!(null), true)]
    #[case::revoked("/spec/revoked", json!(true), true)]
    #[case::longer("/spec/expiresAt", json!("2026-11-21T06:00:00Z"), false)]
    #[case::for_more("/spec/subjects", json!({"users": ["eve"]}), false)]
    fn a_grant_may_only_be_revoked(
        #[case] pointer: &str,
        #[case] value: Value,
        #[case] expected: bool,
    ) {
        let wrong = changed_grant(&grant("", json!(null)), &grant(pointer, value));
        assert_eq!(wrong.is_empty(), expected, "{wrong:?}");
    }

    #[rstest]
    #[case::by_another("bob", &["bob"], json!({}), "")]
    #[case::in_another_name("bob", &["eve"], json!({}), "must be the approving user")]
    #[case::by_the_requester("ada", &["ada"], json!({}), "the requester of a grant cannot approve")]
    #[case::by_a_subject(
        "system:serviceaccount:ops:emergency-ops",
        &["system:serviceaccount:ops:emergency-ops"],
        json!({}),
        "subjects of a grant cannot approve"
    )]
    #[case::twice_at_once("bob", &["bob", "bob"], json!({}), "a user can approve only once")]
    #[case::by_no_approver("bob", &["bob"], json!({"approvers": {"users": ["eve"]}}), "not an approver")]
    #[case::by_an_approver_of_a_group("bob", &["bob"], json!({"approvers": {"groups": ["leads"]}}), "")]
    fn an_approval(
        #[case] user: &str,
        #[case] names: &[&str],
        #[case] policy: Value,
        #[case] says: &str,
    ) {
        let approvals = names.iter().map(|name| approval(name)).collect();
        let new = grant("/status/approvals", Value::Array(approvals));
        let groups = [Cow::Borrowed("leads")];
        let wrong = approved_grant(
            &rules(&policy),
            (&grant("", json!(null)), &new),
            identity(user, &groups),
            NOW.parse().unwrap(),
        );
        assert_eq!(wrong.is_empty(), says.is_empty(), "{wrong:?}");
        assert!(wrong.join("\n").contains(says), "{wrong:?}");
    }

    #[rstest]
    #[case::taken_away(json!([]))]
    #[case::put_in_front(json!([approval("eve"), approval("bob")]))]
    #[case::in_another_name(json!([approval("eve")]))]
    fn an_existing_approval_cannot_change(#[case] approvals: Value) {
        let old = grant("/status/approvals", json!([approval("bob")]));
        let new = grant("/status/approvals", approvals);
        let now = NOW.parse().unwrap();
        let wrong = approved_grant(&rules(&json!({})), (&old, &new), identity("eve", &[]), now);
        assert!(
            wrong[0].contains("existing approvals cannot change"),
            "{wrong:?}"
        );
    }

    #[test]
    fn an_ended_grant_cannot_be_approved() {
        let old = grant("/spec/revoked", json!(true));
        let mut new = old.clone();
        new.status = grant("/status/approvals", json!([approval("bob")])).status;
        let now = NOW.parse().unwrap();
        let wrong = approved_grant(&rules(&json!({})), (&old, &new), identity("bob", &[]), now);
        assert_eq!(wrong, ["status.approvals: the grant has ended"]);
    }
}
