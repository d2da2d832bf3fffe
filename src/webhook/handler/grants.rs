//! Reviews of break-glass grants: whether one may be made, approved or ended in this way.

use std::time::Instant;

use helm_guard_core::{
    api::BreakGlassGrant,
    breakglass::asked,
    guard::{Operation, Raw, Request},
    policy::{Policy, problem::shortened},
};
use jiff::Timestamp;
use tokio::time::timeout_at;

use super::Sources;

/// What is wrong with it.
pub(super) fn wrong(policy: &Policy, request: &Request<'_>, now: Timestamp) -> Vec<String> {
    let rules = policy.emergencies();
    let asking = request.user_info.asking();
    let old_and_new =
        || -> Result<_, String> { Ok((grant(request.old_object)?, grant(request.object)?)) };
    let checked = match (request.operation, &*request.sub_resource) {
        (Operation::Create, "") => {
            grant(request.object).map(|new| asked::new_grant(rules, &new, asking, now))
        }
        (Operation::Update, "") => old_and_new().map(|(old, new)| asked::changed_grant(&old, &new)),
        (Operation::Update, "status") => {
            old_and_new().map(|(old, new)| asked::approved_grant(rules, (&old, &new), asking, now))
        }
        _ => Ok(Vec::new()),
    };
    checked.unwrap_or_else(|error| vec![error])
}

/// What is wrong with a grant because of those that its requester has already. Where they cannot be read,
/// nobody is kept from a grant for it: the limit is there for loops.
pub(super) async fn one_too_many<S: Sources>(
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
        Ok(Ok(theirs)) => asked::one_more(&theirs, Timestamp::now()),
        Ok(Err(error)) => {
            tracing::warn!(%error, user, "failed to count the grants of who asks for one");
            None
        }
        Err(_) => None,
    }
}

fn grant(raw: Option<Raw<'_>>) -> Result<BreakGlassGrant, String> {
    let text = raw.map_or("null", Raw::get);
    serde_json::from_str(text)
        .map_err(|error| shortened(&format!("it can not be read: {error}")).into_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

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
    fn a_grant_is_judged_by_what_is_done_to_it(
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
        let wrong = wrong(&policy(), &request, "2026-11-21T03:00:00Z".parse().unwrap());
        assert_eq!(wrong.is_empty(), expected, "{wrong:?}");
    }
}
