//! The state that the index's readers, writer and watches share.

use std::sync::{
    Arc,
    atomic::Ordering::{Relaxed, Release},
};

use helm_guard_core::helm::storage::Driver;
use tokio::sync::mpsc;

use super::{
    directory::Directory,
    health::{Counters, Progress, WatchHealth, count},
    index::WatchScope,
    key::RecordKey,
    lines::UNREADABLE,
    message::Message,
    reader::{ReadError, Reader},
    store::BodyStore,
};

pub(super) struct Shared {
    pub(super) directory: Arc<Directory>,
    pub(super) store: Arc<BodyStore>,
    pub(super) reader: Reader,
    pub(super) counters: Arc<Counters>,
    pub(super) progress: Progress,
    pub(super) watches: Vec<Arc<WatchHealth>>,
    pub(super) messages: mpsc::Sender<Message>,
}

impl Shared {
    /// Counts and logs a body that could not be read.
    pub(super) fn read_failed(&self, record: &RecordKey, error: &ReadError) {
        match error {
            ReadError::Get(_) | ReadError::Gone => count(&self.counters.fetch_errors),
            _ => count(&self.counters.decode_errors),
        }
        if UNREADABLE.may_log(&record.storage.namespace) {
            tracing::warn!(%record, %error, "failed to read a release record");
        }
    }

    /// Called after a batch of the writer, in which the lists of these scopes were completed.
    pub(super) fn progress(&self, listed: &[WatchScope], wanted: usize) {
        // Before the lists count as complete: readers of that state must see the demands.
        self.progress.wanted.store(wanted as u64, Release);
        for watch in self
            .watches
            .iter()
            .filter(|watch| listed.contains(watch.scope()))
        {
            watch.listed();
        }
        self.is_complete();
    }

    /// Latched: every record has been seen, and every needed body was read. A driver that the guard may not
    /// read anywhere is skipped if another one is read: then it is not used, or its records should not be
    /// guarded.
    pub(super) fn is_complete(&self) -> bool {
        let is_done =
            |watch: &Arc<WatchHealth>| watch.is_listed() || self.is_left_out(watch.scope().driver);
        if self.progress.wanted.load(Relaxed) == 0
            && self.watches.iter().any(|watch| watch.is_listed())
            && self.watches.iter().all(is_done)
        {
            self.progress.complete.store(true, Relaxed);
        }
        self.progress.complete.load(Relaxed)
    }

    /// Whether the guard may not read this driver's records anywhere.
    pub(super) fn is_left_out(&self, driver: Driver) -> bool {
        let mut of = self
            .watches
            .iter()
            .filter(|watch| watch.scope().driver == driver);
        of.all(|watch| watch.is_forbidden())
    }
}
