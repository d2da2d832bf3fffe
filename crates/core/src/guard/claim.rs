//! What the releases declare about one object: the input of the decision.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{reach::Reach, verdict::Reason};
use crate::{
    helm::{
        ReleaseName, identity::DeclaredObject, lifecycle::Phase, record::ApplyMethod,
        storage::Driver,
    },
    policy::tree::Tree,
};

/// What one release declares about one object. A release has a claim if at least one of its active
/// revisions declares the object.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The release that declares the object.
    pub release: Arc<ReleaseName>,
    /// Where its records are stored.
    pub records: RecordsAt,
    /// How the place of the records relates to that of the object.
    pub reach: Reach,
    /// Chart name and version of the newest revision, as `name-version`.
    pub chart: Arc<str>,
    /// The phase, from the status of the newest revision.
    pub phase: Phase,
    /// When its uninstallation began, if the record has that (`info.deleted`).
    pub uninstalling_since: Option<Timestamp>,
    /// How Helm applies its objects. From the newest revision, as in `helm upgrade`.
    pub apply_method: ApplyMethod,
    /// The service accounts, in the release's namespace, that hooks of the newest revision run as.
    pub hook_accounts: Arc<[Box<str>]>,
    /// The active revisions, newest first; never empty.
    pub revisions: Vec<RevisionClaim>,
}

impl Claim {
    /// The number of the newest revision.
    pub fn newest(&self) -> u32 {
        self.revisions
            .iter()
            .map(|revision| revision.revision)
            .max()
            .unwrap_or_default()
    }

    /// The API version to compare in: that of the newest active revision that declares the object.
    /// `None` if no readable revision declares it.
    pub fn version(&self) -> Option<&str> {
        self.declared().map(|object| &*object.version)
    }

    /// The object, from the newest active revision that declares it.
    pub fn declared(&self) -> Option<&DeclaredObject> {
        self.revisions
            .iter()
            .find_map(|revision| match &revision.held {
                RevisionObject::Declared(object) => Some(&**object),
                RevisionObject::Absent | RevisionObject::Unreadable => None,
            })
    }
}

impl Claim {
    /// Treats an uninstallation that began longer than `age` ago as failed. If an uninstallation
    /// fails, Helm leaves the release `uninstalling` forever (`pkg/action/uninstall.go`), and until
    /// then anyone could delete what it declares. Another `helm uninstall` starts over.
    pub fn give_up_uninstalling(&mut self, age: SignedDuration, now: Timestamp) {
        let since = self.uninstalling_since;
        let is_over = since.is_some_and(|since| now.duration_since(since) > age);
        if self.phase == Phase::Uninstalling && is_over {
            self.phase = Phase::Failed;
        }
    }

    /// The object from the newest manifest that declares it, for rules that look at it.
    pub(super) fn tree(&self) -> Tree<'_> {
        Tree::of(self.declared().map_or("null", |object| &object.json))
    }

    /// The object in each active manifest that declares it.
    pub(super) fn trees(&self) -> impl Iterator<Item = Tree<'_>> {
        self.revisions
            .iter()
            .filter_map(|revision| match &revision.held {
                RevisionObject::Declared(object) => Some(Tree::of(&object.json)),
                RevisionObject::Absent | RevisionObject::Unreadable => None,
            })
    }
}

/// The result of a deletion for one release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deletion {
    /// The release gives the object up, for this reason.
    Free(Reason),
    /// One of its records cannot be read.
    Unreadable,
    /// Every active manifest holds the object.
    RevisionObject,
}

impl Claim {
    /// The result of a deletion of the object for this release.
    pub(super) fn deletion(&self) -> Deletion {
        if self.phase == Phase::Uninstalling {
            return Deletion::Free(Reason::Uninstalling);
        }
        let mut helds = self.revisions.iter().map(|revision| &revision.held);
        if helds
            .clone()
            .any(|held| matches!(held, RevisionObject::Absent))
        {
            return Deletion::Free(Reason::NotDeclared);
        }
        if helds.any(|held| matches!(held, RevisionObject::Unreadable)) {
            return Deletion::Unreadable;
        }
        Deletion::RevisionObject
    }
}

/// Where the records of a release are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordsAt {
    /// In which kind of object.
    pub driver: Driver,
    /// In which namespace: often, but not always, the release's own.
    pub namespace: Box<str>,
}

/// What one active revision declares about the object.
#[derive(Clone, Debug)]
pub struct RevisionClaim {
    /// Revision number.
    pub revision: u32,
    /// Whether and how its manifest holds the object.
    pub held: RevisionObject,
}

/// Whether a revision's manifest holds an object.
#[derive(Clone, Debug)]
pub enum RevisionObject {
    /// It holds this object.
    Declared(Arc<DeclaredObject>),
    /// It does not hold the object.
    Absent,
    /// Unknown: the record could not be read or decoded. Nothing is denied because of such a
    /// revision, and the outcome has its own name and counter.
    Unreadable,
}
