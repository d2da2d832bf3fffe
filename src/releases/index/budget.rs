//! The memory that the index may use for declared objects, and which record is evicted.
//!
//! Eviction starts with the namespace that uses the most memory, and there with the largest record. So
//! filling the index from one namespace evicts records of that namespace, and the result does not depend
//! on the order of arrival: all replicas agree, also after a restart.
//!
//! Invariants
//! - [`MemoryBudget::excess`] only names [counted](Budget::replace) records, so eviction terminates.
//! - An evicted record is never forgotten: it waits here until it is replaced, or read again because
//!   there is room ([`MemoryBudget::readmit`]).

use std::collections::{BTreeSet, HashMap};

use crate::releases::{key::RecordKey, view::RevisionContent};

/// The default memory limit in bytes: some 20,000 releases of ordinary size, and less than a third of
/// the memory limit of the shipped Deployment.
pub(crate) const DEFAULT: usize = 160 << 20;

/// Records are read again while less than this part of the limit is used, so that they are not
/// evicted again at once.
const READMIT_BELOW: (usize, usize) = (7, 8);

/// The used memory, by namespace and record.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    limit: usize,
    total: usize,
    namespaces: HashMap<Box<str>, Share>,
    /// The namespaces by used memory.
    weights: BTreeSet<(usize, Box<str>)>,
    /// Evicted records, by their full size.
    waiting: BTreeSet<(usize, RecordKey)>,
}

#[derive(Debug, Default)]
struct Share {
    bytes: usize,
    records: BTreeSet<(usize, RecordKey)>,
}

impl MemoryBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            total: 0,
            namespaces: HashMap::new(),
            weights: BTreeSet::new(),
            waiting: BTreeSet::new(),
        }
    }

    /// Replaces the stored content `old` of a record by `new`.
    pub(crate) fn replace(
        &mut self,
        key: &RecordKey,
        old: Option<&RevisionContent>,
        new: Option<&RevisionContent>,
    ) {
        if let Some(full_size) = old.and_then(RevisionContent::missing) {
            self.waiting.remove(&(full_size, key.clone()));
        }
        if let Some(full_size) = new.and_then(RevisionContent::missing) {
            self.waiting.insert((full_size, key.clone()));
        }
        let (old, new) = (
            old.map_or(0, RevisionContent::cost),
            new.map_or(0, RevisionContent::cost),
        );
        if old == new {
            return;
        }
        let namespace = &key.storage.namespace;
        let mut share = self.namespaces.remove(namespace).unwrap_or_default();
        self.weights.remove(&(share.bytes, namespace.clone()));
        share.records.remove(&(old, key.clone()));
        if new > 0 {
            share.records.insert((new, key.clone()));
        }
        share.bytes = share.bytes.saturating_sub(old).saturating_add(new);
        self.total = self.total.saturating_sub(old).saturating_add(new);
        if !share.records.is_empty() {
            self.weights.insert((share.bytes, namespace.clone()));
            self.namespaces.insert(namespace.clone(), share);
        }
    }

    /// The record to evict, while the limit is exceeded.
    pub(crate) fn excess(&self) -> Option<RecordKey> {
        if self.total <= self.limit {
            return None;
        }
        let (_, heaviest) = self.weights.last()?;
        let (_, key) = self.namespaces.get(heaviest)?.records.last()?;
        Some(key.clone())
    }

    /// The evicted records that fit again, the smallest first.
    pub(crate) fn readmit(&mut self) -> Vec<RecordKey> {
        let (part, of) = READMIT_BELOW;
        let mut room = (self.limit / of * part).saturating_sub(self.total);
        let mut keys = Vec::new();
        while let Some((full_size, key)) = self.waiting.first().cloned()
            && full_size <= room
        {
            room -= full_size;
            self.waiting.pop_first();
            keys.push(key);
        }
        keys
    }
}
