//! What the guard does not judge since its own release declares it ([`helm_guard_core::guard::own`]).

use helm_guard_core::{
    guard::{Claim, ObjectRef, Reason},
    helm::ReleaseName,
};

use super::{Sources, Webhook};

/// The claims on an object, without that of the guard's own release on an object in its namespace.
///
/// # Errors
/// [`Reason::OwnRelease`] when nobody else claims it.
pub(super) fn others<S: Sources>(
    webhook: &Webhook<S>,
    object: &ObjectRef<'_>,
    mut claims: Vec<Claim>,
) -> Result<Vec<Claim>, Reason> {
    let is_here = |own: &helm_guard_core::guard::Own| own.namespace == object.namespace;
    if claims.is_empty() || !webhook.own.as_ref().is_some_and(is_here) {
        return Ok(claims);
    }
    claims.retain(|claim| !is_own(webhook, &claim.release, &claim.chart));
    if claims.is_empty() {
        return Err(Reason::OwnRelease);
    }
    Ok(claims)
}

/// Whether a release is the guard's own.
pub(super) fn is_own<S: Sources>(webhook: &Webhook<S>, release: &ReleaseName, chart: &str) -> bool {
    let Some(own) = &webhook.own else {
        return false;
    };
    own.is(release, chart, |service| {
        let service = ObjectRef {
            group: "",
            kind: "Service",
            namespace: &own.namespace,
            name: service.into(),
        };
        // A record elsewhere may say that it is of any release.
        webhook
            .sources
            .claims(&service)
            .iter()
            .any(|claim| *claim.release == *release && *claim.records.namespace == *own.namespace)
    })
}
