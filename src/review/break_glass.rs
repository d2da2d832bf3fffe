//! Whether break-glass covers a violation.
//!
//! Only has a cost for a break-glass identity that violates something.

use std::time::Instant;

use helm_guard_core::{
    breakglass::{Authorization, Refusal, grant},
    guard::{EmergencyAccess, ObjectRef, Request, Verdict, VerdictOutcome},
    policy::{ObjectPlace, Policy},
};
use jiff::Timestamp;
use tokio::time::timeout_at;

use super::sources::GrantSource;

/// The result of the break-glass check.
#[derive(Debug)]
pub enum BreakGlassCheck {
    /// There is no violation, or not by a break-glass identity.
    NotUsed,
    /// Break-glass covers the violation.
    Granted(Authorization),
    /// Break-glass does not cover the violation of this break-glass identity.
    Denied(Refusal),
}

impl BreakGlassCheck {
    /// The input for the decision.
    pub(super) fn access(&self) -> EmergencyAccess {
        match self {
            Self::Granted(_) => EmergencyAccess::Granted,
            Self::NotUsed | Self::Denied(_) => EmergencyAccess::None,
        }
    }

    /// Why a break-glass identity is treated like any other user.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Denied(refusal) => Some(refusal),
            Self::NotUsed | Self::Granted(_) => None,
        }
    }
}

/// Checks whether break-glass covers this violation.
pub(super) async fn authorize<S: GrantSource>(
    sources: &S,
    policy: &Policy,
    request: &Request<'_>,
    (verdict, object): (&Verdict, &ObjectRef<'_>),
    deadline: Instant,
) -> BreakGlassCheck {
    let rules = policy.emergencies();
    let identity = request.user_info.identity();
    if verdict.reason.outcome() != VerdictOutcome::Violation || !rules.names(identity) {
        return BreakGlassCheck::NotUsed;
    }
    let findings = verdict.findings.iter();
    let places: Vec<ObjectPlace<'_>> = findings
        .map(|finding| ObjectPlace {
            group: object.group,
            kind: object.kind,
            namespace: object.namespace,
            release: &finding.release,
            chart: &finding.chart,
        })
        .collect();
    let question = grant::EmergencyQuestion {
        rules,
        identity,
        places: &places,
        now: Timestamp::now(),
    };
    // The source is not trusted to keep its deadline.
    let grants = match timeout_at(deadline.into(), sources.grants(deadline)).await {
        Ok(Ok(grants)) => grants,
        Ok(Err(error)) => return without_grants(&question, &error.to_string()),
        Err(_) => return without_grants(&question, "the API server did not answer in time"),
    };
    match grant::authorize(&question, &grants) {
        Ok(leave) => BreakGlassCheck::Granted(leave),
        Err(refusal) => BreakGlassCheck::Denied(refusal),
    }
}

/// If a grant is required, an unreadable one covers nothing. If none is required, it would only have
/// provided the ticket.
fn without_grants(question: &grant::EmergencyQuestion<'_>, error: &str) -> BreakGlassCheck {
    tracing::warn!(error, "failed to read the break-glass grants");
    match grant::authorize(question, []) {
        Ok(leave) => BreakGlassCheck::Granted(leave),
        Err(Refusal::NoGrant) => BreakGlassCheck::Denied(Refusal::Unreadable(error.to_owned())),
        Err(refusal) => BreakGlassCheck::Denied(refusal),
    }
}
