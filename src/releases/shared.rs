//! What the readers of the index, its writer and its watches share.

use std::sync::{
    Arc,
    atomic::Ordering::{Relaxed, Release},
};

use helm_guard_core::helm::storage::Driver;
use tokio::sync::mpsc;

use super::{
    directory::Directory,
    health::{Counters, Progress, WatchHealth, count},
    index::Scope,
    key::RecordKey,
    lines::UNREADABLE,
    message::Message,
    reader::{ReadError, Reader},
    store::Store,
};

pub(super) struct Shared {
    pub(super) directory: Arc<Directory>,
    pub(super) store: Arc<Store>,
    pub(super) reader: Reader,
    pub(super) counters: Arc<Counters>,
    pub(super) progress: Progress,
    pub(super) watches: Vec<Arc<WatchHealth>>,
    pub(super) messages: mpsc::Sender<Message>,
}

impl Shared {
    /// A body could not be read.
    pub(super) fn read_failed(&self, record: &RecordKey, error: &ReadError) {
        match error {
            ReadError::Get(_) | ReadError::Gone => count(&self.counters.fetch_errors),
            _ => count(&self.counters.decode_errors),
        }
        if UNREADABLE.may_tell(&record.storage.namespace) {
            tracing::warn!(%record, %error, "a release record can not be read");
        }
    }

    /// The writer has taken a batch, in which the lists of these scopes were completed.
    pub(super) fn progress(&self, listed: &[Scope], wanted: usize) {
        // Before the lists are seen as done: who sees that must not find that nothing is wanted.
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

    /// Latched: every record has been seen, and every body needed was read. A driver that the guard may not
    /// read anywhere is left out, if another one is read: then nobody keeps records in it, or nobody
    /// wants them guarded.
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
