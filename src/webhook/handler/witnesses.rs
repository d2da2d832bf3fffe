//! Whether live objects bear out what records elsewhere claim ([`helm_guard_core::guard::claimant`]).
//!
//! Invariants
//! - At most a few witnesses of a few claimants are looked at, all within the request's deadline.
//! - A claimant that no witness names does not count. Where that cannot be found out, the caller decides.

use std::time::Instant;

use futures_util::future::join_all;
use helm_guard_core::guard::{Claimant, Sighting};
use tokio::time::timeout_at;

use super::Sources;

/// What is known of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// No witness names the release.
    Unnamed,
    /// The guard may not look at its witnesses.
    Forbidden,
    /// The API server did not say.
    Unknown,
    /// It counts.
    Counts,
}

/// What is known of each claim, in their order.
pub(super) async fn standings<S: Sources>(
    sources: &S,
    claimants: impl Iterator<Item = &Claimant>,
    until: Instant,
) -> Vec<Standing> {
    join_all(claimants.map(|claimant| standing(sources, claimant, until))).await
}

async fn standing<S: Sources>(sources: &S, claimant: &Claimant, until: Instant) -> Standing {
    if claimant.counts() {
        return Standing::Counts;
    }
    let mut known = Standing::Unnamed;
    for witness in &claimant.witnesses {
        let looking = timeout_at(until.into(), sources.sighting(witness, until));
        let seen = match looking.await {
            Ok(Ok(sighting)) if claimant.is_named_by(&sighting) => return Standing::Counts,
            Ok(Ok(Sighting::Names(_))) => Standing::Unnamed,
            Ok(Ok(Sighting::Forbidden)) => Standing::Forbidden,
            Ok(Err(error)) => {
                let (kind, namespace) = (&witness.kind, &witness.namespace);
                tracing::warn!(kind, namespace, error, "failed to read an object");
                Standing::Unknown
            }
            Err(_) => return Standing::Unknown,
        };
        known = known.max(seen);
    }
    known
}
