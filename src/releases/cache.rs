//! A cache of the most recently used objects, unpacked: the same few are needed again and again.
//!
//! Two generations: used objects are in the young one; when it is full, it replaces the old one. So
//! each step takes constant time whatever the size, and objects not used for a full generation are
//! dropped.
//!
//! Invariants
//! - The total [`cost`] never exceeds the limit of [`Cache::new`].
//! - No lock is held while something is unpacked or freed.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
};

use helm_guard_core::helm::identity::DeclaredObject;
use parking_lot::Mutex;

/// An object: the number of its body, which is never reused, and its position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// [`Cache::number`].
    pub body: u64,
    /// A number that is unique within the body.
    pub place: u64,
}

/// The overhead of an object for names and tables, in bytes.
const NAMES: usize = 384;

/// Declared objects that were unpacked lately, in two generations.
pub struct Cache {
    /// The limit of one generation, in bytes.
    limit: usize,
    generations: Mutex<Generations>,
    bodies: AtomicU64,
}

#[derive(Default)]
struct Generations {
    young: Generation,
    old: HashMap<CacheKey, Arc<DeclaredObject>>,
}

#[derive(Default)]
struct Generation {
    objects: HashMap<CacheKey, Arc<DeclaredObject>>,
    bytes: usize,
}

impl Cache {
    /// An empty cache with this limit in bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            limit: bytes / 2,
            generations: Mutex::default(),
            bodies: AtomicU64::new(0),
        }
    }

    /// Whether a cache with this limit accepts an object with this many bytes of JSON.
    pub const fn takes(bytes: usize, json: usize) -> bool {
        json + NAMES <= bytes / 2
    }

    /// A number for a body.
    pub fn number(&self) -> u64 {
        self.bodies
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    /// The object, if it is cached.
    pub fn get(&self, key: CacheKey) -> Option<Arc<DeclaredObject>> {
        let mut generations = self.generations.lock();
        if let Some(object) = generations.young.objects.get(&key) {
            return Some(Arc::clone(object));
        }
        let object = generations.old.remove(&key)?;
        let gone = generations.keep(key, Arc::clone(&object), self.limit);
        drop(generations);
        drop(gone);
        Some(object)
    }

    /// Caches an object, unless it is too large.
    pub fn insert(&self, key: CacheKey, object: &Arc<DeclaredObject>) {
        if cost(object) > self.limit {
            return;
        }
        let mut generations = self.generations.lock();
        let gone = generations.keep(key, Arc::clone(object), self.limit);
        drop(generations);
        drop(gone);
    }
}

impl Generations {
    /// Returns what must be freed, so that the caller can do it without the lock.
    fn keep(
        &mut self,
        key: CacheKey,
        object: Arc<DeclaredObject>,
        limit: usize,
    ) -> Option<HashMap<CacheKey, Arc<DeclaredObject>>> {
        let cost = cost(&object);
        let gone = (self.young.bytes + cost > limit).then(|| {
            let full = std::mem::take(&mut self.young);
            std::mem::replace(&mut self.old, full.objects)
        });
        if self.young.objects.insert(key, object).is_none() {
            self.young.bytes += cost;
        }
        gone
    }
}

/// The size of an object in bytes: its text, and the overhead for names and tables.
pub fn cost(object: &DeclaredObject) -> usize {
    object.json.len() + NAMES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(bytes: usize) -> Arc<DeclaredObject> {
        Arc::new(DeclaredObject {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: None,
            name: "a".to_owned(),
            source: None,
            line: 1,
            keep: false,
            json: "x".repeat(bytes).into(),
        })
    }

    fn key(place: u64) -> CacheKey {
        CacheKey { body: 7, place }
    }

    impl Cache {
        fn held(&self) -> usize {
            let generations = self.generations.lock();
            let young = generations.young.objects.values();
            young
                .chain(generations.old.values())
                .map(|object| cost(object))
                .sum()
        }
    }

    #[test]
    fn the_cache_stays_within_its_limit_and_has_the_latest_objects() {
        let limit = 20 * cost(&object(1000));
        let cache = Cache::new(limit);
        for place in 0..1000 {
            let size = usize::try_from(place % 7).unwrap() * 300;
            cache.insert(key(place), &object(size));
            assert!(cache.held() <= limit, "{} after {place}", cache.held());
            assert!(cache.get(key(place)).is_some());
        }
        assert!(cache.get(key(0)).is_none());
    }

    #[test]
    fn frequently_used_objects_stay_cached() {
        let cache = Cache::new(20 * cost(&object(1000)));
        let hot = object(1000);
        cache.insert(key(0), &hot);
        for place in 1..1000 {
            cache.insert(key(place), &object(1000));
            let found = cache.get(key(0)).expect("it was asked for a moment ago");
            assert!(Arc::ptr_eq(&found, &hot));
        }
    }

    #[test]
    fn an_oversized_object_is_not_cached_and_evicts_nothing() {
        let cache = Cache::new(4 * cost(&object(100)));
        cache.insert(key(1), &object(100));
        cache.insert(key(2), &object(100_000));
        assert!(cache.get(key(2)).is_none() && cache.get(key(1)).is_some());
    }

    #[test]
    fn an_object_that_is_inserted_twice_counts_once() {
        let cache = Cache::new(8 * cost(&object(100)));
        for _ in 0..100 {
            cache.insert(key(1), &object(100));
        }
        cache.insert(key(2), &object(100));
        assert!(cache.get(key(1)).is_some() && cache.get(key(2)).is_some());
        let generations = cache.generations.lock();
        assert!(generations.old.is_empty());
    }

    #[test]
    fn no_two_bodies_have_the_same_number() {
        let cache = Cache::new(1000);
        cache.insert(key(1), &object(1));
        assert!(cache.number() != cache.number());
        let other = CacheKey { body: 8, place: 1 };
        assert!(cache.get(other).is_none());
    }
}
