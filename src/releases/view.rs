//! One release as readers see it: its active revisions, and what they say about an object.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use helm_guard_core::{
    guard::{Claim, Held, Reach, RecordsAt, RevisionClaim},
    helm::{
        ReleaseName,
        lifecycle::{Phase, Status},
    },
};

use super::{
    body::{About, Body},
    key::{StorageKey, Version},
};

/// The state of one release, replaced as a whole.
#[derive(Debug)]
pub struct ReleaseView {
    /// Where its records are.
    pub storage: Arc<StorageKey>,
    /// The newest revision.
    pub newest: u32,
    /// The newest revision's status.
    pub status: Status,
    /// What that says; `None` when the release is not guarded.
    pub phase: Option<Phase>,
    /// The active revisions of which something is known, newest first. A revision whose body is
    /// still being fetched is left out: with fewer manifests to allow a change the judgement can
    /// only become stricter, and before it denies anything the records are read again.
    pub revisions: Vec<RevisionView>,
    /// How many records the release has.
    pub records: usize,
    /// Chart and times of the newest body known, for what metrics say about the release.
    pub latest: Option<Arc<About>>,
}

/// One revision of a [`ReleaseView`].
#[derive(Clone, Debug)]
pub struct RevisionView {
    /// The revision.
    pub revision: u32,
    /// The state of the record that `content` was read from.
    pub version: Version,
    /// What it holds.
    pub content: Content,
}

/// What reading a record's body gave.
#[derive(Clone, Debug)]
pub enum Content {
    /// The body.
    Body(Arc<Body>),
    /// It can not be fetched or decoded.
    Unreadable,
    /// The index has no room for it.
    OverBudget {
        /// Bytes that it would take.
        whole: usize,
    },
}

impl Content {
    /// Bytes that it takes in the index.
    pub fn cost(&self) -> usize {
        match self {
            Self::Body(body) => body.cost(),
            Self::Unreadable | Self::OverBudget { .. } => 0,
        }
    }

    /// Bytes that it would take as a whole, where it is not kept as a whole.
    pub fn missing(&self) -> Option<usize> {
        match self {
            Self::Body(body) => body.whole(),
            Self::Unreadable => None,
            Self::OverBudget { whole } => Some(*whole),
        }
    }

    /// The same, with less of it kept: the names of objects, or nothing.
    pub(super) fn less(&self) -> Self {
        match self {
            Self::Body(body) => match body.outline() {
                Some(outline) => Self::Body(Arc::new(outline)),
                None => Self::OverBudget {
                    whole: body.whole().unwrap_or_else(|| body.cost()),
                },
            },
            Self::Unreadable | Self::OverBudget { .. } => self.clone(),
        }
    }
}

impl ReleaseView {
    /// The release's say about an object; `None` when no active revision declares it.
    pub fn claim(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<Claim> {
        let phase = self.phase?;
        let mut declaring = None;
        // What one manifest says is not the whole truth while the other is not at hand.
        let is_outlined = self.is_outlined();
        let revisions = self
            .revisions
            .iter()
            .map(|revision| {
                let held = match &revision.content {
                    Content::Unreadable | Content::OverBudget { .. } => Held::Unreadable,
                    Content::Body(body) => match body.find(group, kind, namespace, name) {
                        // It may be in what could not be read.
                        Ok(None) if body.problems() > 0 => Held::Unreadable,
                        Ok(None) => Held::Absent,
                        Ok(Some(object)) => {
                            declaring = declaring.or(Some(body));
                            if is_outlined {
                                Held::Unreadable
                            } else {
                                Held::Declared(object)
                            }
                        }
                        // As if the record could not be read, but that it is known to matter.
                        Err(_logged) => {
                            declaring = declaring.or(Some(body));
                            Held::Unreadable
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

    /// The accounts of hooks of the newest revision, if its record can be read.
    fn hook_accounts(&self) -> Arc<[Box<str>]> {
        match self.revisions.first().map(|newest| &newest.content) {
            Some(Content::Body(body)) => Arc::clone(&body.about().hook_accounts),
            Some(Content::Unreadable | Content::OverBudget { .. }) | None => Arc::default(),
        }
    }

    /// The release that its records are of, where that is in another namespace than they are.
    pub fn elsewhere(&self) -> Option<&Arc<ReleaseName>> {
        let release = self.bodies().next()?.release();
        (*release.namespace != *self.storage.namespace).then_some(release)
    }

    /// Whether it is this release, by what its records say.
    pub fn is_of(&self, release: &ReleaseName) -> bool {
        self.bodies().any(|body| **body.release() == *release)
    }

    /// The same, or nothing is known of what they say.
    pub fn may_be_of(&self, release: &ReleaseName) -> bool {
        self.bodies().next().is_none() || self.is_of(release)
    }

    /// The bodies known of active revisions, newest first.
    pub fn bodies(&self) -> impl Iterator<Item = &Arc<Body>> {
        self.revisions
            .iter()
            .filter_map(|revision| match &revision.content {
                Content::Body(body) => Some(body),
                Content::Unreadable | Content::OverBudget { .. } => None,
            })
    }

    /// Whether of an active revision only the names of its objects are kept.
    pub fn is_outlined(&self) -> bool {
        self.bodies().any(|body| body.whole().is_some())
    }

    /// Whether the index has no room for an active revision.
    pub fn is_over_budget(&self) -> bool {
        let mut contents = self.revisions.iter().map(|revision| &revision.content);
        contents.any(|content| matches!(content, Content::OverBudget { .. }))
    }

    /// Whether an active revision's record can not be read.
    pub fn is_unreadable(&self) -> bool {
        self.revisions
            .iter()
            .any(|revision| matches!(revision.content, Content::Unreadable))
    }

    /// Whether an active revision's manifest has documents that can not be read.
    pub fn has_problems(&self) -> bool {
        self.bodies().any(|body| body.problems() > 0)
    }

    /// Whether it may declare objects of which nothing is known.
    pub fn may_declare_more(&self) -> bool {
        self.is_unreadable() || self.is_over_budget() || self.has_problems()
    }

    /// The whole body of `revision`, if it was read from exactly this state of the record.
    pub fn body_at(&self, revision: u32, version: &Version) -> Option<&Arc<Body>> {
        self.revisions
            .iter()
            .find(|known| known.revision == revision && known.version == *version)
            .and_then(|known| match &known.content {
                Content::Body(body) => body.whole().is_none().then_some(body),
                Content::Unreadable | Content::OverBudget { .. } => None,
            })
    }
}

/// The place of a release: what lookups by object point at, so that a change of the release's
/// state is one swap here, whatever number of objects it has.
pub struct Cell {
    view: ArcSwap<ReleaseView>,
}

impl Cell {
    /// A place holding `view`.
    pub fn new(view: ReleaseView) -> Self {
        Self {
            view: ArcSwap::from_pointee(view),
        }
    }

    /// The state now.
    pub fn view(&self) -> Arc<ReleaseView> {
        self.view.load_full()
    }

    /// Puts another state in.
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
