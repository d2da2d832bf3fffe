//! The key of an object in the index: hashes of its names, in one word.
//!
//! The upper half is of group, kind and name, the lower half of the namespace: so the key of a
//! namespaced object is one number, and all objects of one name are adjacent when keys are sorted.
//!
//! Invariant: equal names have equal keys. Different names may have the same key, so the object
//! itself must be checked.

use std::{
    hash::{BuildHasher, RandomState},
    ops::RangeInclusive,
    sync::LazyLock,
};

use helm_guard_core::helm::identity::current_group;

/// One per process, because bodies are created without a directory; random, so that nobody can
/// choose names that collide.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The bits of the namespace's half.
const NAMESPACE_BITS: u32 = 32;
const NAMESPACE_MASK: u64 = (1 << NAMESPACE_BITS) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectKey(u64);

impl ObjectKey {
    /// The key of an object in a namespace. A kind that moved to another group has one key under either group.
    pub(crate) fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        let group = current_group(group, kind);
        let named = HASHER.hash_one((group, kind, name));
        let namespace = HASHER.hash_one(namespace);
        Self(named & !NAMESPACE_MASK | namespace & NAMESPACE_MASK)
    }

    /// The keys under which an object may be stored: one in a namespace; if `namespace` is empty,
    /// so that the object is cluster-scoped, those of every namespace, because a document may name
    /// one that is ignored.
    pub(crate) fn wanted(
        group: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> RangeInclusive<ObjectKey> {
        let key = Self::new(group, kind, namespace, name);
        if namespace.is_empty() {
            Self(key.0 & !NAMESPACE_MASK)..=Self(key.0 | NAMESPACE_MASK)
        } else {
            key..=key
        }
    }

    /// The part of the map for a key; the same for all objects of one name.
    pub(crate) fn part_of(self, parts: usize) -> usize {
        // Truncation is fine: any bits of a hash work.
        #[allow(clippy::cast_possible_truncation)]
        let named = (self.0 >> NAMESPACE_BITS) as usize;
        named % parts.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_one_name_are_adjacent_and_distinguished_by_namespace() {
        let key = |namespace| ObjectKey::new("apps", "Deployment", namespace, "web");
        let wanted = |namespace| ObjectKey::wanted("apps", "Deployment", namespace, "web");
        assert!(wanted("shop").contains(&key("shop")));
        assert!(!wanted("shop").contains(&key("test")));
        for namespace in ["", "shop", "test"] {
            assert!(wanted("").contains(&key(namespace)));
            assert_eq!(key(namespace).part_of(1024), key("shop").part_of(1024));
        }
        let others = [
            ObjectKey::new("", "Deployment", "shop", "web"),
            ObjectKey::new("apps", "Deploymen", "shop", "tweb"),
            ObjectKey::new("apps", "Deployment", "shop", "web2"),
        ];
        let moved = ObjectKey::new("extensions", "Deployment", "shop", "web");
        assert_eq!(moved, key("shop"));
        assert!(others.iter().all(|other| !wanted("").contains(other)));
    }
}
