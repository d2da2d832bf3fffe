//! One copy of each declared object's text, however many revisions and releases declare the same.
//!
//! Invariant: a text whose last body is gone leaves the table with it. Only texts that a request
//! holds at that very moment may outlive their body here; a sweep bounds them.

use std::{collections::HashSet, sync::Arc};

use parking_lot::Mutex;

/// The table of texts.
#[derive(Default)]
pub struct Interner {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    texts: HashSet<Arc<str>>,
    bytes: usize,
    sweep_at: usize,
}

/// The table is swept when it has doubled since the last sweep, but not while it is small.
const SMALLEST_SWEEP: usize = 1024;

impl Interner {
    /// The one copy of `text`.
    pub fn intern(&self, text: &Arc<str>) -> Arc<str> {
        let mut table = self.table.lock();
        if let Some(known) = table.texts.get(text) {
            return Arc::clone(known);
        }
        table.bytes += text.len();
        table.texts.insert(Arc::clone(text));
        if table.texts.len() > table.sweep_at.max(SMALLEST_SWEEP) {
            table.sweep();
        }
        Arc::clone(text)
    }

    /// Gives back texts that their owner does not use any more.
    pub fn release(&self, texts: impl IntoIterator<Item = Arc<str>>) {
        let mut table = self.table.lock();
        for text in texts {
            // Two: the table's and this one.
            if Arc::strong_count(&text) == 2 && table.texts.remove(&text) {
                table.bytes -= text.len();
            }
        }
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.table.lock().texts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of text.
    pub fn bytes(&self) -> usize {
        self.table.lock().bytes
    }
}

impl Table {
    fn sweep(&mut self) {
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.bytes = self.texts.iter().map(|text| text.len()).sum();
        self.sweep_at = self.texts.len() * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_and_leave_with_their_last_owner() {
        let interner = Interner::default();
        let one = interner.intern(&Arc::from("{\"a\":1}"));
        let two = interner.intern(&Arc::from("{\"a\":1}"));
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!((interner.len(), interner.bytes()), (1, 7));

        interner.release([one]);
        assert_eq!(interner.len(), 1, "still owned by the other");
        interner.release([two]);
        assert!(interner.is_empty());
        assert_eq!(interner.bytes(), 0);
    }

    #[test]
    fn texts_held_when_they_were_released_do_not_pile_up() {
        let interner = Interner::default();
        for n in 0..10 * SMALLEST_SWEEP {
            let text = interner.intern(&Arc::from(format!("{n}")));
            let held_by_a_request = Arc::clone(&text);
            interner.release([text]);
            drop(held_by_a_request);
        }
        assert!(interner.len() <= SMALLEST_SWEEP + 1, "{}", interner.len());
    }
}
