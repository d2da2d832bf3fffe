//! The claims of releases on an object, by their current records.

use std::time::Instant;

use helm_guard_core::{
    guard::{Claim, NamedOwner, ObjectRef, Reach, Request, owners, settle},
    policy::Policy,
};
use jiff::Timestamp;
use tokio::time::timeout_at;

use super::{
    object_review::ObjectReview,
    sources::{FreshClaims, ObjectSource, Sources, read_until},
};
use crate::releases::WantedRecords;

/// The claims on an object, for the records that could be read again.
pub(super) struct CurrentClaims {
    /// Those by which the request is evaluated.
    pub counting: Vec<Claim>,
    /// The known claims that do not count.
    pub others: Vec<Claim>,
    /// Claims that count according to the index, or would if the object's owner were known, and
    /// could not be confirmed.
    pub doubtful: Vec<Claim>,
    /// The deadline of further reads.
    pub until: Instant,
}

impl CurrentClaims {
    /// Reads the records of the claims in the index, and of the releases that the object names.
    pub(super) async fn read<S: Sources>(
        review: &ObjectReview<'_, S>,
        indexed: Vec<Claim>,
        mut owner: NamedOwner,
    ) -> Self {
        let (policy, request) = (review.policy, review.request);
        let sources = &review.reviewer.sources;
        let object = review.located.object();
        let until = read_until(review.deadline);
        let mut current = Self {
            counting: Vec::new(),
            others: Vec::new(),
            doubtful: Vec::new(),
            until,
        };
        let named = owners(request);
        let wanted = WantedRecords {
            claims: &indexed,
            named: &named,
        };
        let reading = sources.fresh_claims(&object, &wanted, until);
        let Ok(FreshClaims { claims, unread }) = timeout_at(review.deadline.into(), reading).await
        else {
            tracing::warn!(
                namespace = object.namespace,
                "failed to read release records again in time"
            );
            current.doubtful = indexed.into_iter().map(unproven).collect();
            return current;
        };
        let claims = as_of_now(policy, claims);
        let needs_owner = claims.iter().any(|claim| claim.reach == Reach::Elsewhere);
        if owner == NamedOwner::Unseen && needs_owner {
            owner = live_owner(sources, request, &object, until).await;
        }
        current.sort(policy, claims, &owner);
        for unread in &unread {
            tracing::warn!(
                namespace = object.namespace,
                error = &unread.error,
                "failed to read release records again"
            );
            for claim in indexed.iter().filter(|claim| unread.is_of(claim)) {
                let claim = unproven(claim.clone());
                // This is permanent: size is not a reason to allow the request.
                if unread.is_too_large {
                    current.counting.push(claim);
                } else {
                    current.doubtful.push(claim);
                }
            }
        }
        current
    }

    /// Sorts claims by whether they count, given the object's owner.
    fn sort(&mut self, policy: &Policy, claims: Vec<Claim>, owner: &NamedOwner) {
        let trusts = |namespace: &str| policy.records().trusts(namespace);
        if *owner == NamedOwner::Unseen {
            // Some may count if the object could be read.
            let proven = settle(claims, &NamedOwner::Known(None), trusts);
            let possible = settle(proven.others, owner, trusts);
            self.counting = proven.counting;
            self.doubtful = possible.counting;
            self.others = possible.others;
        } else {
            let settled = settle(claims, owner, trusts);
            self.counting = settled.counting;
            self.others = settled.others;
        }
    }
}

/// A claim in the index that no record confirms: it counts as in the index.
fn unproven(mut claim: Claim) -> Claim {
    claim.reach = Reach::Trusted;
    claim
}

/// The claims, of which the policy may have timed out an uninstall by now.
pub(super) fn as_of_now(policy: &Policy, mut claims: Vec<Claim>) -> Vec<Claim> {
    if let Some(age) = policy.uninstalling_max_age() {
        let now = Timestamp::now();
        for claim in &mut claims {
            claim.give_up_uninstalling(age, now);
        }
    }
    claims
}

async fn live_owner<S: ObjectSource>(
    sources: &S,
    request: &Request<'_>,
    object: &ObjectRef<'_>,
    until: Instant,
) -> NamedOwner {
    let namespace = object.namespace;
    let reading = sources.owner_now(&request.resource, object, until);
    match timeout_at(until.into(), reading).await {
        Ok(Ok(owner)) => NamedOwner::Known(owner),
        Ok(Err(error)) => {
            tracing::warn!(namespace, error, "failed to read an object");
            NamedOwner::Unseen
        }
        Err(_) => {
            tracing::warn!(namespace, "failed to read an object in time");
            NamedOwner::Unseen
        }
    }
}
