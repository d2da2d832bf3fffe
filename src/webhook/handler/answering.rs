//! From a request to its answer and its records.

use std::time::Instant;

use helm_guard_core::guard::{Decided, Decision, Reason};

use super::{
    emergency_record,
    event::note,
    state::{OnDoubt, Reply, Webhook},
};
use crate::{
    review::{Entry, Sources},
    webhook::{
        answer::{AnswerContents, event_notes},
        envelope::EnvelopeError,
        intake::Taken,
    },
};

/// Reviews the request in a body, records the decision, and answers it.
pub(super) async fn answer<S: Sources>(
    webhook: &Webhook<S>,
    body: &Taken<'_>,
    (entry, on_doubt): (Entry, OnDoubt),
    (started, deadline): (Instant, Instant),
) -> Result<Reply, EnvelopeError> {
    let request = body.request()?;
    let review = webhook.reviewer.review(&request, entry, deadline).await;
    let object = review.object();
    let emergency = emergency_record::persist(webhook, &request, &review, deadline).await;
    let decision = emergency_record::apply_failure_policy(&review, emergency.as_ref());
    let decided = Decided {
        decision: match on_doubt {
            OnDoubt::Pass => decision,
            OnDoubt::Fail => decision.closed(),
        },
        ..review.decided(&request, object.as_ref())
    };
    webhook
        .recorder
        .record(&decided, emergency.as_ref(), started.elapsed())
        .await;
    announce(webhook, &decided);
    let answer = AnswerContents {
        decided,
        emergency_hint: review.policy.emergency_hint(),
        refusal: review.break_glass.refusal(),
        emergency: emergency.as_ref(),
    };
    if decided.decision == Decision::FailClosed {
        return Ok(Reply::Undecided(answer.undecided()));
    }
    let json = answer.to_json().map_err(|_| EnvelopeError::Unanswerable)?;
    Ok(Reply::Review(json))
}

/// Announces allowed requests that should not go unnoticed.
fn announce<S>(webhook: &Webhook<S>, decided: &Decided<'_>) {
    if decided.request.dry_run {
        return;
    }
    let events = &webhook.recorder.events;
    match decided.verdict.reason {
        Reason::UndeclaredAutoscaler => {
            let text = event_notes::undeclared_autoscaler(decided);
            events.announce_once(note(decided, ("UndeclaredAutoscaler", "Autoscale"), text));
        }
        Reason::OwnershipTaken => {
            // Each time, because the new owner may differ.
            let text = event_notes::taken(decided);
            if let Some(note) = note(decided, ("OwnershipTaken", "TakeOwnership"), text) {
                events.announce(note);
            }
        }
        _ => {}
    }
}
