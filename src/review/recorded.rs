//! Sources for reviews without a cluster: release records and CRDs from files. What only a cluster could
//! answer is an error.

use std::{collections::HashMap, sync::Arc, time::Instant};

use helm_guard_core::{
    api::BreakGlassGrant,
    compare::schema::crd::CrdShape,
    guard::{
        Claim, ObjectRef, RecordsAt, Resource, Sighting, Trusts, UserInfo, Witness,
        records::DeletionTarget,
    },
    helm::{ReleaseName, lifecycle::RevisionStatus},
};

use super::sources::{
    AccessSource, FreshClaims, FreshHolders, GrantSource, IndexSource, LiveOwner, NamespaceSource,
    ObjectSource, RecordSource, SchemaSource, SourceError,
};
use crate::releases::{Autoscalers, Autoscaling, Directory, WantedRecords};

/// Records and CRDs.
pub struct RecordedSources {
    directory: Arc<Directory>,
    /// By group and plural.
    crds: HashMap<(String, String), Arc<CrdShape>>,
}

impl RecordedSources {
    /// From the records in `directory`.
    pub fn new(directory: Arc<Directory>, crds: impl IntoIterator<Item = CrdShape>) -> Self {
        let crds = crds.into_iter().map(|shape| {
            let name = (shape.group.clone(), shape.plural.clone());
            (name, Arc::new(shape))
        });
        Self {
            directory,
            crds: crds.collect(),
        }
    }
}

impl IndexSource for RecordedSources {
    fn claims(&self, object: &ObjectRef<'_>) -> Vec<Claim> {
        self.directory
            .claims(object.group, object.kind, object.namespace, &object.name)
    }

    fn is_unreadable(&self, namespace: &str, release: &str) -> bool {
        self.directory.is_unreadable(namespace, release)
    }

    fn recorded_in(&self, _namespace: &str) -> Vec<Arc<ReleaseName>> {
        Vec::new()
    }

    /// Unknown without a cluster; reporting it is better than allowing it without a reason.
    fn autoscaling(&self, _object: &ObjectRef<'_>, _trusts: Trusts<'_>) -> Autoscaling {
        Autoscaling::Undeclared
    }
}

impl RecordSource for RecordedSources {
    /// Nothing changes in the meantime.
    async fn fresh_claims(
        &self,
        object: &ObjectRef<'_>,
        _wanted: &WantedRecords<'_>,
        _deadline: Instant,
    ) -> FreshClaims {
        FreshClaims {
            claims: self.claims(object),
            unread: Vec::new(),
        }
    }

    /// Recorded reviews are evaluated as reviews of ordinary objects.
    async fn fresh_holders(
        &self,
        _stake: DeletionTarget<'_>,
        _trusts: Trusts<'_>,
        _deadline: Instant,
    ) -> FreshHolders {
        FreshHolders {
            holders: Vec::new(),
            failure: Some("no cluster is available".into()),
        }
    }

    async fn history(
        &self,
        _at: &RecordsAt,
        _release: &str,
        _deadline: Instant,
    ) -> Result<Vec<(u32, RevisionStatus)>, SourceError> {
        Err("no cluster is available".into())
    }

    async fn autoscalers(
        &self,
        _object: &ObjectRef<'_>,
        _trusts: Trusts<'_>,
        _deadline: Instant,
    ) -> Result<Autoscalers, SourceError> {
        Err("no cluster is available".into())
    }
}

impl ObjectSource for RecordedSources {
    /// Records contain no live objects.
    async fn owner_now(
        &self,
        _resource: &Resource<'_>,
        _object: &ObjectRef<'_>,
        _deadline: Instant,
    ) -> Result<Option<ReleaseName>, SourceError> {
        Err("no cluster is available".into())
    }

    async fn sighting(
        &self,
        _witness: &Witness,
        _deadline: Instant,
    ) -> Result<Sighting, SourceError> {
        Err("no cluster is available".into())
    }

    async fn live_uid(
        &self,
        _owner: &LiveOwner<'_>,
        _deadline: Instant,
    ) -> Result<Option<String>, SourceError> {
        Err("no cluster is available".into())
    }
}

impl NamespaceSource for RecordedSources {
    async fn is_terminating(
        &self,
        _namespace: &str,
        _deadline: Instant,
    ) -> Result<bool, SourceError> {
        Err("no cluster is available".into())
    }
}

impl AccessSource for RecordedSources {
    /// Records contain no rights.
    async fn may_write_records(
        &self,
        _claim: &Claim,
        _user: &UserInfo<'_>,
    ) -> Result<bool, SourceError> {
        Err("no cluster is available".into())
    }
}

impl GrantSource for RecordedSources {
    async fn grants(&self, _deadline: Instant) -> Result<Vec<BreakGlassGrant>, SourceError> {
        Ok(Vec::new())
    }
}

impl SchemaSource for RecordedSources {
    /// A CRD that is in no file may exist.
    async fn custom_resource(
        &self,
        group: &str,
        plural: &str,
    ) -> Result<Option<Arc<CrdShape>>, SourceError> {
        let name = (group.to_owned(), plural.to_owned());
        match self.crds.get(&name) {
            Some(shape) => Ok(Some(Arc::clone(shape))),
            None => Err(format!("no file contains the CRD {plural}.{group}").into()),
        }
    }
}
