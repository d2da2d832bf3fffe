//! Tokens of the emergency account, and when they end.
//!
//! A token is bound to a Secret that was made for its grant: once the Secret is gone, the API server
//! treats the token as invalid (`k8s.io/kubernetes/pkg/serviceaccount/claims.go`). The Secret is
//! empty.

use jiff::{SignedDuration, Timestamp};

use super::lifetime::end;
use crate::api::BreakGlassGrant;

/// The label of such a Secret: the name of the grant, which is also the name of the Secret.
pub const GRANT_LABEL: &str = "helm-guard.dev/grant";

/// Whether the tokens of a grant must end: it was deleted or revoked, or it has expired.
pub fn is_over(grant: Option<&BreakGlassGrant>, longest: SignedDuration, now: Timestamp) -> bool {
    grant.is_none_or(|grant| {
        grant.spec.revoked || end(grant, longest).is_none_or(|(end, _)| end <= now)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::in_force("2026-11-21T03:59:59Z", false, false)]
    #[case::expired("2026-11-21T04:00:00Z", false, true)]
    #[case::revoked("2026-11-21T03:00:00Z", true, true)]
    fn a_token_ends_with_its_grant(
        #[case] now: &str,
        #[case] revoked: bool,
        #[case] expected: bool,
    ) {
        let grant: BreakGlassGrant = serde_json::from_value(json!({
            "apiVersion": "helm-guard.dev/v1alpha1", "kind": "BreakGlassGrant",
            "metadata": {"name": "g-1", "creationTimestamp": "2026-11-21T02:00:00Z"},
            "spec": {"subjects": {}, "requestedBy": "ada", "expiresAt": "2026-11-21T04:00:00Z",
                "revoked": revoked},
        }))
        .unwrap();
        let (now, longest) = (now.parse().unwrap(), SignedDuration::from_hours(4));
        assert_eq!(is_over(Some(&grant), longest, now), expected);
        // A stricter policy ends it earlier.
        assert!(is_over(Some(&grant), SignedDuration::from_mins(30), now));
        assert!(is_over(None, longest, now));
    }
}
