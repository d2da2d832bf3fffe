//! One copy of values that many bodies share: names of charts, sets of kinds.
//!
//! Invariant: values that only the table holds are removed by the time that the table has grown to
//! twice the values in use. A request that still holds a value keeps only its own copy alive.

use std::{collections::HashSet, hash::Hash, sync::Arc};

use parking_lot::Mutex;

/// The table.
pub struct Interner<T: ?Sized> {
    table: Mutex<Interned<T>>,
}

struct Interned<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// The number of values at which unused ones are removed.
    sweep_at: usize,
}

/// The minimum number of values for a cleanup.
const FIRST_SWEEP: usize = 64;

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        let table = Interned {
            values: HashSet::new(),
            sweep_at: FIRST_SWEEP,
        };
        Self {
            table: Mutex::new(table),
        }
    }
}

impl<T: ?Sized + Hash + Eq> Interner<T> {
    /// The shared copy of `value`.
    pub fn intern<V: AsRef<T> + Into<Arc<T>>>(&self, value: V) -> Arc<T> {
        let mut table = self.table.lock();
        if let Some(known) = table.values.get(value.as_ref()) {
            return Arc::clone(known);
        }
        if table.values.len() >= table.sweep_at {
            // Under the lock nobody can take a copy of a value that only the table holds.
            table.values.retain(|value| Arc::strong_count(value) > 1);
            table.sweep_at = (2 * table.values.len()).max(FIRST_SWEEP);
        }
        let value: Arc<T> = value.into();
        table.values.insert(Arc::clone(&value));
        value
    }

    /// Number of values, including unused ones.
    pub fn len(&self) -> usize {
        self.table.lock().values.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_shared() {
        let interner = Interner::<str>::default();
        let (one, two) = (interner.intern("web"), interner.intern("web".to_owned()));
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(interner.len(), 1);
    }

    #[test]
    fn unused_values_are_removed() {
        let interner = Interner::<str>::default();
        let kept = interner.intern("kept");
        for number in 0..10_000 {
            interner.intern(number.to_string());
        }
        assert!(interner.len() <= FIRST_SWEEP, "{}", interner.len());
        assert!(Arc::ptr_eq(&kept, &interner.intern("kept")));
    }
}
