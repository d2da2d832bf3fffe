//! What is scanned: a release with its records, a live object, and the rules in force. All of it is borrowed.
//!
//! Invariant: what is not known is said so ([`LiveObject::Unreadable`], [`RecordContent::Unreadable`],
//! [`KindServing::Unknown`]). A caller that leaves something out would make a release look clean.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::{emergencies::OpenEmergencies, key::LiveKey};
use crate::{
    compare::{dig, redact::Redactor, schema::ResourceScope, unquoted},
    guard::{Knowledge, RecordsAt},
    helm::{
        ReleaseName,
        hooks::HookObject,
        identity::DeclaredObject,
        lifecycle::RevisionStatus,
        manifest::Manifest,
        record::{ApplyMethod, Chart, HookPhase, Record},
    },
    policy::{Policy, license::Autoscaler},
};

/// What applies to every release of a scan.
#[derive(Clone, Copy, Debug)]
pub struct ScanRules<'a> {
    /// The policy, whose ignored fields, presets and exemptions tolerate differences.
    pub policy: &'a Policy,
    /// Hashes the values of Secrets.
    pub redactor: &'a Redactor,
    /// The field managers of Helm: [`crate::guard::HELM_WRITERS`], unless configured.
    pub writers: &'a [&'a str],
    /// The emergency changes that are not resolved.
    pub emergencies: &'a OpenEmergencies<'a>,
    /// The time of the scan.
    pub now: Timestamp,
    /// How long an operation of Helm may take before it is stuck. Until then, objects may be on their way.
    pub pending_grace: SignedDuration,
}

/// A release.
#[derive(Clone, Copy, Debug)]
pub struct ScannedRelease<'a> {
    /// Its own namespace and name, from the body of a record.
    pub name: &'a ReleaseName,
    /// Where its records are stored.
    pub records: &'a RecordsAt,
    /// All its revisions, in any order.
    pub revisions: &'a [ScannedRevision<'a>],
    /// The highest revision that was ever seen, by a caller that watches and has not seen the release uninstalled
    /// since. `None` for a single look.
    pub highest_seen: Option<u32>,
}

/// A revision.
#[derive(Clone, Copy, Debug)]
pub struct ScannedRevision<'a> {
    /// Its number.
    pub revision: u32,
    /// Its status.
    pub status: RevisionStatus,
    /// When its record was created: `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// The content of the record.
    pub content: RecordContent<'a>,
}

/// The content of a record. Needed are the active revisions, and then those that
/// [`super::history::abandoned`] names.
#[derive(Clone, Copy, Debug)]
pub enum RecordContent<'a> {
    /// It was read.
    Read(ReadRecord<'a>),
    /// It cannot be read, for this reason.
    Unreadable(&'a str),
    /// It was read, but is not a record, for this reason: Helm cannot read it either.
    Damaged(&'a str),
    /// It was not needed.
    NotRead,
}

/// The content of a record that was read.
#[derive(Clone, Copy, Debug)]
pub struct ReadRecord<'a> {
    /// The chart.
    pub chart: &'a Chart,
    /// How Helm applied the objects.
    pub apply_method: ApplyMethod,
    /// When the operation began, by the clock of its client.
    pub last_deployed: Option<Timestamp>,
    /// When its uninstallation began, by the same clock.
    pub deleted: Option<Timestamp>,
    /// The revision that a rollback went back to.
    pub rolled_back_to: Option<u32>,
    /// The declared objects ([`crate::helm::manifest::parse`]).
    pub objects: &'a [DeclaredObject],
    /// The number of documents of the manifest that are not objects.
    pub unread_documents: usize,
    /// The objects of its hooks ([`crate::helm::hooks::objects`]).
    pub hooks: &'a [HookObject],
}

impl<'a> ReadRecord<'a> {
    /// A decoded record, with what was parsed from it.
    pub fn of(record: &'a Record, manifest: &'a Manifest, hooks: &'a [HookObject]) -> Self {
        let time = |text: &Option<String>| text.as_deref()?.parse().ok();
        Self {
            chart: &record.chart,
            apply_method: record.apply_method,
            last_deployed: time(&record.last_deployed),
            deleted: time(&record.deleted),
            rolled_back_to: record.rolled_back_to(),
            objects: &manifest.objects,
            unread_documents: manifest.problem_count(),
            hooks,
        }
    }
}

/// What is known of one object of a release.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The object in the cluster.
    pub live: LiveObject<'a>,
    /// Whether objects of the kind have a namespace; `None` if the kind is not known.
    pub scope: Option<ResourceScope>,
    /// The fields of the kind, in the declared version.
    pub knowledge: Knowledge<'a>,
    /// Whether the API server has the kind in the declared version.
    pub serving: KindServing,
    /// Where the kind has its replicas, as field names; empty if it does not scale.
    pub replicas_path: &'a [&'a str],
    /// The autoscaler that scales the object; `None` if there is none.
    pub autoscaler: Option<Autoscaler>,
}

/// An object in the cluster. No value of it is ever shown by `Debug`: it may be a Secret.
#[derive(Clone, Copy)]
pub enum LiveObject<'a> {
    /// It exists.
    Present {
        /// The object as JSON, in the declared version if that is served. An item of a list has neither
        /// `apiVersion` nor `kind`, which does not matter.
        json: &'a str,
        /// The version in which it was read, without the group.
        version: &'a str,
    },
    /// It does not exist.
    Absent,
    /// It could not be read.
    Unreadable(UnreadableReason<'a>),
}

impl fmt::Debug for LiveObject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present { version, .. } => write!(f, "Present({version})"),
            Self::Absent => f.write_str("Absent"),
            Self::Unreadable(reason) => write!(f, "Unreadable({reason:?})"),
        }
    }
}

/// Why an object is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreadableReason<'a> {
    /// The scan has no right to read such objects.
    Forbidden,
    /// The API server does not have the kind: its CRD is gone.
    KindGone,
    /// The object, or its namespace, is being deleted.
    Terminating,
    /// The schema of the custom resource could not be read, and the difference depends on it.
    NoSchema,
    /// It exists in another version than the declared one, which is not served.
    OtherVersion,
    /// It is too complex to compare.
    TooComplex,
    /// The request failed like this.
    Failed(&'a str),
}

impl fmt::Display for UnreadableReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forbidden => "the scan may not read it",
            Self::KindGone => "the API server does not have its kind",
            Self::Terminating => "it is being deleted",
            Self::NoSchema => "the schema of its kind could not be read",
            Self::OtherVersion => "the API server does not serve the declared version",
            Self::TooComplex => "it is too complex to compare",
            Self::Failed(error) => error,
        })
    }
}

/// Whether the API server has a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindServing {
    /// In the declared version.
    Served,
    /// In other versions only.
    InOtherVersions,
    /// In no version.
    Nowhere,
    /// Discovery failed.
    Unknown,
}

/// An object whose live state a release's scan needs, once for all revisions that have it.
#[derive(Clone, Debug)]
pub struct ScannedObject<'a> {
    /// In the newest revision.
    pub(super) newest: Option<&'a DeclaredObject>,
    /// In the revision that the newest one is replacing.
    pub(super) base: Option<&'a DeclaredObject>,
    /// In abandoned revisions, newest first.
    pub(super) abandoned: Vec<(u32, &'a DeclaredObject)>,
    /// As the object of a hook.
    pub(super) hook: Option<ScannedHook<'a>>,
    pub(super) key: LiveKey<'a>,
}

/// A hook's object, with the revision that has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScannedHook<'a> {
    pub(super) hook: &'a HookObject,
    /// `None` for the newest.
    pub(super) earlier: Option<u32>,
    /// How its last run ended. An operation runs only some of the hooks, so that may have been in an earlier revision.
    pub(super) phase: Option<HookPhase>,
}

impl<'a> ScannedObject<'a> {
    /// An object that no revision has yet.
    pub(super) fn new(key: LiveKey<'a>) -> Self {
        Self {
            newest: None,
            base: None,
            abandoned: Vec::new(),
            hook: None,
            key,
        }
    }

    /// Which object it is in the cluster: a cluster-scoped one has no namespace, whatever the manifest says.
    pub fn key(&self, scope: Option<ResourceScope>) -> LiveKey<'a> {
        match scope {
            Some(ResourceScope::Cluster) => LiveKey {
                namespace: "",
                ..self.key
            },
            _ => self.key,
        }
    }

    /// The version in which to read it, without the group.
    pub fn version(&self) -> &'a str {
        self.source().map_or("", |object| &object.version)
    }

    /// Whether an active revision declares it.
    pub fn is_declared(&self) -> bool {
        self.newest.or(self.base).is_some()
    }

    /// Group and version, as the manifest has them.
    pub(super) fn api_version(&self) -> String {
        let declared = self
            .source()
            .and_then(|object| dig(&object.json, &["apiVersion"]));
        declared.map_or_else(String::new, |text| unquoted(text).into_owned())
    }

    fn source(&self) -> Option<&'a DeclaredObject> {
        let abandoned = || self.abandoned.first().map(|(_, object)| *object);
        let hook = || self.hook.map(|scanned| &scanned.hook.object);
        self.newest.or(self.base).or_else(abandoned).or_else(hook)
    }
}
