//! One copy of each declared object's text, however many revisions and releases declare the same.
//!
//! Invariant: a text leaves the table with the last body that owns it. A request that still holds
//! it keeps it alive for itself alone.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

/// The table of texts.
#[derive(Default)]
pub struct Interner {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// Each text and how many owners it has.
    texts: HashMap<Arc<str>, usize>,
    bytes: usize,
}

impl Interner {
    /// The one copy of `text`, with one owner more.
    pub fn intern(&self, text: &Arc<str>) -> Arc<str> {
        let mut table = self.table.lock();
        let known = table
            .texts
            .get_key_value(text)
            .map(|(known, _)| Arc::clone(known));
        let text = known.unwrap_or_else(|| {
            table.bytes += text.len();
            Arc::clone(text)
        });
        *table.texts.entry(Arc::clone(&text)).or_default() += 1;
        text
    }

    /// An owner of each of these texts is gone.
    pub fn release<'t>(&self, texts: impl IntoIterator<Item = &'t Arc<str>>) {
        let mut table = self.table.lock();
        for text in texts {
            let Some(owners) = table.texts.get_mut(text) else {
                continue;
            };
            *owners -= 1;
            if *owners == 0 {
                table.texts.remove(text);
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

        interner.release([&one]);
        assert_eq!(interner.len(), 1, "still owned by the other");
        interner.release([&two]);
        assert!(interner.is_empty());
        assert_eq!(interner.bytes(), 0);
        assert_eq!(&*one, "{\"a\":1}", "a request that holds it still has it");
    }

    #[test]
    fn a_text_that_nobody_owns_may_be_released() {
        let interner = Interner::default();
        interner.release([&Arc::from("a")]);
        assert_eq!((interner.len(), interner.bytes()), (0, 0));
    }
}
