//! A map whose readers do not wait while its only writer changes it.
//!
//! The map is split into shards; the writer copies the shards that a change touches and swaps them
//! in. A reader sees each shard before or after a change, never in between, and takes no lock.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use arc_swap::ArcSwap;

/// The map. Values are cloned with their shard, so they should be cheap to clone.
pub(crate) struct SnapshotMap<K, V> {
    shards: Box<[ArcSwap<HashMap<K, V>>]>,
    hasher: RandomState,
}

impl<K: Hash + Eq + Clone, V: Clone> SnapshotMap<K, V> {
    /// An empty map of `shards` shards: more shards make a change cheaper, and an empty map larger.
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards.max(1)).map(|_| ArcSwap::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The value at `key`.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.shards
            .get(self.shard_of(key))?
            .load()
            .get(key)
            .cloned()
    }

    /// All values, shard by shard.
    pub(crate) fn values(&self) -> Vec<V> {
        self.shards
            .iter()
            .flat_map(|shard| shard.load().values().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Changes the entries of `keys`: `change` gets the current value and returns the new one. For
    /// the only writer: of two concurrent changes, one would be lost.
    pub(crate) fn change(
        &self,
        keys: impl IntoIterator<Item = K>,
        mut change: impl FnMut(&K, Option<V>) -> Option<V>,
    ) {
        let mut keys: Vec<(usize, K)> = keys
            .into_iter()
            .map(|key| (self.shard_of(&key), key))
            .collect();
        keys.sort_by_key(|(shard, _)| *shard);
        for group in keys.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(shard) = group.first().and_then(|(shard, _)| self.shards.get(*shard)) else {
                continue;
            };
            let mut map = HashMap::clone(&shard.load());
            for (_, key) in group {
                let old = map.remove(key);
                if let Some(new) = change(key, old) {
                    map.insert(key.clone(), new);
                }
            }
            shard.store(Arc::new(map));
        }
    }

    fn shard_of(&self, key: &K) -> usize {
        // Truncation is fine: any bits of a hash work.
        #[allow(clippy::cast_possible_truncation)]
        let hash = self.hasher.hash_one(key) as usize;
        hash % self.shards.len()
    }
}
