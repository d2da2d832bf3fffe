//! Which releases may declare an object, by its key: readers do not wait while one writer changes it.
//!
//! Sorted slices of keys and cells, 16 bytes for each object of each release. A change copies the
//! slices that it touches and swaps them in; a reader sees each before or after a change, never in
//! between, and takes no lock.

use std::{ops::RangeInclusive, sync::Arc};

use arc_swap::ArcSwap;

use super::{object_key::ObjectKey, view::Cell};

type KeyedCell = (ObjectKey, Arc<Cell>);

/// At 1024 a change to a release of 50 objects copies 50 slices: some ten thousand entries in an
/// index of 250,000 objects.
const PARTS: usize = 1024;

pub(crate) struct ObjectMap {
    /// By key; several entries may have the same key.
    parts: Box<[ArcSwap<Vec<KeyedCell>>]>,
}

impl Default for ObjectMap {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| ArcSwap::default()).collect(),
        }
    }
}

impl ObjectMap {
    /// The cells at these keys, which all belong to one name, without duplicates.
    pub(crate) fn cells(&self, wanted: &RangeInclusive<ObjectKey>) -> Vec<Arc<Cell>> {
        let Some(part) = self.parts.get(wanted.start().part_of(PARTS)) else {
            return Vec::new();
        };
        let part = part.load();
        let start = part.partition_point(|(key, _)| key < wanted.start());
        let mut cells: Vec<Arc<Cell>> = Vec::new();
        for (_, cell) in part
            .iter()
            .skip(start)
            .take_while(|(key, _)| wanted.contains(key))
        {
            // A document with a namespace and one without may be one cluster-scoped object.
            if !cells.iter().any(|known| Arc::ptr_eq(known, cell)) {
                cells.push(Arc::clone(cell));
            }
        }
        cells
    }

    /// Adds a cell at these keys. For the only writer: of two concurrent changes, one would be
    /// lost.
    pub(crate) fn enter(&self, keys: Vec<ObjectKey>, cell: &Arc<Cell>) {
        self.change(keys, |part, keys| {
            let mut new = Vec::with_capacity(part.len() + keys.len());
            new.extend(part.iter().cloned());
            new.extend(keys.iter().map(|key| (*key, Arc::clone(cell))));
            new.sort_by_key(|(key, _)| *key);
            new
        });
    }

    /// Removes a cell from these keys. For the only writer.
    pub(crate) fn leave(&self, keys: Vec<ObjectKey>, cell: &Arc<Cell>) {
        self.change(keys, |part, keys| {
            let goes = |(key, known): &&KeyedCell| {
                Arc::ptr_eq(known, cell) && keys.binary_search(key).is_ok()
            };
            let mut new = Vec::with_capacity(part.len());
            new.extend(part.iter().filter(|entry| !goes(entry)).cloned());
            new.shrink_to_fit();
            new
        });
    }

    /// Changes each part that contains some of the keys, which are sorted.
    fn change(
        &self,
        mut keys: Vec<ObjectKey>,
        change: impl Fn(&[KeyedCell], &[ObjectKey]) -> Vec<KeyedCell>,
    ) {
        keys.sort_unstable_by_key(|key| (key.part_of(PARTS), *key));
        for keys in keys.chunk_by(|a, b| a.part_of(PARTS) == b.part_of(PARTS)) {
            let part = keys.first().map(|key| key.part_of(PARTS));
            if let Some(part) = part.and_then(|part| self.parts.get(part)) {
                let new = change(&part.load(), keys);
                part.store(Arc::new(new));
            }
        }
    }
}
