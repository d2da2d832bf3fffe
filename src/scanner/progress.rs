//! How far a scan is, for whoever waits for it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The kinds and objects that a scan has looked at. It is written while the scan runs.
#[derive(Debug, Default)]
pub(crate) struct ScanProgress {
    kinds: AtomicUsize,
    done: AtomicUsize,
    objects: AtomicUsize,
}

impl ScanProgress {
    /// Expects this many more kinds.
    pub(crate) fn expect(&self, kinds: usize) {
        self.kinds.fetch_add(kinds, Relaxed);
    }

    /// One more kind is done, with this many objects.
    pub(crate) fn advance(&self, objects: usize) {
        self.done.fetch_add(1, Relaxed);
        self.objects.fetch_add(objects, Relaxed);
    }

    /// How many kinds are done, and of how many.
    pub(crate) fn kinds(&self) -> (usize, usize) {
        (self.done.load(Relaxed), self.kinds.load(Relaxed))
    }

    /// How many objects were looked at.
    pub(crate) fn objects(&self) -> usize {
        self.objects.load(Relaxed)
    }
}
