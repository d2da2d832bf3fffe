//! Violations by Helm itself: a mutating webhook may have rewritten Helm's request, a hook of the chart
//! runs, or Helm takes ownership of an object.
//!
//! The field manager claims to be Helm, which anyone can do. The right to write the records of each
//! release in question shows that the user gains nothing by claiming it.

use std::time::Instant;

use helm_guard_core::{
    guard::{
        Claim, HELM_WRITERS, Reach, Reason, Request, Verdict, VerdictOutcome, flight::violated,
        in_flight, is_helm_writer, owner,
    },
    helm::lifecycle::Phase,
};
use tokio::time::timeout_at;

use super::{fresh_claims::CurrentClaims, object_review::ObjectReview, sources::Sources};

/// Whether a user may write records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecordAccess {
    Yes,
    No,
    Unknown,
}

impl RecordAccess {
    fn verdict(self, passing: impl FnOnce() -> Verdict) -> Option<Verdict> {
        match self {
            Self::Yes => Some(passing()),
            Self::No => None,
            Self::Unknown => Some(Verdict::because(Reason::AccessUnknown)),
        }
    }
}

impl<S: Sources> ObjectReview<'_, S> {
    /// The verdict on a violation that is, or may be, Helm's own; `None` on any other.
    pub(super) async fn written_by_helm(
        &self,
        current: &CurrentClaims,
        verdict: &Verdict,
        judge: &impl Fn(&[Claim]) -> Verdict,
    ) -> Option<Verdict> {
        if let Some(claims) = in_flight(self.request, verdict, &current.counting, HELM_WRITERS) {
            let access = self.record_access(&claims, current.until).await;
            return access.verdict(|| Verdict::because(Reason::InFlight));
        }
        let (taker, passing) = taken_over(self.request, current, judge)?;
        if taker.reach == Reach::Trusted {
            let access = self.record_access(&[taker], current.until).await;
            if access == RecordAccess::Yes {
                return Some(passing);
            }
        }
        let losing = violated(verdict, &current.counting);
        let access = self.record_access(&losing, current.until).await;
        access.verdict(|| passing)
    }

    /// Whether the user may write the records of all these releases.
    async fn record_access(&self, claims: &[&Claim], until: Instant) -> RecordAccess {
        let user = &self.request.user_info;
        let records = self.policy.records();
        for claim in claims {
            // If the policy names deployers, nobody else counts as Helm.
            if !records.may_deploy(user.identity(), &claim.release) {
                return RecordAccess::No;
            }
            let asking = self.reviewer.sources.may_write_records(claim, user);
            match timeout_at(until.into(), asking).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return RecordAccess::No,
                Ok(Err(error)) => {
                    tracing::warn!(release = %claim.release, error, "failed to ask who may write records");
                    return RecordAccess::Unknown;
                }
                Err(_) => {
                    tracing::warn!(release = %claim.release, "failed to ask in time who may write records");
                    return RecordAccess::Unknown;
                }
            }
        }
        RecordAccess::Yes
    }
}

/// `helm upgrade --take-ownership` of an object of a release in another namespace, or of a
/// cluster-scoped object: a pending release, which the new object names as its owner, declares the
/// written values. If the policy trusts the namespace of its records, the user must be able to write
/// those; otherwise, the user must be able to write the records of the releases that lose the object.
/// Also returns the verdict that allows it, which names the takeover.
fn taken_over<'c>(
    request: &Request<'_>,
    current: &'c CurrentClaims,
    judge: &impl Fn(&[Claim]) -> Verdict,
) -> Option<(&'c Claim, Verdict)> {
    if !is_helm_writer(request, HELM_WRITERS) {
        return None;
    }
    let to = request.object.and_then(owner)?;
    let all = current.counting.iter().chain(&current.others);
    let mut takers = all.filter(|claim| *claim.release == to && claim.phase == Phase::Pending);
    let taker = takers.find(|claim| matches!(claim.reach, Reach::Trusted | Reach::Elsewhere))?;
    let counting = current.counting.iter();
    let mut claims: Vec<Claim> = counting
        .filter(|claim| claim.release != taker.release)
        .cloned()
        .collect();
    let mut named = taker.clone();
    named.reach = Reach::Named;
    claims.push(named);
    let with_it = judge(&claims);
    (with_it.reason.outcome() == VerdictOutcome::Pass).then_some((taker, with_it))
}
