//! What the handler asks, answered by the rooms that know.

use std::{sync::Arc, time::Instant};

use crate::{
    compare::schema::crd::CrdShape,
    guard::{Claim, ObjectRef},
    releases::{ReadThrough, Releases},
    webhook::handler::{SourceError, Sources},
};

/// The index and the records behind it.
pub(super) struct Known {
    pub releases: Releases,
    pub read_through: ReadThrough,
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
        _group: &str,
        _plural: &str,
    ) -> Result<Option<Arc<CrdShape>>, SourceError> {
        Err("custom resource definitions are not read yet".into())
    }
}
