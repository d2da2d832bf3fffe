//! The record of a break-glass change, persisted before it is answered.

use std::time::Instant;

use helm_guard_core::{
    api::policy::breakglass::OnRecordFailure,
    breakglass::{
        RedactedPatch,
        recorded::{self, Before},
    },
    compare::redact::Sensitivity,
    guard::{Decision, Effect, Reason, Request, effect},
};
use jiff::Timestamp;

use super::{
    event::{api_version, note},
    state::Webhook,
};
use crate::{
    record::{self, Recorder, changes::PersistError, events::Note},
    review::{BreakGlassCheck, ReviewResult},
    webhook::answer::event_notes,
};

/// Persists the record of a change allowed by break-glass. A dry run leaves none.
pub(super) async fn persist<S>(
    webhook: &Webhook<S>,
    request: &Request<'_>,
    review: &ReviewResult<'_>,
    deadline: Instant,
) -> Option<record::Emergency> {
    let BreakGlassCheck::Granted(leave) = &review.break_glass else {
        return None;
    };
    if review.decision != Decision::BreakGlass || request.dry_run {
        return None;
    }
    let sensitivity = match review.verdict.reason {
        // A record is the same wherever it is stored.
        Reason::RecordTampered | Reason::NotADeployer => Sensitivity::Secret,
        _ => Sensitivity::of(&request.kind.group, &request.kind.kind),
    };
    let change = RedactedPatch::of(request, |object| match sensitivity {
        Sensitivity::Secret => webhook.reviewer.redactor.mask_secret(object),
        Sensitivity::Open => {}
    });
    let object = review.object()?;
    let decided = review.decided(request, Some(&object));
    let (version, action) = match effect(request) {
        // For an eviction, the kind is Eviction, and the resource is that of the Pod.
        Some(Effect::Delete) => (&request.resource.version, "Delete"),
        Some(Effect::Scale) => (&request.resource.version, "Scale"),
        Some(Effect::Update | Effect::UpdateMetadata) | None => (&request.kind.version, "Update"),
    };
    let api_version = api_version(object.group, version);
    let note = Note {
        api_version: api_version.clone(),
        ..note(
            &decided,
            ("BreakGlass", action),
            event_notes::announcement(&decided),
        )?
    };
    let before = Before {
        api_version,
        uid: note.uid.clone(),
        resource_version: request.metadata_text("resourceVersion"),
    };
    let rules = review.policy.emergencies();
    let now = Timestamp::now();
    let record = recorded::record(&decided, (leave, &change), before, rules, now)?;
    let kept = webhook.emergencies.persist(&record, deadline).await;
    match &kept {
        Err(PersistError::NotInstalled) => Recorder::not_installed(),
        Err(error) => tracing::error!(
            %error,
            user = record.user,
            object = %note.object,
            "failed to record an emergency change in the cluster: it is only in its audit line"
        ),
        Ok(_) => {}
    }
    Some(record::Emergency {
        change,
        record,
        kept,
        note,
    })
}

/// The policy decides whether a change that could not be recorded is allowed.
pub(super) fn apply_failure_policy(
    review: &ReviewResult<'_>,
    emergency: Option<&record::Emergency>,
) -> Decision {
    let is_lost = emergency.is_some_and(|emergency| emergency.kept.is_err());
    match review.policy.emergencies().on_record_failure() {
        OnRecordFailure::Deny if is_lost => Decision::Deny,
        OnRecordFailure::Deny | OnRecordFailure::Allow => review.decision,
    }
}
