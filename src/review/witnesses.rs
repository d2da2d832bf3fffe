//! Whether live objects confirm what records elsewhere claim ([`helm_guard_core::guard::claimant`]).
//!
//! Invariants
//! - At most a few witnesses of a few claimants are read, all within the request's deadline.
//! - A claimant that no witness names does not count. If that is unknown, the caller decides.

use std::time::Instant;

use futures_util::future::join_all;
use helm_guard_core::guard::{Claimant, Sighting};
use tokio::time::timeout_at;

use super::sources::ObjectSource;

/// The result for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attestation {
    /// No witness names the release.
    Unnamed,
    /// The guard may not read its witnesses.
    Forbidden,
    /// The API server did not answer.
    Unknown,
    /// The claim counts.
    Counts,
}

/// The result for each claim, in order.
pub(super) async fn attestations<S: ObjectSource>(
    sources: &S,
    claimants: impl Iterator<Item = &Claimant>,
    until: Instant,
) -> Vec<Attestation> {
    join_all(claimants.map(|claimant| attestation(sources, claimant, until))).await
}

async fn attestation<S: ObjectSource>(
    sources: &S,
    claimant: &Claimant,
    until: Instant,
) -> Attestation {
    if claimant.counts() {
        return Attestation::Counts;
    }
    let mut known = Attestation::Unnamed;
    for witness in &claimant.witnesses {
        let looking = timeout_at(until.into(), sources.sighting(witness, until));
        let seen = match looking.await {
            Ok(Ok(sighting)) if claimant.is_named_by(&sighting) => return Attestation::Counts,
            Ok(Ok(Sighting::Names(_))) => Attestation::Unnamed,
            Ok(Ok(Sighting::Forbidden)) => Attestation::Forbidden,
            Ok(Err(error)) => {
                let (kind, namespace) = (&witness.kind, &witness.namespace);
                tracing::warn!(kind, namespace, error, "failed to read an object");
                Attestation::Unknown
            }
            Err(_) => return Attestation::Unknown,
        };
        known = known.max(seen);
    }
    known
}
