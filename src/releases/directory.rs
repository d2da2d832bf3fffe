//! The readers' side of the index: which releases claim an object.
//!
//! Objects are known here by a hash of their names ([`super::object_key`]), and point to the releases
//! that may declare them; each of these then searches its own bodies. So undeclared objects are
//! answered without unpacking a manifest. A colliding hash costs a search, never a wrong answer, and no
//! name is stored twice.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use helm_guard_core::{
    guard::{Claim, Reach},
    helm::{ReleaseName, storage::Driver},
};

use super::{
    body::Body,
    declared_kind::DeclaredKind,
    elsewhere::Elsewhere,
    key::StorageKey,
    object_key::ObjectKey,
    object_map::ObjectMap,
    snapshot_map::SnapshotMap,
    view::{Cell, ReleaseView},
};

const RELEASE_SHARDS: usize = 64;

/// The data for lookups. Never waits for the writer.
pub struct Directory {
    objects: ObjectMap,
    releases: SnapshotMap<Arc<StorageKey>, Arc<Cell>>,
    relists: AtomicU64,
    generation: AtomicU64,
    /// How many releases have an active record that cannot be read, entirely or in part.
    unreadable: AtomicU64,
    elsewhere: Elsewhere,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            objects: ObjectMap::default(),
            releases: SnapshotMap::new(RELEASE_SHARDS),
            relists: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            elsewhere: Elsewhere::default(),
        }
    }
}

impl Directory {
    /// The claims on an object: one for each release that declares it.
    ///
    /// `namespace` is the request's; it is empty for cluster-scoped objects. A request for a
    /// Namespace names the object itself as its namespace; this is handled here.
    pub fn claims(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Vec<Claim> {
        let namespace = scope(group, kind, namespace);
        self.candidates(group, kind, namespace, name)
            .iter()
            .filter_map(|cell| cell.view().claim(group, kind, namespace, name))
            .map(|claim| marked(claim, |release| self.is_recorded(release)))
            .collect()
    }

    /// Whether this release has records in its own namespace. Records there may belong to another release
    /// of the same name (Flux: `spec.storageNamespace`).
    pub(crate) fn is_recorded(&self, release: &ReleaseName) -> bool {
        stores(&release.namespace, &release.name).any(|storage| {
            self.release(&storage)
                .is_some_and(|view| view.may_be_of(release))
        })
    }

    /// Storages outside the namespace of a release that has records in its own namespace, too.
    pub fn copies(&self) -> Vec<(Arc<ReleaseName>, Arc<StorageKey>)> {
        if self.elsewhere.is_empty() {
            return Vec::new();
        }
        self.elsewhere.copies(|release| self.is_recorded(release))
    }

    /// The storages whose records decide whether a request may be denied: those of `claims`, and those
    /// of the releases that the object names as its owner, before and after the request.
    ///
    /// `helm install --take-ownership` writes its record and then immediately the object, which
    /// another release declares: the watch may not have reported the record yet, and only the
    /// object names the new owner. This proves nothing; it only shows where to look.
    pub fn to_read(&self, claims: &[Claim], named: &[ReleaseName]) -> ToRead {
        let mut to_read = ToRead::default();
        for claim in claims {
            let storage = Arc::new(StorageKey {
                driver: claim.records.driver,
                namespace: claim.records.namespace.clone(),
                name: claim.release.name.as_str().into(),
            });
            // The own namespace of the release of a record elsewhere: if it has records there now, the others
            // are copies.
            let is_elsewhere = *storage.namespace != *claim.release.namespace;
            let own = is_elsewhere.then(|| stores(&claim.release.namespace, &storage.name));
            to_read.named.extend(own.into_iter().flatten());
            if !to_read.claimants.contains(&storage) {
                to_read.claimants.push(storage);
            }
        }
        for named in named {
            // Flux may store records elsewhere; for an unknown release, Helm stores them in its own
            // namespace.
            to_read.named.extend(stores(&named.namespace, &named.name));
            to_read
                .named
                .extend(self.elsewhere.of(named, MOST_ELSEWHERE));
        }
        let claimants = &to_read.claimants;
        to_read.named.retain(|storage| !claimants.contains(storage));
        to_read.named.sort_unstable();
        to_read.named.dedup();
        to_read
    }

    /// The state of the release whose records are in `storage`.
    pub fn release(&self, storage: &Arc<StorageKey>) -> Option<Arc<ReleaseView>> {
        Some(self.releases.get(storage)?.view())
    }

    /// All releases, including those that are not guarded.
    pub fn releases(&self) -> Vec<Arc<ReleaseView>> {
        self.releases
            .values()
            .iter()
            .map(|cell| cell.view())
            .collect()
    }

    /// A number that changes whenever the bodies of active revisions change.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The kinds of all objects that active revisions declare.
    pub(crate) fn declared_kinds(&self) -> BTreeSet<DeclaredKind> {
        let (mut kinds, mut seen) = (BTreeSet::new(), HashSet::new());
        for view in self.releases() {
            for body in view.bodies() {
                // Most releases of a chart share the same ones.
                if seen.insert(Arc::clone(body.kinds())) {
                    kinds.extend(body.kinds().iter().cloned());
                }
            }
        }
        kinds
    }

    fn moved(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether a release of this name, stored in its own namespace, has an active record that
    /// cannot be read, entirely or in part: then the objects that it declares are unknown.
    pub(crate) fn is_unreadable(&self, namespace: &str, name: &str) -> bool {
        stores(namespace, name).any(|storage| {
            self.release(&storage)
                .is_some_and(|view| view.may_declare_more())
        })
    }

    /// Whether any release has such a record.
    pub(crate) fn any_unreadable(&self) -> bool {
        self.unreadable.load(Ordering::Acquire) > 0
    }

    /// How many relists the index has completed.
    pub fn relists(&self) -> u64 {
        self.relists.load(Ordering::Acquire)
    }

    /// Counts a completed relist. For the only writer.
    pub(super) fn relisted(&self) {
        self.relists.fetch_add(1, Ordering::AcqRel);
    }

    /// The releases that may declare an object.
    fn candidates(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Vec<Arc<Cell>> {
        self.objects
            .cells(&ObjectKey::wanted(group, kind, namespace, name))
    }

    /// Makes a release's new state visible. For the only writer.
    ///
    /// New objects are added before the state is swapped and old ones removed after it, so that
    /// every object of the visible state is found at any time.
    pub(super) fn publish(&self, view: ReleaseView) {
        let storage = Arc::clone(&view.storage);
        self.place(&view);
        // Before the state becomes visible: its readers must find this set.
        if view.may_declare_more() {
            self.unreadable.fetch_add(1, Ordering::AcqRel);
        }
        let Some(cell) = self.releases.get(&storage) else {
            let keys = keys(view.bodies());
            let cell = Arc::new(Cell::new(view));
            self.releases
                .change([storage], |_, _| Some(Arc::clone(&cell)));
            self.objects.enter(keys, &cell);
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
            self.forget(&old);
            return;
        }
        let before = keys(old.bodies());
        let after = keys(view.bodies());
        self.objects.enter(without(&after, &before), &cell);
        cell.store(view);
        self.objects.leave(without(&before, &after), &cell);
        self.forget(&old);
        self.moved();
    }

    /// Tracks which records are outside the namespace of their release.
    fn place(&self, view: &ReleaseView) {
        let known = self.releases.get(&view.storage).map(|cell| cell.view());
        let was = known.as_ref().and_then(|known| known.elsewhere());
        let release = view.elsewhere();
        if was != release {
            self.elsewhere.set(&view.storage, was, release);
        }
        if self.elsewhere.is_empty() {
            return;
        }
        match release {
            Some(release) if self.is_recorded(release) => self.elsewhere.log(release),
            Some(_) => {}
            None => self.elsewhere.log(&Arc::new(ReleaseName {
                namespace: view.storage.namespace.to_string(),
                name: view.storage.name.to_string(),
            })),
        }
    }

    /// Updates the tables after a state became invisible.
    fn forget(&self, old: &ReleaseView) {
        if old.may_declare_more() {
            self.unreadable.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Removes a release. For the only writer.
    pub(super) fn remove(&self, storage: &Arc<StorageKey>) {
        let Some(cell) = self.releases.get(storage) else {
            return;
        };
        self.releases.change([Arc::clone(storage)], |_, _| None);
        let view = cell.view();
        let was = view.elsewhere();
        if was.is_some() {
            self.elsewhere.set(storage, was, None);
        }
        self.objects.leave(keys(view.bodies()), &cell);
        self.forget(&view);
        self.moved();
    }
}

/// The storages to read before a denial.
#[derive(Debug, Default)]
pub struct ToRead {
    /// The storages of the releases that claim the object.
    pub claimants: Vec<Arc<StorageKey>>,
    /// The storages of releases that the object names, and of the claimants' own namespaces: they may not
    /// exist.
    pub named: Vec<Arc<StorageKey>>,
}

/// The maximum number of storages outside its namespace that are read for a release that an object names.
const MOST_ELSEWHERE: usize = 8;

/// The claim, marked as a copy if it is based on one.
pub(super) fn marked(mut claim: Claim, is_recorded: impl Fn(&ReleaseName) -> bool) -> Claim {
    let is_elsewhere = *claim.records.namespace != *claim.release.namespace;
    if is_elsewhere && is_recorded(&claim.release) {
        claim.reach = Reach::Copy;
    }
    claim
}

/// The keys of the objects of `bodies`, sorted and without duplicates.
fn keys<'b>(bodies: impl Iterator<Item = &'b Arc<Body>>) -> Vec<ObjectKey> {
    let mut keys: Vec<ObjectKey> = bodies.flat_map(|body| body.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The `keys` that are not in `others`; both sorted.
fn without(keys: &[ObjectKey], others: &[ObjectKey]) -> Vec<ObjectKey> {
    keys.iter()
        .copied()
        .filter(|key| others.binary_search(key).is_err())
        .collect()
}

/// The storages that a release may have in its own namespace.
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

/// The namespace that determines an object's scope: a Namespace is cluster-scoped, although
/// requests for it contain its own name as namespace.
pub(super) fn scope<'a>(group: &str, kind: &str, namespace: &'a str) -> &'a str {
    if group.is_empty() && kind == "Namespace" {
        ""
    } else {
        namespace
    }
}
