//! Objects that are not evaluated because the guard's own release declares them
//! ([`helm_guard_core::guard::own`]).

use helm_guard_core::{
    guard::{Claim, ObjectRef, Own},
    helm::ReleaseName,
};

use super::{reviewer::Reviewer, sources::IndexSource};

impl<S: IndexSource> Reviewer<S> {
    /// The claims on an object, without that of the guard's own release on an object in its namespace;
    /// `None` if no other release claims it.
    pub(super) fn without_own(
        &self,
        object: &ObjectRef<'_>,
        mut claims: Vec<Claim>,
    ) -> Option<Vec<Claim>> {
        let is_here = |own: &Own| own.namespace == object.namespace;
        if claims.is_empty() || !self.own.as_ref().is_some_and(is_here) {
            return Some(claims);
        }
        claims.retain(|claim| !self.is_own(&claim.release, &claim.chart));
        (!claims.is_empty()).then_some(claims)
    }

    /// Whether a release is the guard's own.
    pub(super) fn is_own(&self, release: &ReleaseName, chart: &str) -> bool {
        let Some(own) = &self.own else {
            return false;
        };
        own.is(release, chart, |service| {
            let service = ObjectRef {
                group: "",
                kind: "Service",
                namespace: &own.namespace,
                name: service.into(),
            };
            // A record elsewhere may claim to be of any release.
            self.sources.claims(&service).iter().any(|claim| {
                *claim.release == *release && *claim.records.namespace == *own.namespace
            })
        })
    }
}
