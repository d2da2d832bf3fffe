//! The tasks that fill the index: the watches and the writer.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinSet};

use super::{message::Message, shared::Shared, watch::Watch, writer::IndexWriter};

/// The tasks that fill the index.
pub struct IndexWorker {
    pub(super) shared: Arc<Shared>,
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) index_bytes: usize,
    pub(super) renew_watch_after: u32,
}

impl IndexWorker {
    /// Watches, fetches and writes. Only returns after a panic of one of its tasks; all tasks stop
    /// when it is dropped.
    pub async fn run(self) {
        let mut tasks = JoinSet::new();
        for health in &self.shared.watches {
            let watch = Watch {
                client: self.shared.reader.client().clone(),
                renew_after: self.renew_watch_after,
                health: Arc::clone(health),
                counters: Arc::clone(&self.shared.counters),
                messages: self.shared.messages.clone(),
            };
            tasks.spawn(watch.run());
        }
        let writer = IndexWriter::new(self.shared, self.index_bytes);
        tasks.spawn(writer.run(self.messages));
        // None of them ends by itself: if one does, all are stopped, and the supervisor of this
        // task notices.
        tasks.join_next().await;
    }
}
