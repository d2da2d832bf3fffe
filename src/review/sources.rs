//! The state that a review reads from other modules, one trait for each subsystem. All methods only read.

use std::{
    collections::BTreeMap,
    error::Error,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use helm_guard_core::{
    api::BreakGlassGrant,
    compare::schema::crd::CrdShape,
    guard::{
        Claim, ObjectRef, RecordsAt, Resource, Sighting, Trusts, UserInfo, Witness,
        records::{AffectedRelease, DeletionTarget},
    },
    helm::{ReleaseName, lifecycle::RevisionStatus, storage::Driver},
};

use crate::releases::{Autoscalers, Autoscaling, WantedRecords};

/// Why a source could not answer. Only logged: the review decides what it means for the request.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// Reserved before the deadline when something is read from the API server, so that a request whose
/// records arrive too late still gets an answer.
const READ_RESERVE: Duration = Duration::from_millis(200);

/// The deadline of a read from the API server. The sources are not trusted to keep it.
pub(super) fn read_until(deadline: Instant) -> Instant {
    deadline.checked_sub(READ_RESERVE).unwrap_or(deadline)
}

/// All sources of cluster state.
pub trait Sources:
    IndexSource
    + RecordSource
    + ObjectSource
    + NamespaceSource
    + AccessSource
    + GrantSource
    + SchemaSource
    + Send
    + Sync
    + 'static
{
}

impl<S> Sources for S where
    S: IndexSource
        + RecordSource
        + ObjectSource
        + NamespaceSource
        + AccessSource
        + GrantSource
        + SchemaSource
        + Send
        + Sync
        + 'static
{
}

/// The index of release records: available at once, and perhaps slightly outdated.
pub trait IndexSource {
    /// The claims of releases on an object.
    fn claims(&self, object: &ObjectRef<'_>) -> Vec<Claim>;

    /// Whether this release has an active record that cannot be read, so that its objects are
    /// unknown.
    fn is_unreadable(&self, namespace: &str, release: &str) -> bool;

    /// Whether there is any such release.
    fn any_unreadable(&self) -> bool {
        true
    }

    /// Whether every release record has been read: before that, an object without a claim may still
    /// be declared.
    fn is_complete(&self) -> bool {
        true
    }

    /// Whether records of this driver are read.
    fn reads(&self, _driver: Driver) -> bool {
        true
    }

    /// The releases that have records in this namespace.
    fn recorded_in(&self, namespace: &str) -> Vec<Arc<ReleaseName>>;

    /// Whether a release declares the object's autoscaler.
    fn autoscaling(&self, object: &ObjectRef<'_>, trusts: Trusts<'_>) -> Autoscaling;
}

/// Release records, read from the API server after the call began.
pub trait RecordSource {
    /// The claims on an object by the records of the releases that claim it, and of those that it
    /// names as its owner. Each release is read separately.
    fn fresh_claims(
        &self,
        object: &ObjectRef<'_>,
        wanted: &WantedRecords<'_>,
        deadline: Instant,
    ) -> impl Future<Output = FreshClaims> + Send;

    /// The releases that would lose something.
    fn fresh_holders(
        &self,
        deletion: DeletionTarget<'_>,
        trusts: Trusts<'_>,
        deadline: Instant,
    ) -> impl Future<Output = FreshHolders> + Send;

    /// The revisions of which a release has records.
    fn history(
        &self,
        at: &RecordsAt,
        release: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<(u32, RevisionStatus)>, SourceError>> + Send;

    /// The release that declares the object's autoscaler.
    fn autoscalers(
        &self,
        object: &ObjectRef<'_>,
        trusts: Trusts<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Autoscalers, SourceError>> + Send;
}

/// Live objects.
pub trait ObjectSource {
    /// The release that the live object of this name names as its owner, for a request without the
    /// object.
    fn owner_now(
        &self,
        resource: &Resource<'_>,
        object: &ObjectRef<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<ReleaseName>, SourceError>> + Send;

    /// The release that a live object names as its owner: it may confirm a claim.
    fn sighting(
        &self,
        witness: &Witness,
        deadline: Instant,
    ) -> impl Future<Output = Result<Sighting, SourceError>> + Send;

    /// The current uid of an object; `None` if it does not exist.
    fn live_uid(
        &self,
        owner: &LiveOwner<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<String>, SourceError>> + Send;
}

/// Labels of namespaces, and whether one is being deleted.
pub trait NamespaceSource {
    /// The labels of a namespace, if they are known.
    fn namespace_labels(&self, _namespace: &str) -> Option<Arc<BTreeMap<String, String>>> {
        None
    }

    /// Whether a namespace is known to be terminating, without a call. This state is final.
    fn is_known_terminating(&self, _namespace: &str) -> bool {
        false
    }

    /// Whether a namespace is terminating or deleted.
    fn is_terminating(
        &self,
        namespace: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<bool, SourceError>> + Send;
}

/// Access rights, from the API server.
pub trait AccessSource {
    /// Whether the user may write the records of the claiming release.
    fn may_write_records(
        &self,
        claim: &Claim,
        user: &UserInfo<'_>,
    ) -> impl Future<Output = Result<bool, SourceError>> + Send;
}

/// Break-glass grants, read after the call began.
pub trait GrantSource: Sync {
    /// All grants that have not ended, and some that have.
    fn grants(
        &self,
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<BreakGlassGrant>, SourceError>> + Send;

    /// The grants that a user has requested, including ended ones.
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
}

/// The schemas of custom resources.
pub trait SchemaSource {
    /// The custom resource with this group and plural; `None` when no CRD has it, as for
    /// the kinds of aggregated API servers.
    fn custom_resource(
        &self,
        group: &str,
        plural: &str,
    ) -> impl Future<Output = Result<Option<Arc<CrdShape>>, SourceError>> + Send;
}

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

/// The result of reading the records of an object's releases.
#[derive(Debug, Default)]
pub struct FreshClaims {
    /// The claims of those that could be read.
    pub claims: Vec<Claim>,
    /// The failures of the others.
    pub unread: Vec<UnreadRelease>,
}

/// A release whose records could not be read.
#[derive(Debug)]
pub struct UnreadRelease {
    /// The namespace of its records.
    pub records: RecordsAt,
    /// Its name.
    pub release: String,
    /// It has more records than are read, so that a retry would fail, too.
    pub(crate) is_too_large: bool,
    /// Why.
    pub error: SourceError,
}

impl UnreadRelease {
    /// Whether this claim is based on those records.
    pub fn is_of(&self, claim: &Claim) -> bool {
        self.records == claim.records && self.release == claim.release.name
    }
}

/// The affected releases, by the records that could be read.
#[derive(Debug, Default)]
pub struct FreshHolders {
    /// The releases; some count only with a witness.
    pub holders: Vec<AffectedRelease>,
    /// Why there may be more of them.
    pub failure: Option<SourceError>,
}
