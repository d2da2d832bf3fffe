//! Reviews of the guard's own kinds, break-glass grants and policies: whether the write is valid.
//!
//! An invalid policy is denied when it is written, with its problems; except for one that suspends the
//! guard, because nothing may block the kill switch.

use std::time::Instant;

use helm_guard_core::{
    api::BreakGlassGrant,
    breakglass::grant_validation,
    guard::{Operation, Raw, Request, Unread},
    policy::{Policy, document, problem::shortened, suspension::Suspension, tightening},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout_at;

use crate::{
    review::{Reviewer, Sources, sources::GrantSource},
    webhook::{answer::refuse_if, envelope::EnvelopeError, intake::Taken},
};

/// One of the guard's own kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnKind {
    Grant,
    Policy,
}

impl OwnKind {
    /// The size limit of its reviews. A review holds up to two objects; a grant has a few hundred
    /// names at most, and a policy some thousand short rules.
    pub(super) fn limit(self) -> usize {
        match self {
            Self::Grant => 64 * 1024,
            Self::Policy => 512 * 1024,
        }
    }
}

/// The answer to the review in a body.
pub(super) async fn answer<S: Sources>(
    reviewer: &Reviewer<S>,
    body: &Taken<'_>,
    own: OwnKind,
    deadline: Instant,
) -> Result<Vec<u8>, EnvelopeError> {
    let request = body.request()?;
    let mut warnings = Vec::new();
    let problems = match (request.unread, own) {
        (Some(unread), _) => vec![unreadable(unread)],
        (None, OwnKind::Policy) => match written_policy(&request) {
            Ok(policy) => {
                let in_force = reviewer.policy.load();
                warnings = policy.map_or_else(Vec::new, |new| losses(&in_force, &new));
                Vec::new()
            }
            Err(problems) => problems,
        },
        (None, OwnKind::Grant) => {
            let policy = reviewer.policy.load_full();
            let mut problems = grant_problems(&policy, &request, Timestamp::now());
            problems.extend(one_too_many(&reviewer.sources, &request, deadline).await);
            problems
        }
    };
    if !problems.is_empty() {
        tracing::info!(
            kind = &*request.kind.kind,
            name = &*shortened(&request.name),
            user = &*shortened(&request.user_info.username),
            wrong = problems.join("; "),
            "denied an invalid object of the guard's own kinds"
        );
    }
    refuse_if(&request, &problems, warnings).map_err(|_| EnvelopeError::Unanswerable)
}

/// Why an unread object of the guard's own kinds is denied.
fn unreadable(unread: Unread) -> String {
    match unread {
        Unread::TooLarge { size, limit } => format!(
            "its admission review of {size} bytes is larger than the {limit} bytes that are evaluated"
        ),
        Unread::OverBudget { .. } => {
            "too many reviews are being evaluated at the moment: try again".to_owned()
        }
        Unread::Late => "its admission review did not arrive in time: try again".to_owned(),
    }
}

fn grant_problems(policy: &Policy, request: &Request<'_>, now: Timestamp) -> Vec<String> {
    let rules = policy.emergencies();
    let identity = request.user_info.identity();
    let old_and_new =
        || -> Result<_, String> { Ok((grant(request.old_object)?, grant(request.object)?)) };
    let checked = match (request.operation, &*request.sub_resource) {
        (Operation::Create, "") => {
            grant(request.object).map(|new| grant_validation::new_grant(rules, &new, identity, now))
        }
        (Operation::Update, "") => {
            old_and_new().map(|(old, new)| grant_validation::changed_grant(&old, &new))
        }
        (Operation::Update, "status") => old_and_new()
            .map(|(old, new)| grant_validation::approved_grant(rules, (&old, &new), identity, now)),
        _ => Ok(Vec::new()),
    };
    checked.unwrap_or_else(|error| vec![error])
}

/// The problems of a grant because of the requester's other grants. If they cannot be read, the grant is
/// allowed: the limit is only meant for loops.
async fn one_too_many<S: GrantSource>(
    sources: &S,
    request: &Request<'_>,
    deadline: Instant,
) -> Option<String> {
    if request.operation != Operation::Create {
        return None;
    }
    let user = &*request.user_info.username;
    let reading = sources.grants_of(user, deadline);
    match timeout_at(deadline.into(), reading).await {
        Ok(Ok(theirs)) => grant_validation::one_more(&theirs, Timestamp::now()),
        Ok(Err(error)) => {
            tracing::warn!(%error, user, "failed to count the grants of the requester");
            None
        }
        Err(_) => None,
    }
}

fn grant(raw: Option<Raw<'_>>) -> Result<BreakGlassGrant, String> {
    let text = raw.map_or("null", Raw::get);
    serde_json::from_str(text)
        .map_err(|error| shortened(&format!("it cannot be read: {error}")).into_owned())
}

/// Without the metadata, which mostly consists of managed fields.
#[derive(Deserialize)]
struct PolicyObject {
    #[serde(default)]
    spec: Value,
}

/// The policy that is written; none for one that is deleted or suspends the guard.
///
/// # Errors
/// Its problems, a line each.
fn written_policy(request: &Request<'_>) -> Result<Option<Policy>, Vec<String>> {
    let Some(object) = request.object else {
        return Ok(None);
    };
    let PolicyObject { spec } = match serde_json::from_str(object.get()) {
        Ok(object) => object,
        Err(error) => {
            return Err(vec![
                shortened(&format!("it cannot be read: {error}")).into_owned(),
            ]);
        }
    };
    if Suspension::in_document(&spec).is_some() {
        return Ok(None);
    }
    let compiled = document::spec(&spec).and_then(|spec| Policy::compile(&spec));
    compiled.map(Some).map_err(|error| error.lines())
}

/// What the person who applies the policy may not have meant to take away.
fn losses(in_force: &Policy, new: &Policy) -> Vec<String> {
    tightening::between(in_force.spec(), new.spec())
        .into_iter()
        .map(|loss| format!("helm-guard: compared with the policy in force, {loss}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn policy() -> Policy {
        let spec = json!({"breakGlass": {"identities": [
            {"subjects": {"serviceAccounts": ["ops/emergency"]}},
        ]}});
        Policy::compile(&serde_json::from_value(spec).unwrap()).unwrap()
    }

    fn grant(requested_by: &str, revoked: bool, approvals: &[&str]) -> Value {
        let approvals: Vec<Value> = approvals
            .iter()
            .map(|by| json!({"approvedBy": by, "at": "2026-11-21T03:00:00Z"}))
            .collect();
        json!({
            "apiVersion": "helm-guard.dev/v1alpha1", "kind": "BreakGlassGrant",
            "metadata": {"name": "g-1"},
            "spec": {
                "subjects": {"serviceAccounts": ["ops/emergency"]},
                "requestedBy": requested_by, "expiresAt": "2026-11-21T04:00:00Z",
                "revoked": revoked,
            },
            "status": {"approvals": approvals},
        })
    }

    #[rstest]
    #[case::made("CREATE", "", Value::Null, grant("ada", false, &[]), true)]
    #[case::made_for_another("CREATE", "", Value::Null, grant("bob", false, &[]), false)]
    #[case::revoked("UPDATE", "", grant("bob", false, &[]), grant("bob", true, &[]), true)]
    #[case::changed("UPDATE", "", grant("bob", false, &[]), grant("ada", false, &[]), false)]
    #[case::approved("UPDATE", "status", grant("bob", false, &[]), grant("bob", false, &["ada"]), true)]
    #[case::approved_for_another(
        "UPDATE", "status", grant("bob", false, &[]), grant("bob", false, &["eve"]), false
    )]
    #[case::unreadable("CREATE", "", Value::Null, json!({"spec": 1}), false)]
    #[case::removed("DELETE", "", grant("bob", false, &[]), Value::Null, true)]
    fn a_grant_is_validated_by_its_change(
        #[case] operation: &str,
        #[case] sub_resource: &str,
        #[case] old: Value,
        #[case] new: Value,
        #[case] expected: bool,
    ) {
        let body = json!({
            "uid": "u-1", "operation": operation, "subResource": sub_resource, "name": "g-1",
            "userInfo": {"username": "ada"}, "oldObject": old, "object": new,
        })
        .to_string();
        let request: Request<'_> = serde_json::from_str(&body).unwrap();
        let wrong = grant_problems(&policy(), &request, "2026-11-21T03:00:00Z".parse().unwrap());
        assert_eq!(wrong.is_empty(), expected, "{wrong:?}");
    }

    #[rstest]
    #[case::good(json!({"spec": {"mode": "Warn"}}), &[])]
    #[case::nothing_said(json!({}), &[])]
    #[case::deleted(Value::Null, &[])]
    #[case::wrong_but_suspended(json!({"spec": {"mode": "Denny", "suspend": true}}), &[])]
    #[case::wrong_and_resumed(json!({"spec": {"mode": "Denny", "suspend": false}}), &["spec.mode"])]
    #[case::unknown_word(json!({"spec": {"mode": "Denny"}}), &["spec.mode"])]
    #[case::two_things(
        json!({"spec": {"mode": "Denny", "undeclared": 1}}),
        &["spec.mode", "spec.undeclared"]
    )]
    #[case::no_object(json!({"spec": []}), &["spec"])]
    fn an_invalid_policy_is_denied_with_its_problems(
        #[case] object: Value,
        #[case] places: &[&str],
    ) {
        let body = json!({"uid": "u-1", "operation": "UPDATE", "object": object}).to_string();
        let request: Request<'_> = serde_json::from_str(&body).unwrap();
        let wrong = written_policy(&request).err().unwrap_or_default();
        assert_eq!(wrong.len(), places.len(), "{wrong:?}");
        for (line, place) in wrong.iter().zip(places) {
            assert!(line.starts_with(place), "{line}");
        }
    }

    #[rstest]
    #[case::items(json!({"exemptions": vec![0; 100_000]}), "and 99968 more")]
    #[case::fields(
        (0..100_000).map(|n| (format!("field{n}"), json!(1))).collect(),
        "and 99968 more"
    )]
    #[case::a_long_name(json!({"mode": "x".repeat(400_000)}), "spec.mode")]
    #[case::one_long_field(json!({"x".repeat(400_000): 1}), "spec.xxx")]
    fn however_much_is_wrong_few_words_are_made_of_it(#[case] spec: Value, #[case] last: &str) {
        let object = json!({"spec": spec});
        let body = json!({"uid": "u-1", "operation": "CREATE", "object": object}).to_string();
        let request: Request<'_> = serde_json::from_str(&body).unwrap();
        let wrong = written_policy(&request).err().unwrap_or_default();
        assert!(wrong.last().unwrap().starts_with(last), "{wrong:?}");
        assert!(wrong.concat().len() < 33 * 1100, "{}", wrong.concat().len());
    }
}
