//! When a grant ends.
//!
//! It ends at its `expiresAt`, and never later than the policy's `maxDuration` after its creation, so that
//! a stricter policy ends older grants. Times are compared with the clock of the guard, which may differ
//! from that of the API server by [`SKEW`].

use jiff::{SignedDuration, Timestamp};

use super::refusal::{End, GrantFault};
use crate::api::BreakGlassGrant;

/// The largest difference between the clocks of two machines. A grant from further in the future was created
/// with a wrong clock, and would be in force for longer than intended.
pub(crate) const SKEW: SignedDuration = SignedDuration::from_secs(120);

/// Why a grant is not in force now; `None` if it is.
pub(crate) fn fault(
    grant: &BreakGlassGrant,
    longest: SignedDuration,
    now: Timestamp,
) -> Option<GrantFault> {
    let Some((at, by)) = end(grant, longest) else {
        return Some(GrantFault::MadeInFuture);
    };
    let made_at = grant.made_at()?;
    if made_at.duration_since(now) > SKEW {
        return Some(GrantFault::MadeInFuture);
    }
    (now >= at).then_some(GrantFault::Ended { at, by })
}

/// When a grant ends, and what ends it; `None` if it has no creation time.
pub fn end(grant: &BreakGlassGrant, longest: SignedDuration) -> Option<(Timestamp, End)> {
    let expires = grant.spec.expires_at.0;
    let latest = grant.made_at()?.checked_add(longest).ok()?;
    Some(if latest < expires {
        (latest, End::LongestDuration)
    } else {
        (expires, End::Expiry)
    })
}
