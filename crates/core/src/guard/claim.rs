//! What the releases say about one object: the input of the judgement.

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

/// One release's say about one object: a claim is made by every release of whose active
/// revisions at least one declares the object.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The release.
    pub release: Arc<ReleaseName>,
    /// Where its records are stored.
    pub records: RecordsAt,
    /// How that relates to where the object is.
    pub reach: Reach,
    /// Chart name and version of the newest revision, as `name-version`.
    pub chart: Arc<str>,
    /// What the newest revision's status says.
    pub phase: Phase,
    /// When its uninstallation began, where the record says so (`info.deleted`).
    pub uninstalling_since: Option<Timestamp>,
    /// How Helm applies its objects: by the newest revision, as `helm upgrade` goes by it.
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

    /// The API version in which the newest active revision that declares the object does so: the
    /// version to compare in. `None` when no revision that can be read declares it.
    pub fn version(&self) -> Option<&str> {
        self.declared().map(|object| &*object.version)
    }

    /// The object as the newest active revision that declares it does.
    pub fn declared(&self) -> Option<&DeclaredObject> {
        self.revisions
            .iter()
            .find_map(|revision| match &revision.held {
                Held::Declared(object) => Some(&**object),
                Held::Absent | Held::Unreadable => None,
            })
    }
}

impl Claim {
    /// Takes an uninstallation that began longer than `age` ago for one that failed. Helm leaves a
    /// release `uninstalling` for ever when it does not get through (`pkg/action/uninstall.go`), and
    /// for as long anyone could delete what it declares. Another `helm uninstall` begins anew.
    pub fn give_up_uninstalling(&mut self, age: SignedDuration, now: Timestamp) {
        let since = self.uninstalling_since;
        let is_over = since.is_some_and(|since| now.duration_since(since) > age);
        if self.phase == Phase::Uninstalling && is_over {
            self.phase = Phase::Failed;
        }
    }

    /// The object as the newest manifest that declares it has it, for rules that look at it.
    pub(super) fn tree(&self) -> Tree<'_> {
        Tree::of(self.declared().map_or("null", |object| &object.json))
    }

    /// The object in each active manifest that declares it.
    pub(super) fn trees(&self) -> impl Iterator<Item = Tree<'_>> {
        self.revisions
            .iter()
            .filter_map(|revision| match &revision.held {
                Held::Declared(object) => Some(Tree::of(&object.json)),
                Held::Absent | Held::Unreadable => None,
            })
    }
}

/// What a release says about a deletion of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deletion {
    /// It gives the object up, for this reason.
    Free(Reason),
    /// One of its records cannot be read.
    Unreadable,
    /// Every active manifest holds the object.
    Held,
}

impl Claim {
    /// What the release says about a deletion of the object.
    pub(super) fn deletion(&self) -> Deletion {
        if self.phase == Phase::Uninstalling {
            return Deletion::Free(Reason::Uninstalling);
        }
        let mut helds = self.revisions.iter().map(|revision| &revision.held);
        if helds.clone().any(|held| matches!(held, Held::Absent)) {
            return Deletion::Free(Reason::NotDeclared);
        }
        if helds.any(|held| matches!(held, Held::Unreadable)) {
            return Deletion::Unreadable;
        }
        Deletion::Held
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

/// One active revision's say about the object.
#[derive(Clone, Debug)]
pub struct RevisionClaim {
    /// Revision number.
    pub revision: u32,
    /// Whether and how its manifest holds the object.
    pub held: Held,
}

/// Whether a revision's manifest holds an object.
#[derive(Clone, Debug)]
pub enum Held {
    /// It does.
    Declared(Arc<DeclaredObject>),
    /// It does not.
    Absent,
    /// The record could not be read or decoded, so nobody can say. An object is never denied on
    /// the strength of such a revision, and the outcome has its own name and counter.
    Unreadable,
}
