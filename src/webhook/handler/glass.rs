//! Whether somebody may break the glass, and the record of it before they are answered.
//!
//! Costs nothing but for a break-glass identity that violates something.

use std::time::Instant;

use helm_guard_core::{
    api::policy::breakglass::OnRecordFailure,
    breakglass::{
        Leave, Made, Refusal, grant,
        recorded::{self, Before},
    },
    compare::redact::Sensitivity,
    guard::{Asker, Decided, Decision, Effect, Outcome, Reason, Request, effect},
    helm::ObjectId,
    policy::{Place, Policy},
};
use jiff::Timestamp;

use super::{Judged, Sources, Webhook, judging};
use crate::{
    record::{self, events::Note},
    webhook::answer::text,
};

/// What became of the glass.
#[derive(Debug)]
pub(super) enum Glass {
    /// Nobody touched it: anyone at all, or somebody who violates nothing.
    Whole,
    /// Somebody may break it.
    Broken(Leave),
    /// Somebody who may break it may not break it for this.
    Refused(Refusal),
}

impl Glass {
    /// Who asks, as far as it matters now.
    pub(super) fn asker(&self) -> Asker {
        match self {
            Self::Broken(_) => Asker::BreakGlass,
            Self::Whole | Self::Refused(_) => Asker::Ordinary,
        }
    }

    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Whole | Self::Broken(_) => None,
        }
    }
}

/// Asks whether this violation may pass.
pub(super) async fn touch<S: Sources>(
    webhook: &Webhook<S>,
    policy: &Policy,
    request: &Request<'_>,
    judged: &Judged<'_>,
    deadline: Instant,
) -> Glass {
    let rules = policy.emergencies();
    let asking = request.user_info.asking();
    let verdict = &judged.verdict;
    let Some(object) = judged.object() else {
        return Glass::Whole;
    };
    if verdict.reason.outcome() != Outcome::Violation || !rules.names(asking) {
        return Glass::Whole;
    }
    let findings = verdict.findings.iter();
    let places: Vec<Place<'_>> = findings
        .map(|finding| Place {
            group: object.group,
            kind: object.kind,
            namespace: object.namespace,
            release: &finding.release,
            chart: &finding.chart,
        })
        .collect();
    let question = grant::Question {
        rules,
        asking,
        places: &places,
        now: Timestamp::now(),
    };
    let reading = webhook.sources.grants(deadline);
    // The source is not trusted to keep to its deadline.
    let read = tokio::time::timeout_at(deadline.into(), reading).await;
    let grants = match read {
        Ok(Ok(grants)) => grants,
        Ok(Err(error)) => return unread(&question, &error.to_string()),
        Err(_) => return unread(&question, "the API server did not answer in time"),
    };
    match grant::leave(&question, &grants) {
        Ok(leave) => Glass::Broken(leave),
        Err(refusal) => Glass::Refused(refusal),
    }
}

/// Where a grant is needed, one that nobody can read covers nothing. Where none is, it would only have
/// told the ticket.
fn unread(question: &grant::Question<'_>, error: &str) -> Glass {
    tracing::warn!(error, "failed to read the break-glass grants");
    match grant::leave(question, []) {
        Ok(leave) => Glass::Broken(leave),
        Err(Refusal::NoGrant) => Glass::Refused(Refusal::Unreadable(error.to_owned())),
        Err(refusal) => Glass::Refused(refusal),
    }
}

/// Records a break-glass change, before it is answered. A rehearsal leaves no record.
pub(super) async fn keep<S: Sources>(
    webhook: &Webhook<S>,
    policy: &Policy,
    (decided, glass): (&Decided<'_>, &Glass),
    deadline: Instant,
) -> Option<record::Emergency> {
    let Glass::Broken(leave) = glass else {
        return None;
    };
    if decided.decision != Decision::BreakGlass || decided.request.dry_run {
        return None;
    }
    let request = decided.request;
    let sensitivity = match decided.verdict.reason {
        // A record is the same wherever it is stored.
        Reason::RecordTampered | Reason::NotADeployer => Sensitivity::Secret,
        _ => Sensitivity::of(&request.kind.group, &request.kind.kind),
    };
    let change = Made::of(request, |object| match sensitivity {
        Sensitivity::Secret => webhook.redactor.mask_secret(object),
        Sensitivity::Open => {}
    });
    let object = decided.object?;
    let (version, action) = match effect(request) {
        // Of an eviction the kind is the Eviction's, and the resource the Pod's.
        Some(Effect::Delete) => (&request.resource.version, "Delete"),
        Some(Effect::Scale) => (&request.resource.version, "Scale"),
        Some(Effect::Update | Effect::UpdateMetadata) | None => (&request.kind.version, "Update"),
    };
    let before = Before {
        api_version: match object.group {
            "" => version.to_string(),
            group => format!("{group}/{version}"),
        },
        uid: judging::metadata_text(request, "uid"),
        resource_version: judging::metadata_text(request, "resourceVersion"),
    };
    let note = Note {
        object: ObjectId {
            group: object.group.to_owned(),
            kind: object.kind.to_owned(),
            namespace: object.namespace.to_owned(),
            name: object.name.clone().into_owned(),
        },
        api_version: before.api_version.clone(),
        uid: before.uid.clone(),
        reason: "BreakGlass",
        action,
        text: text::announcement(decided),
    };
    let rules = policy.emergencies();
    let now = Timestamp::now();
    let record = recorded::record(decided, (leave, &change), before, rules, now)?;
    let kept = webhook.sources.keep(&record, deadline).await;
    match &kept {
        Err(record::changes::Unkept::NotInstalled) => webhook.recorder.not_installed(),
        Err(error) => tracing::error!(
            %error,
            user = record.user,
            object = %note.object,
            "failed to record an emergency change in the cluster: its audit line is all there is"
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

/// A change that could not be recorded passes or does not, as the policy says.
pub(super) fn finally(
    policy: &Policy,
    decision: Decision,
    emergency: Option<&record::Emergency>,
) -> Decision {
    let is_lost = emergency.is_some_and(|emergency| emergency.kept.is_err());
    match policy.emergencies().on_record_failure() {
        OnRecordFailure::Deny if is_lost => Decision::Deny,
        OnRecordFailure::Deny | OnRecordFailure::Allow => decision,
    }
}
