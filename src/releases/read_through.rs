//! Reads a release's records again, from the API server, before anything is denied.
//!
//! Helm writes the record before it touches an object, so one consistent list always shows the
//! operation that a request belongs to; a watch may be milliseconds or minutes late.
//!
//! Invariants
//! - A request only uses a list that began after the request arrived. One already under way may
//!   miss a record that was written just before the request was sent.
//! - For each release at most one list is under way, and one more may wait for it; however many
//!   requests come, they share that next one.
//! - A failure is a failure: it never looks like "no record".

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout_at};

use super::{
    Releases, Shared,
    health::count,
    index::Learned,
    key::{RecordKey, StorageKey, Version},
    reader::{Listing, ReadError},
    view::{Content, ReleaseView, RevisionView},
    writer::Message,
};
use crate::{
    cluster::ApiFailure,
    guard::{Claim, ObjectRef},
    helm::{ReleaseName, lifecycle},
};

/// Why the records could not be read again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadThroughError {
    /// The list failed.
    #[error("failed to list the records of release {release}: {failure}")]
    List {
        /// Where the records are.
        release: Arc<StorageKey>,
        /// Why.
        failure: ApiFailure,
    },
    /// A record that the list holds could not be fetched.
    #[error("failed to read release record {record}: {cause}")]
    Get {
        /// The record.
        record: RecordKey,
        /// Why.
        cause: Arc<ReadError>,
    },
    /// The records changed each time while they were read.
    #[error("failed to read the records of release {release}: they keep changing")]
    Unsteady {
        /// Where the records are.
        release: Arc<StorageKey>,
    },
    /// No answer before the deadline.
    #[error("failed to read release records in time")]
    Deadline,
    /// The task that read stopped.
    #[error("failed to read release records: the reader stopped")]
    Stopped,
}

/// A list whose records vanish before their bodies are read is made again so many times.
const ATTEMPTS: usize = 3;

/// Nobody waits longer than the webhook's deadline of a few seconds; this only keeps a stuck call
/// from holding up the next list for ever.
const LONGEST_READ: Duration = Duration::from_secs(10);

/// Access to the records as they are now. Cheap to clone.
#[derive(Clone)]
pub struct ReadThrough {
    state: Arc<State>,
}

struct State {
    releases: Arc<Shared>,
    /// The releases that are being read, and who waits for the next read of each.
    flights: Mutex<HashMap<Arc<StorageKey>, Vec<Waiter>>>,
}

type Answer = Result<Arc<ReleaseView>, ReadThroughError>;
type Waiter = oneshot::Sender<Answer>;

impl ReadThrough {
    /// Reads for the index `releases`, and lets it know what it learns.
    pub fn new(releases: &Releases) -> Self {
        let state = State {
            releases: Arc::clone(&releases.shared),
            flights: Mutex::default(),
        };
        Self {
            state: Arc::new(state),
        }
    }

    /// What the releases that claim an object say about it now.
    ///
    /// Reads every release that claims the object in the index, and those that the object names
    /// (see [`Directory::to_read`](super::Directory::to_read)); empty when none of them declares it
    /// any more.
    pub async fn fresh_claims(
        &self,
        object: &ObjectRef<'_>,
        named: &[ReleaseName],
        deadline: Instant,
    ) -> Result<Vec<Claim>, ReadThroughError> {
        let ObjectRef {
            group,
            kind,
            namespace,
            name,
        } = object;
        let directory = &self.state.releases.directory;
        let mut storages = directory.to_read(object, named);
        // Where the guard is not meant to look, a name in an object is no reason to.
        storages.retain(|storage| self.is_watched(storage));
        let reads = try_join_all(storages.iter().map(|storage| self.read(storage)));
        let answer = timeout_at(deadline.into(), reads)
            .await
            .unwrap_or(Err(ReadThroughError::Deadline));
        let counters = &self.state.releases.counters;
        match answer {
            Ok(views) => {
                count(&counters.read_throughs);
                let namespace = super::directory::scope(group, kind, namespace);
                Ok(views
                    .iter()
                    .filter_map(|view| view.claim(group, kind, namespace, name))
                    .collect())
            }
            Err(error) => {
                count(&counters.read_through_errors);
                Err(error)
            }
        }
    }

    pub(super) fn releases(&self) -> &Shared {
        &self.state.releases
    }

    fn is_watched(&self, storage: &StorageKey) -> bool {
        let watches = &self.state.releases.watches;
        watches.iter().any(|watch| watch.scope().covers(storage))
    }

    pub(super) async fn read(&self, storage: &Arc<StorageKey>) -> Answer {
        let (waiter, answer) = oneshot::channel();
        self.enqueue(storage, waiter);
        answer.await.unwrap_or(Err(ReadThroughError::Stopped))
    }

    /// Promises `waiter` the answer of the next read that has not begun yet.
    fn enqueue(&self, storage: &Arc<StorageKey>, waiter: Waiter) {
        let mut flights = self.state.flights.lock();
        if let Some(waiting) = flights.get_mut(storage) {
            waiting.push(waiter);
            return;
        }
        flights.insert(Arc::clone(storage), Vec::new());
        let flight = Flight {
            storage: Arc::clone(storage),
            state: Arc::downgrade(&self.state),
        };
        // A task of its own: the request that started it may give up, others may not.
        tokio::spawn(flight.run(Arc::clone(&self.state.releases), vec![waiter]));
    }
}

/// The reads of one release, one after the other while anyone waits.
struct Flight {
    storage: Arc<StorageKey>,
    state: Weak<State>,
}

impl Flight {
    async fn run(self, releases: Arc<Shared>, mut waiters: Vec<Waiter>) {
        while !waiters.is_empty() {
            let read = tokio::time::timeout(LONGEST_READ, read(&releases, &self.storage)).await;
            let answer = read.unwrap_or(Err(ReadThroughError::Deadline));
            for waiter in waiters {
                // A waiter that is gone has given up.
                let _ = waiter.send(answer.clone());
            }
            waiters = self.next_waiters();
        }
    }

    /// Those who came while the last read was under way. When there are none the flight is over.
    fn next_waiters(&self) -> Vec<Waiter> {
        let Some(state) = self.state.upgrade() else {
            return Vec::new();
        };
        let mut flights = state.flights.lock();
        match flights.get_mut(&self.storage) {
            Some(waiting) if !waiting.is_empty() => std::mem::take(waiting),
            _ => {
                flights.remove(&self.storage);
                Vec::new()
            }
        }
    }
}

impl Drop for Flight {
    /// After a panic nobody may wait for this flight for ever.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(state) = self.state.upgrade()
        {
            state.flights.lock().remove(&self.storage);
        }
    }
}

async fn read(releases: &Shared, storage: &Arc<StorageKey>) -> Answer {
    for _ in 0..ATTEMPTS {
        count(&releases.counters.read_through_lists);
        let relists = releases.directory.relists();
        let listing =
            releases
                .reader
                .list(storage)
                .await
                .map_err(|failure| ReadThroughError::List {
                    release: Arc::clone(storage),
                    failure,
                })?;
        for error in &listing.refused {
            tracing::warn!(release = %storage, %error, "ignored an object that is labelled as a release record");
        }
        if let Some(view) = view(releases, storage, &listing).await? {
            let learned = Learned {
                storage: Arc::clone(storage),
                list_version: listing.version,
                relists,
                records: listing.records,
                bodies: view.revisions.clone(),
            };
            // The watch will tell the same sooner or later; a full queue is no reason to wait.
            let _ = releases.messages.try_send(Message::Learned(learned));
            return Ok(Arc::new(view));
        }
    }
    Err(ReadThroughError::Unsteady {
        release: Arc::clone(storage),
    })
}

/// The release as `listing` has it; `None` when a record vanished in the meantime.
async fn view(
    releases: &Shared,
    storage: &Arc<StorageKey>,
    listing: &Listing,
) -> Result<Option<ReleaseView>, ReadThroughError> {
    let statuses: Vec<_> = listing
        .records
        .iter()
        .map(|stored| (stored.key.revision, stored.status))
        .collect();
    let active = lifecycle::active_set(&statuses);
    let newest = statuses.iter().max_by_key(|(revision, _)| *revision);
    let known = releases.directory.release(storage);
    let mut revisions = Vec::new();
    for revision in active.iter().flat_map(lifecycle::ActiveSet::revisions) {
        let Some(stored) = listing
            .records
            .iter()
            .find(|stored| stored.key.revision == revision)
        else {
            continue;
        };
        let body = known
            .as_ref()
            .and_then(|view| view.body_at(revision, &stored.version));
        let read = match body {
            Some(body) => Some((stored.version.clone(), Content::Body(Arc::clone(body)))),
            None => fetch(releases, &stored.key, &stored.version).await?,
        };
        let Some((version, content)) = read else {
            return Ok(None);
        };
        revisions.push(RevisionView {
            revision,
            version,
            content,
        });
    }
    Ok(Some(ReleaseView {
        storage: Arc::clone(storage),
        newest: newest.map(|(revision, _)| *revision).unwrap_or_default(),
        status: newest.map_or(lifecycle::Status::Unknown, |(_, status)| *status),
        phase: active.map(|active| active.phase),
        revisions,
        records: statuses.len(),
        latest: None,
    }))
}

async fn fetch(
    releases: &Shared,
    key: &RecordKey,
    version: &Version,
) -> Result<Option<(Version, Content)>, ReadThroughError> {
    match releases.reader.body(key).await {
        Ok((version, body)) => Ok(Some((version, Content::Body(Arc::new(body))))),
        Err(ReadError::Gone) => Ok(None),
        Err(error) if error.is_transient() => Err(ReadThroughError::Get {
            record: key.clone(),
            cause: Arc::new(error),
        }),
        Err(error) => {
            releases.read_failed(key, &error);
            Ok(Some((version.clone(), Content::Unreadable)))
        }
    }
}
