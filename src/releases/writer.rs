//! The task that owns the index: it applies the events of watches, fetches and read-throughs, and
//! starts the fetches that the index demands.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
};

use super::{
    body::Body,
    index::{Demand, Index},
    key::{RecordKey, RecordVersion},
    message::Message,
    reader::ReadError,
    shared::Shared,
    view::RevisionContent,
};

/// Events per batch: after each batch, demands are served and progress is reported.
const BATCH: usize = 256;

/// Concurrent fetches of bodies. Each is up to 1 MiB, and as much again while it is decoded.
const FETCHES: usize = 8;

/// Quick attempts before a record that cannot be fetched counts as unreadable.
const QUICK_ATTEMPTS: u32 = 3;

/// How often a record that could not be fetched is retried.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(200))
    .with_factor(3.0)
    .with_max_delay(Duration::from_secs(30))
    .without_max_times();

pub(super) struct IndexWriter {
    shared: Arc<Shared>,
    index: Index,
    /// The queued fetches: a task is many times as large as a name.
    waiting: BTreeMap<RecordKey, RecordVersion>,
    fetches: JoinSet<()>,
    fetching: HashMap<RecordKey, AbortHandle>,
    slots: Arc<Semaphore>,
}

impl IndexWriter {
    pub(crate) fn new(shared: Arc<Shared>, index_bytes: usize) -> Self {
        Self {
            index: Index::within(index_bytes, Arc::clone(&shared.directory)),
            shared,
            waiting: BTreeMap::new(),
            fetches: JoinSet::new(),
            fetching: HashMap::new(),
            slots: Arc::new(Semaphore::new(FETCHES)),
        }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let slots = Arc::clone(&self.slots);
            tokio::select! {
                received = messages.recv_many(&mut batch, BATCH) => match received {
                    0 => return,
                    _ => self.take(&mut batch),
                },
                slot = slots.acquire_owned(), if !self.waiting.is_empty() => match slot {
                    Ok(slot) => self.fetch(slot),
                    // The semaphore is never closed.
                    Err(_) => return,
                },
            }
        }
    }

    fn take(&mut self, batch: &mut Vec<Message>) {
        let mut listed = Vec::new();
        self.index.begin_batch();
        for message in batch.drain(..) {
            match &message {
                Message::RelistDone(scope) => listed.push(scope.clone()),
                Message::Read(key, _, RevisionContent::Body(_)) => drop(self.fetching.remove(key)),
                _ => {}
            }
            take(&mut self.index, message);
        }
        self.index.end_batch();
        for demand in self.index.take_demands() {
            self.serve(demand);
        }
        while self.fetches.try_join_next().is_some() {}
        self.shared.progress(&listed, self.index.wanted());
    }

    fn serve(&mut self, demand: Demand) {
        let (Demand::Fetch(key, _) | Demand::Forget(key)) = &demand;
        if let Some(running) = self.fetching.remove(key) {
            running.abort();
        }
        match demand {
            Demand::Fetch(key, version) => drop(self.waiting.insert(key, version)),
            Demand::Forget(key) => drop(self.waiting.remove(&key)),
        }
    }

    /// Starts one of the queued fetches.
    fn fetch(&mut self, slot: OwnedSemaphorePermit) {
        let Some((key, version)) = self.waiting.pop_first() else {
            return;
        };
        let fetch = Fetch {
            key: key.clone(),
            version,
            shared: Arc::clone(&self.shared),
            slots: Arc::clone(&self.slots),
        };
        let running = self.fetches.spawn(fetch.run(slot));
        self.fetching.insert(key, running);
    }
}

fn take(index: &mut Index, message: Message) {
    match message {
        Message::RelistStarted(scope) => index.relist_started(scope),
        Message::Listed(scope, stored) => index.listed(&scope, stored),
        Message::RelistDone(scope) => index.relist_done(&scope),
        Message::Applied(stored) => index.apply(stored),
        Message::Deleted(stored) => index.delete(&stored),
        Message::Read(key, version, content) => index.insert_body(&key, &version, content),
        Message::Learned(learned) => index.learn(learned),
    }
}

/// The fetch of one body: it continues until it succeeds, until a retry cannot help, or until the
/// writer stops it because the body is no longer needed.
struct Fetch {
    key: RecordKey,
    version: RecordVersion,
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
}

impl Fetch {
    /// Holds a slot while it reads, but not while it waits.
    async fn run(self, slot: OwnedSemaphorePermit) {
        let mut slot = Some(slot);
        for (attempt, delay) in (1..).zip(BACKOFF.build()) {
            let error = match self.attempt(slot.take()).await {
                Ok((version, body)) => {
                    return self
                        .report(version, RevisionContent::Body(Arc::new(body)))
                        .await;
                }
                // The watch is about to report it.
                Err(ReadError::Gone) => {
                    return self
                        .report(self.version.clone(), RevisionContent::Unreadable)
                        .await;
                }
                Err(error) => error,
            };
            self.shared.read_failed(&self.key, &error);
            if !error.is_transient() {
                return self
                    .report(self.version.clone(), RevisionContent::Unreadable)
                    .await;
            }
            if attempt == QUICK_ATTEMPTS {
                self.report(self.version.clone(), RevisionContent::Unreadable)
                    .await;
            }
            tokio::time::sleep(delay).await;
        }
    }

    async fn attempt(
        &self,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<(RecordVersion, Body), ReadError> {
        let _slot = match slot {
            Some(slot) => slot,
            None => Arc::clone(&self.slots)
                .acquire_owned()
                .await
                .map_err(|_| ReadError::Decoder)?,
        };
        let reader = &self.shared.reader;
        reader.body(&self.key, &reader.once()).await
    }

    async fn report(&self, version: RecordVersion, content: RevisionContent) {
        // A stopped writer needs no body.
        let _ = self
            .shared
            .messages
            .send(Message::Read(self.key.clone(), version, content))
            .await;
    }
}
