//! One copy of what many bodies have alike: names of charts, sets of kinds.
//!
//! Invariant: what nobody but the table has leaves it by the time that the table has grown to twice
//! what was in use. A request that still holds a value keeps it alive for itself alone.

use std::{collections::HashSet, hash::Hash, sync::Arc};

use parking_lot::Mutex;

/// The table.
pub struct Interner<T: ?Sized> {
    table: Mutex<Table<T>>,
}

struct Table<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// At so many values those that nobody has are looked for.
    sweep_at: usize,
}

/// Not worth looking for fewer.
const FIRST_SWEEP: usize = 64;

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        let table = Table {
            values: HashSet::new(),
            sweep_at: FIRST_SWEEP,
        };
        Self {
            table: Mutex::new(table),
        }
    }
}

impl<T: ?Sized + Hash + Eq> Interner<T> {
    /// The one copy of `value`.
    pub fn intern<V: AsRef<T> + Into<Arc<T>>>(&self, value: V) -> Arc<T> {
        let mut table = self.table.lock();
        if let Some(known) = table.values.get(value.as_ref()) {
            return Arc::clone(known);
        }
        if table.values.len() >= table.sweep_at {
            // Under the lock nobody can take another copy of what only the table has.
            table.values.retain(|value| Arc::strong_count(value) > 1);
            table.sweep_at = (2 * table.values.len()).max(FIRST_SWEEP);
        }
        let value: Arc<T> = value.into();
        table.values.insert(Arc::clone(&value));
        value
    }

    /// Number of values, those that nobody has any more too.
    pub fn len(&self) -> usize {
        self.table.lock().values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one() {
        let interner = Interner::<str>::default();
        let (one, two) = (interner.intern("web"), interner.intern("web".to_owned()));
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(interner.len(), 1);
    }

    #[test]
    fn what_nobody_has_any_more_does_not_stay_for_ever() {
        let interner = Interner::<str>::default();
        let kept = interner.intern("kept");
        for number in 0..10_000 {
            interner.intern(number.to_string());
        }
        assert!(interner.len() <= FIRST_SWEEP, "{}", interner.len());
        assert!(Arc::ptr_eq(&kept, &interner.intern("kept")));
    }
}
