//! What the handler asks, answered by the rooms that know.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use helm_guard_core::{
    api::{BreakGlassGrant, EmergencyChangeSpec},
    compare::schema::crd::CrdShape,
    guard::{
        Claim, ObjectRef, RecordsAt, Resource, Sighting, Trusts, User, Witness, records::Stake,
    },
    helm::{
        ReleaseName,
        lifecycle::Status,
        storage::{Driver, record_name},
    },
};
use kube::Client;
use tokio::time::timeout_at;

use crate::{
    cluster::{
        Namespaces,
        access::{AccessReviews, RecordWriter},
        crds::Crds,
        grants, leaving,
        live::{self, Objects},
    },
    record::changes::{Changes, Unkept},
    releases::{
        self, Autoscalers, Autoscaling, ReadThrough, ReadThroughError, Releases, Wanted,
        key::StorageKey,
    },
    webhook::handler::{Fresh, Holdings, LiveOwner, Missed, SourceError, Sources},
};

/// The index, the records behind it, and the custom resources.
pub(in crate::cli) struct Known {
    pub releases: Releases,
    pub read_through: ReadThrough,
    pub crds: Arc<Crds>,
    pub access: AccessReviews,
    pub client: Client,
    pub changes: Changes,
    pub namespaces: Arc<Namespaces>,
    pub objects: Arc<Objects>,
}

impl Sources for Known {
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

    fn namespace_labels(&self, namespace: &str) -> Option<Arc<BTreeMap<String, String>>> {
        self.namespaces.labels(namespace)
    }

    async fn fresh_claims(
        &self,
        object: &ObjectRef<'_>,
        wanted: &Wanted<'_>,
        deadline: Instant,
    ) -> Fresh {
        let read = self.read_through.fresh_claims(object, wanted, deadline);
        let releases::Fresh { claims, unread } = read.await;
        let unread = unread.into_iter().map(|unread| Missed {
            records: RecordsAt {
                driver: unread.storage.driver,
                namespace: unread.storage.namespace.clone(),
            },
            release: unread.storage.name.to_string(),
            is_too_large: matches!(unread.error, ReadThroughError::TooManyRecords { .. }),
            error: unread.error.into(),
        });
        Fresh {
            claims,
            unread: unread.collect(),
        }
    }

    async fn owner_now(
        &self,
        resource: &Resource<'_>,
        object: &ObjectRef<'_>,
        deadline: Instant,
    ) -> Result<Option<ReleaseName>, SourceError> {
        let reading = live::owner(&self.client, resource, object);
        Ok(timeout_at(deadline.into(), reading).await??)
    }

    async fn may_write_records(&self, claim: &Claim, user: &User<'_>) -> Result<bool, SourceError> {
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

    async fn grants(&self, deadline: Instant) -> Result<Vec<BreakGlassGrant>, SourceError> {
        Ok(grants::grants(&self.client, deadline).await?)
    }

    async fn grants_of(
        &self,
        user: &str,
        deadline: Instant,
    ) -> Result<Vec<BreakGlassGrant>, SourceError> {
        Ok(grants::requested_by(&self.client, user, deadline).await?)
    }

    async fn keep(
        &self,
        change: &EmergencyChangeSpec,
        deadline: Instant,
    ) -> Result<String, Unkept> {
        self.changes.keep(change, deadline).await
    }

    async fn fresh_holders(
        &self,
        stake: Stake<'_>,
        trusts: Trusts<'_>,
        deadline: Instant,
    ) -> Holdings {
        let releases::Holdings { holders, failure } =
            self.read_through.holders(stake, trusts, deadline).await;
        Holdings {
            holders,
            failure: failure.map(Into::into),
        }
    }

    async fn sighting(
        &self,
        witness: &Witness,
        deadline: Instant,
    ) -> Result<Sighting, SourceError> {
        let wanted = live::Wanted {
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

    fn recorded_in(&self, namespace: &str) -> Vec<Arc<ReleaseName>> {
        self.releases.recorded_in(namespace)
    }

    async fn history(
        &self,
        at: &RecordsAt,
        release: &str,
        deadline: Instant,
    ) -> Result<Vec<(u32, Status)>, SourceError> {
        let storage = Arc::new(StorageKey {
            driver: at.driver,
            namespace: at.namespace.clone(),
            name: release.into(),
        });
        Ok(self.read_through.history(&storage, deadline).await?)
    }

    async fn is_terminating(
        &self,
        namespace: &str,
        deadline: Instant,
    ) -> Result<bool, SourceError> {
        let asking = leaving::is_terminating(&self.client, namespace);
        Ok(timeout_at(deadline.into(), asking).await??)
    }

    fn is_known_terminating(&self, namespace: &str) -> bool {
        self.namespaces.is_terminating(namespace)
    }

    fn autoscaling(&self, object: &ObjectRef<'_>, trusts: Trusts<'_>) -> Autoscaling {
        self.releases.autoscaling(object, trusts)
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

    async fn live_uid(
        &self,
        owner: &LiveOwner<'_>,
        deadline: Instant,
    ) -> Result<Option<String>, SourceError> {
        let wanted = live::Wanted {
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
