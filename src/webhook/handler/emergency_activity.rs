//! Records the actions of emergency identities: the user, the action, and the grants in force.
//!
//! Nothing is evaluated here, and everything is allowed: a violation of a release is evaluated by its
//! ordinary entry, and recorded there as an emergency change.

use std::time::Instant;

use helm_guard_core::{
    breakglass::grant,
    guard::{Decided, Decision, ObjectRef, Reason, Request, Verdict},
    policy::Policy,
};
use jiff::Timestamp;

use super::state::Webhook;
use crate::{
    review::{Sources, sources::GrantSource},
    webhook::{answer::refuse_if, envelope::EnvelopeError, intake::Taken},
};

/// The maximum number of grants in a line.
const GRANTS: usize = 8;

/// Records the request in a body, and allows it.
pub(super) async fn record<S: Sources>(
    webhook: &Webhook<S>,
    body: &Taken<'_>,
    (started, deadline): (Instant, Instant),
) -> Result<Vec<u8>, EnvelopeError> {
    let request = &body.request()?;
    let policy = webhook.reviewer.policy.load_full();
    let is_named = policy.emergencies().names(request.user_info.identity());
    // The registration follows the policy some seconds later.
    let reason = if is_named {
        Reason::EmergencyIdentity
    } else {
        Reason::NotJudged
    };
    let verdict = Verdict::because(reason);
    let object = ObjectRef {
        group: &request.resource.group,
        kind: &request.kind.kind,
        namespace: &request.namespace,
        name: name(request).into(),
    };
    let decided = Decided {
        request,
        object: Some(&object),
        verdict: &verdict,
        decision: Decision::Allow,
        mode: policy.default_mode(),
    };
    let grants = if is_named && !request.dry_run {
        in_force(&webhook.reviewer.sources, &policy, request, deadline).await
    } else {
        Vec::new()
    };
    webhook
        .recorder
        .record_shift(&decided, &grants, started.elapsed())
        .await;
    refuse_if(request, &[], Vec::new()).map_err(|_| EnvelopeError::Unanswerable)
}

/// The grants that currently name this identity. If they cannot be read, the line has none: the action
/// is recorded anyway.
async fn in_force<S: GrantSource>(
    sources: &S,
    policy: &Policy,
    request: &Request<'_>,
    deadline: Instant,
) -> Vec<String> {
    let reading = sources.grants(deadline);
    match tokio::time::timeout_at(deadline.into(), reading).await {
        Ok(Ok(grants)) => {
            let identity = request.user_info.identity();
            let longest = policy.emergencies().longest();
            grant::in_force(&grants, identity, longest, Timestamp::now())
                .take(GRANTS)
                .collect()
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "failed to read the break-glass grants");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

/// A generated name, or that of an object in a collection, is only in the object.
fn name(request: &Request<'_>) -> String {
    if request.name.is_empty() {
        request.metadata_text("name").unwrap_or_default()
    } else {
        request.name.clone().into_owned()
    }
}
