//! The writer's side of the index: which records there are, and which bodies are needed.
//!
//! A plain struct without I/O: it takes events and bodies ([`Index::apply`], [`Index::delete`],
//! [`Index::insert_body`], …), returns demands for bodies ([`Index::take_demands`]), and publishes
//! each change to the [`Directory`] of the readers.
//!
//! Invariants
//! - Any event may arrive late, twice, or never: states are ordered by their resource version,
//!   never by the order of arrival, and a relist removes what it does not list.
//! - A body is used only for the record it was read from, at that state or an earlier one, and is
//!   dropped when its revision leaves the active set. One exception: while no body of an active
//!   revision is known, the newest body of an earlier one is used, so that objects do not drop out
//!   of the index during a fetch. Nothing is denied because of it, because the records are read
//!   again before any denial.
//! - The memory for all releases is within a [`budget`]. An evicted record is stored as an outline of
//!   names, by which its release still claims its objects, or as [`RevisionContent::OverBudget`].

pub mod budget;
mod records;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use budget::MemoryBudget;
use helm_guard_core::helm::{lifecycle, storage::Driver};
use records::{IndexedRecord, Read, ReleaseRecords};

use super::{
    directory::Directory,
    key::{RecordKey, RecordVersion, StorageKey, Stored, number},
    lines::OVER_BUDGET,
    view::{ReleaseView, RevisionContent, RevisionView},
};

/// All records that a watch sees: those of one driver, in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchScope {
    /// Secrets or `ConfigMap`s.
    pub driver: Driver,
    /// The namespace; `None` for all namespaces.
    pub namespace: Option<Box<str>>,
}

impl WatchScope {
    /// Whether the watch sees the records in `storage`.
    pub fn covers(&self, storage: &StorageKey) -> bool {
        self.driver == storage.driver
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == storage.namespace)
    }
}

/// A demand of the index on the fetcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Fetch this record's body, at this state or a later one.
    Fetch(RecordKey, RecordVersion),
    /// The body is not needed any more.
    Forget(RecordKey),
}

/// The result of a consistent read of one release's records.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The release.
    pub storage: Arc<StorageKey>,
    /// The resource version of the list.
    pub list_version: Box<str>,
    /// How many relists the index had completed before the list was requested
    /// ([`Directory::relists`]).
    pub relists: u64,
    /// The metadata of every record of the release.
    pub records: Vec<Stored>,
    /// The bodies of active revisions.
    pub bodies: Vec<RevisionView>,
}

/// The records of all releases. One task owns it.
pub struct Index {
    directory: Arc<Directory>,
    releases: HashMap<Arc<StorageKey>, ReleaseRecords>,
    /// Running relists, and what they have listed so far.
    relists: HashMap<WatchScope, HashSet<RecordKey>>,
    demands: Vec<Demand>,
    wanted: HashSet<RecordKey>,
    /// The newest state at which a record is known to have been deleted: an older list may contain
    /// deleted records.
    deleted_up_to: HashMap<Driver, u64>,
    /// During a batch: the releases that it changed.
    batch: Option<HashSet<Arc<StorageKey>>>,
    budget: MemoryBudget,
}

impl Index {
    /// An empty index that publishes to `directory`.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self::within(budget::DEFAULT, directory)
    }

    /// An empty index with a memory limit for declared objects, in bytes.
    pub fn within(bytes: usize, directory: Arc<Directory>) -> Self {
        Self {
            directory,
            releases: HashMap::new(),
            relists: HashMap::new(),
            demands: Vec::new(),
            wanted: HashSet::new(),
            deleted_up_to: HashMap::new(),
            batch: None,
            budget: MemoryBudget::new(bytes),
        }
    }

    /// Changes until [`Index::end_batch`] are published together: a release with very many records is
    /// computed once for all changes, not once for each.
    pub(crate) fn begin_batch(&mut self) {
        self.batch.get_or_insert_default();
    }

    /// Publishes the changes of the batch.
    pub(crate) fn end_batch(&mut self) {
        for storage in self.batch.take().unwrap_or_default() {
            self.refresh(&storage);
        }
    }

    /// A record exists in this state.
    pub fn apply(&mut self, stored: Stored) {
        let storage = Arc::clone(&stored.key.storage);
        if self.upsert(stored) {
            self.changed(&storage);
        }
    }

    /// A record was deleted; `stored` is its last state.
    pub fn delete(&mut self, stored: &Stored) {
        let storage = &stored.key.storage;
        if let Some(deleted) = stored.version.resource_version.number() {
            let newest = self.deleted_up_to.entry(storage.driver).or_default();
            *newest = deleted.max(*newest);
        }
        let Some(records) = self.releases.get_mut(storage) else {
            return;
        };
        let Some(record) = records.get(stored.key.revision) else {
            return;
        };
        let is_another =
            record.version.uid != stored.version.uid && stored.version.is_before(&record.version);
        if !is_another {
            self.drop_record(&stored.key);
            self.changed(storage);
        }
    }

    /// A watch starts to list all records of `scope`.
    pub fn relist_started(&mut self, scope: WatchScope) {
        self.relists.insert(scope, HashSet::new());
    }

    /// A record is in the list of `scope`.
    pub fn listed(&mut self, scope: &WatchScope, stored: Stored) {
        if let Some(seen) = self.relists.get_mut(scope) {
            seen.insert(stored.key.clone());
        }
        self.apply(stored);
    }

    /// The list of `scope` is complete: records that it does not contain are deleted.
    pub fn relist_done(&mut self, scope: &WatchScope) {
        let Some(seen) = self.relists.remove(scope) else {
            return;
        };
        let gone: Vec<RecordKey> = self
            .releases
            .iter()
            .filter(|(storage, _)| scope.covers(storage))
            .flat_map(|(storage, records)| {
                records.iter().map(|record| RecordKey {
                    storage: Arc::clone(storage),
                    revision: record.revision,
                })
            })
            .filter(|key| !seen.contains(key))
            .collect();
        let mut changed: Vec<_> = gone.iter().map(|key| Arc::clone(&key.storage)).collect();
        changed.dedup();
        for key in &gone {
            self.drop_record(key);
        }
        for storage in &changed {
            self.changed(storage);
        }
        self.directory.relisted();
    }

    /// A record's body was read, or cannot be read.
    pub fn insert_body(
        &mut self,
        key: &RecordKey,
        version: &RecordVersion,
        content: RevisionContent,
    ) {
        self.keep_body(key, version, content);
        self.changed(&key.storage);
    }

    /// Applies the result of a read-through, unless the watch has newer data already.
    pub fn learn(&mut self, learned: Learned) {
        let Learned {
            storage,
            list_version,
            relists,
            records,
            bodies,
        } = learned;
        // A relist does not show when a missing record was deleted: an older list may contain
        // deleted records that no event would ever remove.
        if relists != self.directory.relists() {
            return;
        }
        let deleted = self
            .deleted_up_to
            .get(&storage.driver)
            .copied()
            .unwrap_or_default();
        let Some(list_version) = number(&list_version).filter(|version| *version > deleted) else {
            return;
        };
        let listed: HashSet<u32> = records.iter().map(|stored| stored.key.revision).collect();
        let gone: Vec<u32> = self
            .releases
            .get(&storage)
            .into_iter()
            .flat_map(ReleaseRecords::iter)
            .filter(|record| {
                let version = record.version.resource_version.number();
                !listed.contains(&record.revision)
                    && version.is_some_and(|version| version <= list_version)
            })
            .map(|record| record.revision)
            .collect();
        for revision in gone {
            self.drop_record(&RecordKey {
                storage: Arc::clone(&storage),
                revision,
            });
        }
        for stored in records {
            self.upsert(stored);
        }
        for RevisionView {
            revision,
            version,
            content,
        } in bodies
        {
            let key = RecordKey {
                storage: Arc::clone(&storage),
                revision,
            };
            // Otherwise each request about a release that exceeds the budget would evict others.
            if !self.gave_way(&key, &version) {
                self.keep_body(&key, &version, content);
            }
        }
        self.changed(&storage);
    }

    /// The demands that changed since the last call.
    pub fn take_demands(&mut self) -> Vec<Demand> {
        for key in self.budget.readmit() {
            let records = self.releases.get_mut(&key.storage);
            if let Some(record) = records.and_then(|records| records.get_mut(key.revision)) {
                record.requested = Some(Box::new(record.version.clone()));
                let demand = Demand::Fetch(key, record.version.clone());
                self.demands.push(demand);
            }
        }
        std::mem::take(&mut self.demands)
    }

    /// How many bodies of active revisions must still be read in their current state.
    pub fn wanted(&self) -> usize {
        self.wanted.len()
    }

    /// Whether anything changed.
    fn upsert(&mut self, stored: Stored) -> bool {
        let Stored {
            key,
            status,
            version,
        } = stored;
        let records = self.releases.entry(key.storage).or_default();
        match records.get_mut(key.revision) {
            Some(known) if version.is_before(&known.version) || version == known.version => false,
            Some(known) => {
                known.status = status;
                known.version = version;
                true
            }
            None => {
                records.insert(IndexedRecord::new(key.revision, status, version));
                true
            }
        }
    }

    fn drop_record(&mut self, key: &RecordKey) {
        let Some(records) = self.releases.get_mut(&key.storage) else {
            return;
        };
        if let Some(record) = records.remove(key.revision) {
            self.budget.replace(key, record.content(), None);
            if record.requested.is_some() {
                self.demands.push(Demand::Forget(key.clone()));
            }
        }
        self.wanted.remove(key);
    }

    fn keep_body(&mut self, key: &RecordKey, version: &RecordVersion, content: RevisionContent) {
        let Some((storage, _)) = self.releases.get_key_value(&key.storage) else {
            return;
        };
        // One copy of the name.
        let key = RecordKey {
            storage: Arc::clone(storage),
            revision: key.revision,
        };
        let records = self.releases.get_mut(&key.storage);
        let Some(record) = records.and_then(|records| records.get_mut(key.revision)) else {
            return;
        };
        if *version != record.version && !record.version.is_before(version) {
            return;
        }
        if let RevisionContent::Body(body) = &content {
            record.about = Some(Arc::clone(body.about()));
        }
        self.budget.replace(&key, record.content(), Some(&content));
        record.read = Some(Box::new(Read {
            version: version.clone(),
            content,
        }));
        while let Some(key) = self.budget.excess() {
            self.give_way(&key);
        }
    }

    /// Whether the record is known in this state and was evicted.
    fn gave_way(&self, key: &RecordKey, version: &RecordVersion) -> bool {
        let records = self.releases.get(&key.storage);
        let record = records.and_then(|records| records.get(key.revision));
        let read = record.and_then(|record| record.read.as_ref());
        read.is_some_and(|read| read.version == *version && read.content.missing().is_some())
    }

    /// Evicts a record.
    fn give_way(&mut self, key: &RecordKey) {
        let records = self.releases.get_mut(&key.storage);
        let record = records.and_then(|records| records.get_mut(key.revision));
        let Some(read) = record.and_then(|record| record.read.as_mut()) else {
            return;
        };
        let less = read.content.less();
        self.budget.replace(key, Some(&read.content), Some(&less));
        read.content = less;
        if OVER_BUDGET.may_log(&key.storage.namespace) {
            let full_size = read.content.missing();
            tracing::warn!(record = %key, full_size, "index memory limit reached: a release record is not stored in full");
        }
        self.changed(&key.storage);
    }

    /// A release's records have changed.
    fn changed(&mut self, storage: &Arc<StorageKey>) {
        match &mut self.batch {
            Some(batch) => {
                if !batch.contains(storage) {
                    batch.insert(Arc::clone(storage));
                }
            }
            None => self.refresh(storage),
        }
    }

    /// Computes a release's active set again, its demands, and the state that readers see.
    fn refresh(&mut self, storage: &Arc<StorageKey>) {
        let Some((known, _)) = self.releases.get_key_value(storage) else {
            return;
        };
        // One copy of the name, although each event has its own.
        let storage = &Arc::clone(known);
        let Some(records) = self.releases.get_mut(storage) else {
            return;
        };
        let statuses: Vec<_> = records
            .iter()
            .map(|record| (record.revision, record.status))
            .collect();
        let Some(&(newest, status)) = statuses.last() else {
            self.releases.remove(storage);
            self.directory.remove(storage);
            return;
        };
        let active = lifecycle::active_set(&statuses);
        let active_revisions: Vec<u32> = active
            .iter()
            .flat_map(lifecycle::ActiveSet::revisions)
            .collect();

        for record in records.iter_mut() {
            let revision = record.revision;
            let key = || RecordKey {
                storage: Arc::clone(storage),
                revision,
            };
            if !active_revisions.contains(&revision) {
                if record.requested.take().is_some() {
                    self.demands.push(Demand::Forget(key()));
                    self.wanted.remove(&key());
                }
            } else if record.is_read() && !record.is_given_up() {
                // The fetch of an unreadable record may still be trying; see `Demand::Forget`.
                if !record.is_unreadable() {
                    record.requested = None;
                }
                self.wanted.remove(&key());
            } else if record.requested.as_deref() != Some(&record.version) {
                record.requested = Some(Box::new(record.version.clone()));
                self.demands
                    .push(Demand::Fetch(key(), record.version.clone()));
                self.wanted.insert(key());
            }
        }

        let latest = records.iter().rev().find_map(|record| record.about.clone());
        let is_known = |revision: &u32| records.get(*revision).is_some_and(|r| r.read.is_some());
        let shown: Vec<u32> = if active_revisions.iter().any(is_known) || active.is_none() {
            active_revisions
        } else {
            records
                .iter()
                .rev()
                .map(|record| record.revision)
                .filter(is_known)
                .take(1)
                .collect()
        };
        for record in records.iter_mut() {
            if !shown.contains(&record.revision)
                && let Some(read) = record.read.take()
            {
                let key = RecordKey {
                    storage: Arc::clone(storage),
                    revision: record.revision,
                };
                self.budget.replace(&key, Some(&read.content), None);
            }
        }
        let mut revisions: Vec<RevisionView> = shown
            .iter()
            .filter_map(|revision| {
                let read = records.get(*revision)?.read.as_ref()?;
                Some(RevisionView {
                    revision: *revision,
                    version: read.version.clone(),
                    content: read.content.clone(),
                })
            })
            .collect();
        revisions.shrink_to_fit();
        self.directory.publish(ReleaseView {
            storage: Arc::clone(storage),
            newest,
            status,
            phase: active.map(|active| active.phase),
            revisions,
            records: statuses.len(),
            latest,
        });
    }
}

#[cfg(test)]
mod tests;
