//! What finds an object in the index: hashes of its name, in one word.
//!
//! The upper half is of group, kind and name, the lower half of the namespace: so the key of a
//! namespaced object is one number, and all objects of one name are neighbours when keys are sorted.
//!
//! Invariant: equal names have equal keys. Other names may have the same key; whoever finds one looks
//! at the object itself.

use std::{
    hash::{BuildHasher, RandomState},
    ops::RangeInclusive,
    sync::LazyLock,
};

use helm_guard_core::helm::identity::current_group;

/// One for the process, since bodies are made where no directory is; another in each process, so
/// that nobody can choose names that collide.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Bits of the namespace's half.
const NAMESPACE_BITS: u32 = 32;
const NAMESPACE_MASK: u64 = (1 << NAMESPACE_BITS) - 1;

/// The key of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(u64);

impl ObjectKey {
    /// Of an object in a namespace. A kind that moved has one key, by whichever group it is named.
    pub fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        let group = current_group(group, kind);
        let named = HASHER.hash_one((group, kind, name));
        let namespace = HASHER.hash_one(namespace);
        Self(named & !NAMESPACE_MASK | namespace & NAMESPACE_MASK)
    }

    /// The keys under which an object may be known: one in a namespace, and where `namespace` is
    /// empty, so that the object is cluster-scoped, those of every namespace that a document may
    /// name without any meaning.
    pub fn wanted(
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

    /// One of so many parts that keys are spread over; the same for all objects of one name.
    pub fn part_of(self, parts: usize) -> usize {
        // Truncation is fine: any bits of a hash will do.
        #[allow(clippy::cast_possible_truncation)]
        let named = (self.0 >> NAMESPACE_BITS) as usize;
        named % parts.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_one_name_are_neighbours_and_a_namespace_tells_them_apart() {
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
