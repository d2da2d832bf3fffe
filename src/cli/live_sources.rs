//! The live implementation of [`Sources`]: the index, API calls and watches of a cluster.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use helm_guard_core::{
    api::BreakGlassGrant,
    compare::schema::crd::CrdShape,
    guard::{
        Claim, ObjectRef, RecordsAt, Resource, Sighting, Trusts, UserInfo, Witness,
        records::DeletionTarget,
    },
    helm::{
        ReleaseName,
        lifecycle::RevisionStatus,
        storage::{Driver, record_name},
    },
};
use tokio::time::timeout_at;

use crate::{
    cluster::{
        Clients, Namespaces,
        access::{AccessReviews, RecordWriter},
        crds::Crds,
        grants, leaving,
        live::{self, Objects},
    },
    releases::{
        self, Autoscalers, Autoscaling, ReadThrough, ReadThroughError, Releases, WantedRecords,
        key::StorageKey,
    },
    review::sources::{
        AccessSource, FreshClaims, FreshHolders, GrantSource, IndexSource, LiveOwner,
        NamespaceSource, ObjectSource, RecordSource, SchemaSource, SourceError, UnreadRelease,
    },
};

/// The index, the records behind it, and the custom resources.
pub(super) struct LiveSources {
    pub(crate) releases: Releases,
    pub(crate) clients: Clients,
    pub(crate) crds: Arc<Crds>,
    pub(crate) namespaces: Arc<Namespaces>,
    read_through: ReadThrough,
    access: AccessReviews,
    objects: Objects,
}

impl LiveSources {
    /// Sources for this cluster and these releases. A long-running caller also runs the watches of CRDs and
    /// namespaces.
    pub(super) fn new(clients: &Clients, releases: &Releases) -> Self {
        Self {
            releases: releases.clone(),
            clients: clients.clone(),
            crds: Arc::new(Crds::new(clients.clone())),
            namespaces: Arc::default(),
            read_through: ReadThrough::new(releases),
            access: AccessReviews::new(clients.clone()),
            objects: Objects::new(clients.clone()),
        }
    }
}

impl IndexSource for LiveSources {
    fn claims(&self, object: &ObjectRef<'_>) -> Vec<Claim> {
        self.releases
            .claims(object.group, object.kind, object.namespace, &object.name)
    }

    fn is_unreadable(&self, namespace: &str, release: &str) -> bool {
        self.releases.is_unreadable(namespace, release)
    }

    fn any_unreadable(&self) -> bool {
        self.releases.any_unreadable()
    }

    fn is_complete(&self) -> bool {
        self.releases.is_complete()
    }

    fn reads(&self, driver: Driver) -> bool {
        self.releases.reads(driver)
    }

    fn recorded_in(&self, namespace: &str) -> Vec<Arc<ReleaseName>> {
        self.releases.recorded_in(namespace)
    }

    fn autoscaling(&self, object: &ObjectRef<'_>, trusts: Trusts<'_>) -> Autoscaling {
        self.releases.autoscaling(object, trusts)
    }
}

impl RecordSource for LiveSources {
    async fn fresh_claims(
        &self,
        object: &ObjectRef<'_>,
        wanted: &WantedRecords<'_>,
        deadline: Instant,
    ) -> FreshClaims {
        let read = self.read_through.fresh_claims(object, wanted, deadline);
        let releases::Fresh { claims, unread } = read.await;
        let unread = unread.into_iter().map(|unread| UnreadRelease {
            records: RecordsAt {
                driver: unread.storage.driver,
                namespace: unread.storage.namespace.clone(),
            },
            release: unread.storage.name.to_string(),
            is_too_large: matches!(unread.error, ReadThroughError::TooManyRecords { .. }),
            error: unread.error.into(),
        });
        FreshClaims {
            claims,
            unread: unread.collect(),
        }
    }

    async fn fresh_holders(
        &self,
        deletion: DeletionTarget<'_>,
        trusts: Trusts<'_>,
        deadline: Instant,
    ) -> FreshHolders {
        let releases::Dependents { holders, failure } =
            self.read_through.holders(deletion, trusts, deadline).await;
        FreshHolders {
            holders,
            failure: failure.map(Into::into),
        }
    }

    async fn history(
        &self,
        at: &RecordsAt,
        release: &str,
        deadline: Instant,
    ) -> Result<Vec<(u32, RevisionStatus)>, SourceError> {
        let storage = Arc::new(StorageKey {
            driver: at.driver,
            namespace: at.namespace.clone(),
            name: release.into(),
        });
        Ok(self.read_through.history(&storage, deadline).await?)
    }

    async fn autoscalers(
        &self,
        object: &ObjectRef<'_>,
        trusts: Trusts<'_>,
        deadline: Instant,
    ) -> Result<Autoscalers, SourceError> {
        let reading = self.read_through.autoscalers(object, trusts, deadline);
        Ok(reading.await?)
    }
}

impl ObjectSource for LiveSources {
    async fn owner_now(
        &self,
        resource: &Resource<'_>,
        object: &ObjectRef<'_>,
        deadline: Instant,
    ) -> Result<Option<ReleaseName>, SourceError> {
        let reading = self
            .clients
            .call(|client| async move { live::owner(&client, resource, object).await });
        Ok(timeout_at(deadline.into(), reading).await??)
    }

    async fn sighting(
        &self,
        witness: &Witness,
        deadline: Instant,
    ) -> Result<Sighting, SourceError> {
        let wanted = live::WantedObject {
            api_version: &witness.api_version,
            kind: &witness.kind,
            namespace: &witness.namespace,
            name: &witness.name,
        };
        let reading = self.objects.owner(&wanted);
        match timeout_at(deadline.into(), reading).await? {
            Ok(owner) => Ok(Sighting::Names(owner)),
            Err(failure) if failure.is_forbidden() => Ok(Sighting::Forbidden),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn live_uid(
        &self,
        owner: &LiveOwner<'_>,
        deadline: Instant,
    ) -> Result<Option<String>, SourceError> {
        let wanted = live::WantedObject {
            api_version: owner.api_version,
            kind: owner.kind,
            namespace: owner.namespace,
            name: owner.name,
        };
        let reading = self.objects.get(&wanted);
        let object = timeout_at(deadline.into(), reading).await??;
        let uid = object
            .as_ref()
            .and_then(|object| object.pointer("/metadata/uid")?.as_str());
        Ok(uid.map(str::to_owned))
    }
}

impl NamespaceSource for LiveSources {
    fn namespace_labels(&self, namespace: &str) -> Option<Arc<BTreeMap<String, String>>> {
        self.namespaces.labels(namespace)
    }

    fn is_known_terminating(&self, namespace: &str) -> bool {
        self.namespaces.is_terminating(namespace)
    }

    async fn is_terminating(
        &self,
        namespace: &str,
        deadline: Instant,
    ) -> Result<bool, SourceError> {
        let asking = self
            .clients
            .call(|client| async move { leaving::is_terminating(&client, namespace).await });
        Ok(timeout_at(deadline.into(), asking).await??)
    }
}

impl AccessSource for LiveSources {
    async fn may_write_records(
        &self,
        claim: &Claim,
        user: &UserInfo<'_>,
    ) -> Result<bool, SourceError> {
        let question = RecordWriter {
            user: user.username.clone().into_owned(),
            groups: user.groups.iter().map(ToString::to_string).collect(),
            extra: user
                .extra
                .map_or(Ok(BTreeMap::new()), |raw| serde_json::from_str(raw.get()))?,
            driver: claim.records.driver,
            namespace: claim.records.namespace.to_string(),
            record: record_name(&claim.release.name, claim.newest()),
        };
        Ok(self.access.may_write(question).await?)
    }
}

impl GrantSource for LiveSources {
    async fn grants(&self, deadline: Instant) -> Result<Vec<BreakGlassGrant>, SourceError> {
        let reading = self
            .clients
            .call(|client| async move { grants::grants(&client, deadline).await });
        Ok(reading.await?)
    }

    async fn grants_of(
        &self,
        user: &str,
        deadline: Instant,
    ) -> Result<Vec<BreakGlassGrant>, SourceError> {
        let reading = self
            .clients
            .call(|client| async move { grants::requested_by(&client, user, deadline).await });
        Ok(reading.await?)
    }
}

impl SchemaSource for LiveSources {
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
