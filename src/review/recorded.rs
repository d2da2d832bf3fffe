//! What reviews ask of a cluster, answered from release records and CRDs that were read before. No cluster
//! is asked, so what only one could say is an error.

use std::{collections::HashMap, sync::Arc, time::Instant};

use helm_guard_core::{
    api::BreakGlassGrant,
    compare::schema::crd::CrdShape,
    guard::{
        Claim, ObjectRef, RecordsAt, Resource, Sighting, Trusts, User, Witness, records::Stake,
    },
    helm::{ReleaseName, lifecycle::Status},
};

use super::sources::{
    AccessSource, FreshClaims, FreshHolders, GrantSource, IndexSource, LiveOwner, NamespaceSource,
    ObjectSource, RecordSource, SchemaSource, SourceError,
};
use crate::releases::{Autoscalers, Autoscaling, Directory, Wanted};

/// Records and CRDs.
pub struct RecordedSources {
    directory: Arc<Directory>,
    /// By group and plural.
    crds: HashMap<(String, String), Arc<CrdShape>>,
}

impl RecordedSources {
    /// Of the records in `directory`.
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

    /// Nobody can say of a cluster that is not asked, and a pass without a name is worse than one with one.
    fn autoscaling(&self, _object: &ObjectRef<'_>, _trusts: Trusts<'_>) -> Autoscaling {
        Autoscaling::Undeclared
    }
}

impl RecordSource for RecordedSources {
    /// Nothing changes meanwhile.
    async fn fresh_claims(
        &self,
        object: &ObjectRef<'_>,
        _wanted: &Wanted<'_>,
        _deadline: Instant,
    ) -> FreshClaims {
        FreshClaims {
            claims: self.claims(object),
            unread: Vec::new(),
        }
    }

    /// Recorded reviews are evaluated as those of objects.
    async fn fresh_holders(
        &self,
        _stake: Stake<'_>,
        _trusts: Trusts<'_>,
        _deadline: Instant,
    ) -> FreshHolders {
        FreshHolders {
            holders: Vec::new(),
            failure: Some("no cluster is asked".into()),
        }
    }

    async fn history(
        &self,
        _at: &RecordsAt,
        _release: &str,
        _deadline: Instant,
    ) -> Result<Vec<(u32, Status)>, SourceError> {
        Err("no cluster is asked".into())
    }

    async fn autoscalers(
        &self,
        _object: &ObjectRef<'_>,
        _trusts: Trusts<'_>,
        _deadline: Instant,
    ) -> Result<Autoscalers, SourceError> {
        Err("no cluster is asked".into())
    }
}

impl ObjectSource for RecordedSources {
    /// Records do not show what a review does not.
    async fn owner_now(
        &self,
        _resource: &Resource<'_>,
        _object: &ObjectRef<'_>,
        _deadline: Instant,
    ) -> Result<Option<ReleaseName>, SourceError> {
        Err("no cluster is asked".into())
    }

    async fn sighting(
        &self,
        _witness: &Witness,
        _deadline: Instant,
    ) -> Result<Sighting, SourceError> {
        Err("no cluster is asked".into())
    }

    async fn live_uid(
        &self,
        _owner: &LiveOwner<'_>,
        _deadline: Instant,
    ) -> Result<Option<String>, SourceError> {
        Err("no cluster is asked".into())
    }
}

impl NamespaceSource for RecordedSources {
    async fn is_terminating(
        &self,
        _namespace: &str,
        _deadline: Instant,
    ) -> Result<bool, SourceError> {
        Err("no cluster is asked".into())
    }
}

impl AccessSource for RecordedSources {
    /// Records do not say who may do what.
    async fn may_write_records(
        &self,
        _claim: &Claim,
        _user: &User<'_>,
    ) -> Result<bool, SourceError> {
        Err("no cluster is asked".into())
    }
}

impl GrantSource for RecordedSources {
    async fn grants(&self, _deadline: Instant) -> Result<Vec<BreakGlassGrant>, SourceError> {
        Ok(Vec::new())
    }
}

impl SchemaSource for RecordedSources {
    /// A CRD that is in no file may well exist.
    async fn custom_resource(
        &self,
        group: &str,
        plural: &str,
    ) -> Result<Option<Arc<CrdShape>>, SourceError> {
        let name = (group.to_owned(), plural.to_owned());
        match self.crds.get(&name) {
            Some(shape) => Ok(Some(Arc::clone(shape))),
            None => Err(format!("no file has the definition {plural}.{group}").into()),
        }
    }
}
