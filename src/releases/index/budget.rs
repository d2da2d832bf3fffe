//! The memory that the index may use for what releases declare, and which record is evicted.
//!
//! Eviction begins with the namespace that uses the most, and there with the largest record. So whoever
//! fills the index from one namespace evicts his own records, and what stays does not depend on the order
//! of arrival: all replicas agree, after a restart too.
//!
//! Invariants
//! - What [`Budget::excess`] names is within what was [counted](Budget::replace), so giving way comes to
//!   an end.
//! - A record that made room is never forgotten: it waits in here until it is replaced, or read again
//!   because there is room ([`Budget::readmit`]).

use std::collections::{BTreeSet, HashMap};

use crate::releases::{key::RecordKey, view::Content};

/// The index may keep so many bytes unless it is told otherwise: some 20,000 releases of ordinary size,
/// and less than a third of the memory that the shipped Deployment allows.
pub const DEFAULT: usize = 160 << 20;

/// Records are read again while less than this part of the limit is taken, so that they do not come
/// and go.
const READMIT_BELOW: (usize, usize) = (7, 8);

/// What is taken, by namespace and record.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    total: usize,
    namespaces: HashMap<Box<str>, Share>,
    /// The namespaces by what they take.
    weights: BTreeSet<(usize, Box<str>)>,
    /// Records that made room, by what they take as a whole.
    waiting: BTreeSet<(usize, RecordKey)>,
}

#[derive(Debug, Default)]
struct Share {
    bytes: usize,
    records: BTreeSet<(usize, RecordKey)>,
}

impl Budget {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            total: 0,
            namespaces: HashMap::new(),
            weights: BTreeSet::new(),
            waiting: BTreeSet::new(),
        }
    }

    /// Of a record, `new` is kept in place of `old`.
    pub fn replace(&mut self, key: &RecordKey, old: Option<&Content>, new: Option<&Content>) {
        if let Some(whole) = old.and_then(Content::missing) {
            self.waiting.remove(&(whole, key.clone()));
        }
        if let Some(whole) = new.and_then(Content::missing) {
            self.waiting.insert((whole, key.clone()));
        }
        let (old, new) = (old.map_or(0, Content::cost), new.map_or(0, Content::cost));
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

    /// The record that has to make room, while too much is kept.
    pub fn excess(&self) -> Option<RecordKey> {
        if self.total <= self.limit {
            return None;
        }
        let (_, heaviest) = self.weights.last()?;
        let (_, key) = self.namespaces.get(heaviest)?.records.last()?;
        Some(key.clone())
    }

    /// The records for which there is room again, the smallest first.
    pub fn readmit(&mut self) -> Vec<RecordKey> {
        let (part, of) = READMIT_BELOW;
        let mut room = (self.limit / of * part).saturating_sub(self.total);
        let mut keys = Vec::new();
        while let Some((whole, key)) = self.waiting.first().cloned()
            && whole <= room
        {
            room -= whole;
            self.waiting.pop_first();
            keys.push(key);
        }
        keys
    }
}
