//! One release as readers see it: its active revisions, and their claims on an object.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use helm_guard_core::{
    guard::{Claim, Reach, RecordsAt, RevisionClaim, RevisionObject},
    helm::{
        ReleaseName,
        lifecycle::{Phase, RevisionStatus},
    },
};

use super::{
    body::{About, Body},
    key::{RecordVersion, StorageKey},
};

/// The state of one release, replaced as a whole.
#[derive(Debug)]
pub struct ReleaseView {
    /// The storage of its records.
    pub storage: Arc<StorageKey>,
    /// The newest revision.
    pub newest: u32,
    /// The newest revision's status.
    pub status: RevisionStatus,
    /// The phase of that status; `None` if the release is not guarded.
    pub phase: Option<Phase>,
    /// The active revisions with a known body, newest first. A revision whose body is still being
    /// fetched is left out: fewer manifests can only make the evaluation stricter, and before a
    /// denial the records are read again.
    pub revisions: Vec<RevisionView>,
    /// How many records the release has.
    pub records: usize,
    /// Chart and times of the newest known body, for metrics.
    pub latest: Option<Arc<About>>,
}

/// One revision of a [`ReleaseView`].
#[derive(Clone, Debug)]
pub struct RevisionView {
    /// Helm's number of the revision, from 1.
    pub revision: u32,
    /// The state of the record that `content` was read from.
    pub version: RecordVersion,
    /// What its manifest declares, as far as it could be read.
    pub content: RevisionContent,
}

/// The result of reading a record's body.
#[derive(Clone, Debug)]
pub enum RevisionContent {
    /// What the record declares.
    Body(Arc<Body>),
    /// The body cannot be fetched or decoded.
    Unreadable,
    /// The index has no room for the body.
    OverBudget {
        /// Its full size in bytes.
        full_size: usize,
    },
}

impl RevisionContent {
    /// Its size in the index, in bytes.
    pub fn cost(&self) -> usize {
        match self {
            Self::Body(body) => body.cost(),
            Self::Unreadable | Self::OverBudget { .. } => 0,
        }
    }

    /// Its full size in bytes, if it is not stored in full.
    pub fn missing(&self) -> Option<usize> {
        match self {
            Self::Body(body) => body.full_size(),
            Self::Unreadable => None,
            Self::OverBudget { full_size } => Some(*full_size),
        }
    }

    /// The same, reduced to the names of objects, or to nothing.
    pub(super) fn less(&self) -> Self {
        match self {
            Self::Body(body) => match body.outline() {
                Some(outline) => Self::Body(Arc::new(outline)),
                None => Self::OverBudget {
                    full_size: body.full_size().unwrap_or_else(|| body.cost()),
                },
            },
            Self::Unreadable | Self::OverBudget { .. } => self.clone(),
        }
    }
}

impl ReleaseView {
    /// The release's claim on an object; `None` if no active revision declares it.
    pub fn claim(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<Claim> {
        let phase = self.phase?;
        let mut declaring = None;
        // One manifest is not enough while the other one is not available.
        let is_outlined = self.is_outlined();
        let revisions = self
            .revisions
            .iter()
            .map(|revision| {
                let held = match &revision.content {
                    RevisionContent::Unreadable | RevisionContent::OverBudget { .. } => {
                        RevisionObject::Unreadable
                    }
                    RevisionContent::Body(body) => match body.find(group, kind, namespace, name) {
                        // It may be in the part that could not be read.
                        Ok(None) if body.problems() > 0 => RevisionObject::Unreadable,
                        Ok(None) => RevisionObject::Absent,
                        Ok(Some(object)) => {
                            declaring = declaring.or(Some(body));
                            if is_outlined {
                                RevisionObject::Unreadable
                            } else {
                                RevisionObject::Declared(object)
                            }
                        }
                        // Like an unreadable record, except that it is known to be relevant.
                        Err(_logged) => {
                            declaring = declaring.or(Some(body));
                            RevisionObject::Unreadable
                        }
                    },
                };
                RevisionClaim {
                    revision: revision.revision,
                    held,
                }
            })
            .collect();
        let declaring = declaring?;
        let newest = self.bodies().next().unwrap_or(declaring);
        Some(Claim {
            release: Arc::clone(declaring.release()),
            records: RecordsAt {
                driver: self.storage.driver,
                namespace: self.storage.namespace.clone(),
            },
            reach: Reach::of(&self.storage.namespace, namespace),
            chart: Arc::clone(newest.chart()),
            phase,
            uninstalling_since: newest.about().deleted,
            apply_method: newest.about().apply_method,
            hook_accounts: self.hook_accounts(),
            revisions,
        })
    }

    /// The service accounts of hooks of the newest revision, if its record can be read.
    fn hook_accounts(&self) -> Arc<[Box<str>]> {
        match self.revisions.first().map(|newest| &newest.content) {
            Some(RevisionContent::Body(body)) => Arc::clone(&body.about().hook_accounts),
            Some(RevisionContent::Unreadable | RevisionContent::OverBudget { .. }) | None => {
                Arc::default()
            }
        }
    }

    /// The release of the records, if it is in another namespace than they are.
    pub fn elsewhere(&self) -> Option<&Arc<ReleaseName>> {
        let release = self.bodies().next()?.release();
        (*release.namespace != *self.storage.namespace).then_some(release)
    }

    /// Whether it is this release, by its records.
    pub fn is_of(&self, release: &ReleaseName) -> bool {
        self.bodies().any(|body| **body.release() == *release)
    }

    /// The same, or the content of its records is unknown.
    pub(crate) fn may_be_of(&self, release: &ReleaseName) -> bool {
        self.bodies().next().is_none() || self.is_of(release)
    }

    /// The known bodies of active revisions, newest first.
    pub fn bodies(&self) -> impl Iterator<Item = &Arc<Body>> {
        self.revisions
            .iter()
            .filter_map(|revision| match &revision.content {
                RevisionContent::Body(body) => Some(body),
                RevisionContent::Unreadable | RevisionContent::OverBudget { .. } => None,
            })
    }

    /// Whether only the names of objects are stored for an active revision.
    pub(crate) fn is_outlined(&self) -> bool {
        self.bodies().any(|body| body.full_size().is_some())
    }

    /// Whether the index has no room for an active revision.
    pub(crate) fn is_over_budget(&self) -> bool {
        let mut contents = self.revisions.iter().map(|revision| &revision.content);
        contents.any(|content| matches!(content, RevisionContent::OverBudget { .. }))
    }

    /// Whether an active revision's record cannot be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.revisions
            .iter()
            .any(|revision| matches!(revision.content, RevisionContent::Unreadable))
    }

    /// Whether an active revision's manifest has documents that cannot be read.
    pub(crate) fn has_problems(&self) -> bool {
        self.bodies().any(|body| body.problems() > 0)
    }

    /// Whether it may declare unknown objects.
    pub(crate) fn may_declare_more(&self) -> bool {
        self.is_unreadable() || self.is_over_budget() || self.has_problems()
    }

    /// The full body of `revision`, if it was read from exactly this state of the record.
    pub(crate) fn body_at(&self, revision: u32, version: &RecordVersion) -> Option<&Arc<Body>> {
        self.revisions
            .iter()
            .find(|known| known.revision == revision && known.version == *version)
            .and_then(|known| match &known.content {
                RevisionContent::Body(body) => body.full_size().is_none().then_some(body),
                RevisionContent::Unreadable | RevisionContent::OverBudget { .. } => None,
            })
    }
}

/// The cell of a release: lookups by object point to it, so that a change of the release's state is
/// one swap here, however many objects it has.
pub(crate) struct Cell {
    view: ArcSwap<ReleaseView>,
}

impl Cell {
    /// A cell with `view`.
    pub(crate) fn new(view: ReleaseView) -> Self {
        Self {
            view: ArcSwap::from_pointee(view),
        }
    }

    /// The current state.
    pub(crate) fn view(&self) -> Arc<ReleaseView> {
        self.view.load_full()
    }

    /// Replaces the state.
    pub(super) fn store(&self, view: Arc<ReleaseView>) {
        self.view.store(view);
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cell")
            .field(&self.view.load().storage)
            .finish()
    }
}
