//! What the handler asks, answered by the rooms that know.

use std::{sync::Arc, time::Instant};

use crate::{
    cluster::crds::Crds,
    compare::schema::crd::CrdShape,
    guard::{Claim, ObjectRef},
    releases::{ReadThrough, Releases},
    webhook::handler::{SourceError, Sources},
};

/// The index, the records behind it, and the custom resources.
pub(super) struct Known {
    pub releases: Releases,
    pub read_through: ReadThrough,
    pub crds: Arc<Crds>,
}

impl Sources for Known {
    fn claims(&self, object: &ObjectRef<'_>) -> Vec<Claim> {
        self.releases
            .claims(object.group, object.kind, object.namespace, &object.name)
    }

    fn is_unreadable(&self, namespace: &str, release: &str) -> bool {
        self.releases.is_unreadable(namespace, release)
    }

    async fn fresh_claims(
        &self,
        object: &ObjectRef<'_>,
        deadline: Instant,
    ) -> Result<Vec<Claim>, SourceError> {
        Ok(self.read_through.fresh_claims(object, deadline).await?)
    }

    async fn custom_resource(
        &self,
        group: &str,
        plural: &str,
    ) -> Result<Option<Arc<CrdShape>>, SourceError> {
        if let Some(found) = self.crds.cached(group, plural) {
            return Ok(Some(found));
        }
        Ok(self.crds.shape(group, plural).await?)
    }
}
