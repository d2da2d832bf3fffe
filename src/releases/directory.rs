//! The readers' side of the index: which releases claim an object.
//!
//! Objects are known here by a hash of group, kind and name alone, and point at the releases that
//! may declare them; each of these then searches its own bodies. A colliding hash costs a search,
//! never a wrong answer, and no name is stored twice.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    body::Body,
    key::StorageKey,
    snapshot_map::SnapshotMap,
    view::{Cell, ReleaseView},
};
use crate::{
    guard::{Claim, ObjectRef},
    helm::{ReleaseName, storage::Driver},
};

/// At 1024 shards a change to a release of 50 objects copies 50 of them: some ten thousand
/// entries in an index of 250,000 objects.
const OBJECT_SHARDS: usize = 1024;
const RELEASE_SHARDS: usize = 64;

/// What lookups read. Never waits for the writer.
pub struct Directory {
    objects: SnapshotMap<u64, Arc<[Arc<Cell>]>>,
    releases: SnapshotMap<Arc<StorageKey>, Arc<Cell>>,
    hasher: RandomState,
    relists: AtomicU64,
    generation: AtomicU64,
}

/// A kind in the version that a manifest has it in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeclaredKind {
    /// API group, empty for core.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// API version without the group.
    pub version: String,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            objects: SnapshotMap::new(OBJECT_SHARDS),
            releases: SnapshotMap::new(RELEASE_SHARDS),
            hasher: RandomState::new(),
            relists: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        }
    }
}

impl Directory {
    /// The releases' say about an object: one claim for each release that declares it.
    ///
    /// `namespace` is the request's; it is empty for cluster-scoped objects. A request for a
    /// Namespace names itself as its namespace; that is seen through here.
    pub fn claims(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Vec<Claim> {
        let namespace = scope(group, kind, namespace);
        self.candidates(group, kind, name)
            .iter()
            .filter_map(|cell| cell.view().claim(group, kind, namespace, name))
            .collect()
    }

    /// Where the releases that claim an object keep their records.
    pub fn claimants(
        &self,
        group: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Vec<Arc<StorageKey>> {
        let namespace = scope(group, kind, namespace);
        self.candidates(group, kind, name)
            .iter()
            .map(|cell| cell.view())
            .filter(|view| view.claim(group, kind, namespace, name).is_some())
            .map(|view| Arc::clone(&view.storage))
            .collect()
    }

    /// The releases whose records decide whether a request for an object may be refused: those that
    /// claim it here, and those that the object names as its own, before the request and after it.
    ///
    /// `helm install --take-ownership` writes its record and at once the object, which another
    /// release declares: the watch need not have told of the record, and only the object says whose
    /// it is going to be. What it says proves nothing; it is where to look.
    pub fn to_read(&self, object: &ObjectRef<'_>, named: &[ReleaseName]) -> Vec<Arc<StorageKey>> {
        let ObjectRef {
            group,
            kind,
            namespace,
            name,
        } = object;
        let mut storages = self.claimants(group, kind, namespace, name);
        for named in named {
            let is_named = |storage: &Arc<StorageKey>| {
                self.release(storage).is_some_and(|view| view.is_of(named))
            };
            if storages.iter().any(is_named) {
                continue;
            }
            // Flux may keep its records elsewhere; of a release that nobody has heard of, Helm keeps
            // them in its own namespace.
            let mut found = self.storages_of(named);
            if found.is_empty() {
                found.extend(stores(&named.namespace, &named.name));
            }
            found.retain(|storage| !storages.contains(storage));
            storages.extend(found);
        }
        storages
    }

    fn storages_of(&self, release: &ReleaseName) -> Vec<Arc<StorageKey>> {
        self.releases()
            .iter()
            .filter(|view| view.is_of(release))
            .map(|view| Arc::clone(&view.storage))
            .collect()
    }

    /// The state of the release whose records are in `storage`.
    pub fn release(&self, storage: &Arc<StorageKey>) -> Option<Arc<ReleaseView>> {
        Some(self.releases.get(storage)?.view())
    }

    /// All releases, those that are not guarded too.
    pub fn releases(&self) -> Vec<Arc<ReleaseView>> {
        self.releases
            .values()
            .iter()
            .map(|cell| cell.view())
            .collect()
    }

    /// Another number whenever the bodies of active revisions changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The kinds of all objects that active revisions declare.
    pub fn declared_kinds(&self) -> BTreeSet<DeclaredKind> {
        let mut kinds = BTreeSet::new();
        for view in self.releases() {
            for body in view.bodies() {
                let mut last = None;
                // Sorted by group and kind, so most are like the one before.
                for object in body.objects() {
                    let kind = (&*object.group, &*object.kind, &*object.version);
                    if last.replace(kind) != Some(kind) {
                        kinds.insert(DeclaredKind {
                            group: kind.0.to_owned(),
                            kind: kind.1.to_owned(),
                            version: kind.2.to_owned(),
                        });
                    }
                }
            }
        }
        kinds
    }

    fn moved(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether a release of this name, kept in its own namespace, has an active record that can
    /// not be read: then nobody can say which objects it declares.
    pub fn is_unreadable(&self, namespace: &str, name: &str) -> bool {
        stores(namespace, name).any(|storage| {
            self.release(&storage)
                .is_some_and(|view| view.is_unreadable())
        })
    }

    /// How many relists the index has taken to their end.
    pub fn relists(&self) -> u64 {
        self.relists.load(Ordering::Acquire)
    }

    /// A relist is at its end. For the one writer only.
    pub(super) fn relisted(&self) {
        self.relists.fetch_add(1, Ordering::AcqRel);
    }

    fn candidates(&self, group: &str, kind: &str, name: &str) -> Arc<[Arc<Cell>]> {
        self.objects
            .get(&self.hash(group, kind, name))
            .unwrap_or_default()
    }

    fn hash(&self, group: &str, kind: &str, name: &str) -> u64 {
        self.hasher.hash_one((group, kind, name))
    }

    /// The hashes of the objects of `bodies`, each once, sorted.
    fn hashes<'b>(&self, bodies: impl Iterator<Item = &'b Arc<Body>>) -> Vec<u64> {
        let mut hashes: Vec<u64> = bodies
            .flat_map(|body| body.objects())
            .map(|object| self.hash(&object.group, &object.kind, &object.name))
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    /// Makes a release's new state visible. For the one writer only.
    ///
    /// New objects are entered before the state is swapped and old ones taken out after it, so
    /// that at each moment every object of the visible state is found.
    pub(super) fn publish(&self, view: ReleaseView) {
        let storage = Arc::clone(&view.storage);
        let Some(cell) = self.releases.get(&storage) else {
            let hashes = self.hashes(view.bodies());
            let cell = Arc::new(Cell::new(view));
            self.releases
                .change([storage], |_, _| Some(Arc::clone(&cell)));
            self.enter(hashes, &cell);
            self.moved();
            return;
        };
        let old = cell.view();
        let view = Arc::new(view);
        let same_bodies = old
            .bodies()
            .map(Arc::as_ptr)
            .eq(view.bodies().map(Arc::as_ptr));
        if same_bodies {
            cell.store(view);
            return;
        }
        let before = self.hashes(old.bodies());
        let after = self.hashes(view.bodies());
        self.enter(without(&after, &before), &cell);
        cell.store(view);
        self.leave(without(&before, &after), &cell);
        self.moved();
    }

    /// Takes a release out. For the one writer only.
    pub(super) fn remove(&self, storage: &Arc<StorageKey>) {
        let Some(cell) = self.releases.get(storage) else {
            return;
        };
        self.releases.change([Arc::clone(storage)], |_, _| None);
        self.leave(self.hashes(cell.view().bodies()), &cell);
        self.moved();
    }

    fn enter(&self, hashes: Vec<u64>, cell: &Arc<Cell>) {
        self.objects.change(hashes, |_, old| {
            let others = old.iter().flat_map(|cells| cells.iter()).cloned();
            Some(others.chain([Arc::clone(cell)]).collect())
        });
    }

    fn leave(&self, hashes: Vec<u64>, cell: &Arc<Cell>) {
        self.objects.change(hashes, |_, old| {
            let left: Arc<[Arc<Cell>]> = old?
                .iter()
                .filter(|other| !Arc::ptr_eq(other, cell))
                .cloned()
                .collect();
            (!left.is_empty()).then_some(left)
        });
    }
}

/// What of `hashes` is not in `others`; both sorted.
fn without(hashes: &[u64], others: &[u64]) -> Vec<u64> {
    hashes
        .iter()
        .copied()
        .filter(|hash| others.binary_search(hash).is_err())
        .collect()
}

/// Where a release may keep its records in its own namespace.
fn stores(namespace: &str, name: &str) -> impl Iterator<Item = Arc<StorageKey>> {
    [Driver::Secret, Driver::ConfigMap]
        .into_iter()
        .map(move |driver| {
            Arc::new(StorageKey {
                driver,
                namespace: namespace.into(),
                name: name.into(),
            })
        })
}

/// The namespace that tells an object's scope: a Namespace is cluster-scoped, although requests
/// for it carry its own name as namespace.
pub(super) fn scope<'a>(group: &str, kind: &str, namespace: &'a str) -> &'a str {
    if group.is_empty() && kind == "Namespace" {
        ""
    } else {
        namespace
    }
}
