//! What the handler asks of the rooms that know the cluster.

use std::{collections::BTreeMap, error::Error, future::Future, sync::Arc, time::Instant};

use helm_guard_core::{
    api::{BreakGlassGrant, EmergencyChangeSpec},
    compare::schema::crd::CrdShape,
    guard::{
        Claim, ObjectRef, RecordsAt, Resource, Sighting, Trusts, User, Witness,
        records::{Holder, Stake},
    },
    helm::{ReleaseName, lifecycle::Status, storage::Driver},
};

use crate::{
    record::changes::Unkept,
    releases::{Autoscalers, Autoscaling, Wanted},
};

/// Why a source could not answer. Only ever logged: what it means for the request is decided by
/// the handler.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// An object that another one names as its owner.
#[derive(Clone, Copy, Debug)]
pub struct LiveOwner<'a> {
    /// Group and version, as in a manifest.
    pub api_version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
}

/// What was read of the records of an object's releases.
#[derive(Debug, Default)]
pub struct Fresh {
    /// What those say that could be read.
    pub claims: Vec<Claim>,
    /// The others.
    pub unread: Vec<Missed>,
}

/// Who would lose something, by the records that could be read.
#[derive(Debug, Default)]
pub struct Holdings {
    /// The releases; some count only with a witness.
    pub holders: Vec<Holder>,
    /// Why there may be more.
    pub failure: Option<SourceError>,
}

/// A release whose records could not be read.
#[derive(Debug)]
pub struct Missed {
    /// Where its records are.
    pub records: RecordsAt,
    /// Its name.
    pub release: String,
    /// It has more records than are read, so that trying again is of no use.
    pub is_too_large: bool,
    /// Why.
    pub error: SourceError,
}

impl Missed {
    /// Whether this claim rests on those records.
    pub fn is_of(&self, claim: &Claim) -> bool {
        self.records == claim.records && self.release == claim.release.name
    }
}

/// What is known of the cluster.
pub trait Sources: Send + Sync + 'static {
    /// What the index says of an object, at once.
    fn claims(&self, object: &ObjectRef<'_>) -> Vec<Claim>;

    /// Whether this release has an active record that can not be read, so that nobody can say what
    /// it declares.
    fn is_unreadable(&self, namespace: &str, release: &str) -> bool;

    /// Whether there is any such release at all.
    fn any_unreadable(&self) -> bool {
        true
    }

    /// Whether every release record has been read: before that, what no release is known to declare
    /// may be declared all the same.
    fn is_complete(&self) -> bool {
        true
    }

    /// Whether records of this driver are read at all.
    fn reads(&self, _driver: Driver) -> bool {
        true
    }

    /// The labels of a namespace, as far as they are known.
    fn namespace_labels(&self, _namespace: &str) -> Option<Arc<BTreeMap<String, String>>> {
        None
    }

    /// What the release records say of an object, read after this call began: those of the releases
    /// that claim it, and of those that it names as its own. Each is read for itself.
    fn fresh_claims(
        &self,
        object: &ObjectRef<'_>,
        wanted: &Wanted<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Fresh> + Send;

    /// The release that the live object of this name says it belongs to: for a request that does not
    /// show the object.
    fn owner_now(
        &self,
        resource: &Resource<'_>,
        object: &ObjectRef<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<ReleaseName>, SourceError>> + Send;

    /// Whether the user may write the records of the claiming release, as the API server says.
    fn may_write_records(
        &self,
        claim: &Claim,
        user: &User<'_>,
    ) -> impl Future<Output = Result<bool, SourceError>> + Send;

    /// The break-glass grants there are, read after this call began.
    fn grants(
        &self,
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<BreakGlassGrant>, SourceError>> + Send;

    /// The grants that somebody has asked for, ended ones included.
    fn grants_of(
        &self,
        user: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<BreakGlassGrant>, SourceError>> + Send {
        let reading = self.grants(deadline);
        let user = user.to_owned();
        async move {
            let mut grants = reading.await?;
            grants.retain(|grant| grant.spec.requested_by == user);
            Ok(grants)
        }
    }

    /// Keeps the record of an emergency change; its name where it is kept.
    fn keep(
        &self,
        change: &EmergencyChangeSpec,
        deadline: Instant,
    ) -> impl Future<Output = Result<String, Unkept>> + Send;

    /// The releases that would lose something, by their records as they are now.
    fn fresh_holders(
        &self,
        stake: Stake<'_>,
        trusts: Trusts<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Holdings> + Send;

    /// The release that a live object names as its owner: it may bear a claimant out.
    fn sighting(
        &self,
        witness: &Witness,
        deadline: Instant,
    ) -> impl Future<Output = Result<Sighting, SourceError>> + Send;

    /// The releases that, by the index, have records in this namespace.
    fn recorded_in(&self, namespace: &str) -> Vec<Arc<ReleaseName>>;

    /// The revisions of which a release has records now.
    fn history(
        &self,
        at: &RecordsAt,
        release: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<(u32, Status)>, SourceError>> + Send;

    /// Whether a namespace is on its way out, or is no more.
    fn is_terminating(
        &self,
        namespace: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<bool, SourceError>> + Send;

    /// Whether a namespace is known to be on its way out, without asking anybody. It never comes back
    /// from that.
    fn is_known_terminating(&self, _namespace: &str) -> bool {
        false
    }

    /// Whether the index knows of a release that declares the object's autoscaler.
    fn autoscaling(&self, object: &ObjectRef<'_>, trusts: Trusts<'_>) -> Autoscaling;

    /// The same by the records as they are now.
    fn autoscalers(
        &self,
        object: &ObjectRef<'_>,
        trusts: Trusts<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Autoscalers, SourceError>> + Send;

    /// The uid of an object as it is now; none where there is none.
    fn live_uid(
        &self,
        owner: &LiveOwner<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<String>, SourceError>> + Send;

    /// The custom resource with this group and plural; `None` when no definition has it, as for
    /// the kinds of aggregated API servers.
    fn custom_resource(
        &self,
        group: &str,
        plural: &str,
    ) -> impl Future<Output = Result<Option<Arc<CrdShape>>, SourceError>> + Send;
}
