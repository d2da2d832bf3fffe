//! Reads a release's records again, from the API server, before anything is denied.
//!
//! Helm writes the record before it touches an object, so a consistent list always contains the
//! operation that a request belongs to; a watch may be milliseconds or minutes late.
//!
//! Invariants
//! - A request only uses a list that started after the request arrived. A running one may miss a
//!   record that was written just before the request was sent.
//! - For each release, at most one list runs and one more may wait for it; any number of requests
//!   share the next one.
//! - A failure is never treated as "no record".
//! - A silently dead connection causes a delay, not a failure ([`crate::cluster::hedge`]).

mod flight;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use helm_guard_core::{
    guard::{Claim, ObjectRef},
    helm::ReleaseName,
};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout_at};

use self::flight::Flight;
use super::{
    directory::marked,
    handle::Releases,
    health::count,
    key::{RecordKey, StorageKey},
    reader::ReadError,
    shared::Shared,
    view::ReleaseView,
};
use crate::cluster::ApiFailure;

/// Why the records could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadThroughError {
    /// The list failed.
    #[error("failed to list the records of release {release}: {failure}")]
    List {
        /// The storage of the records.
        release: Arc<StorageKey>,
        /// Why.
        failure: ApiFailure,
    },
    /// A listed record could not be fetched.
    #[error("failed to read release record {record}: {cause}")]
    Get {
        /// Which one, of those that the list named.
        record: RecordKey,
        /// Why.
        cause: Arc<ReadError>,
    },
    /// The records changed during every attempt.
    #[error("failed to read the records of release {release}: they keep changing")]
    Unsteady {
        /// Where the records are.
        release: Arc<StorageKey>,
    },
    /// There are more records than in any real history.
    #[error("failed to read the records of release {release}: there are too many")]
    TooManyRecords {
        /// Where the records are.
        release: Arc<StorageKey>,
    },
    /// There are more claiming releases than are read.
    #[error("failed to read the records of all releases that claim the object: there are too many")]
    TooManyClaims,
    /// There was no answer before the deadline.
    #[error("failed to read release records in time")]
    Deadline,
    /// The reading task stopped.
    #[error("failed to read release records: the reader stopped")]
    Stopped,
}

/// The releases to read.
#[derive(Clone, Copy, Debug)]
pub struct WantedRecords<'a> {
    /// The claims that count according to the index, the most relevant first.
    pub claims: &'a [Claim],
    /// The releases that the object names as its owner, before and after the request.
    pub named: &'a [ReleaseName],
}

/// What was read.
#[derive(Debug, Default)]
pub struct Fresh {
    /// The claims of the releases that could be read.
    pub claims: Vec<Claim>,
    /// The failures of the others.
    pub unread: Vec<Unread>,
}

/// Records that could not be read.
#[derive(Debug)]
pub struct Unread {
    /// Their storage.
    pub storage: Arc<StorageKey>,
    /// Why.
    pub error: ReadThroughError,
}

/// The maximum number of claimants, and of releases that an object names, that are read for one
/// request. More claims on an object do not occur by accident.
const MOST_READ: usize = 16;

/// Timeout for a release that only the object names: a name must not delay the answer.
const NAMED_PATIENCE: Duration = Duration::from_millis(1500);

/// Access to the current records. Cheap to clone.
#[derive(Clone)]
pub struct ReadThrough {
    state: Arc<ReadState>,
}

struct ReadState {
    releases: Arc<Shared>,
    /// The releases that are being read, and the waiters for the next read of each.
    flights: Mutex<HashMap<Arc<StorageKey>, Vec<Waiter>>>,
}

pub(super) type ReadAnswer = Result<Arc<ReleaseView>, ReadThroughError>;
type Waiter = oneshot::Sender<ReadAnswer>;

impl ReadThrough {
    /// Reads for the index `releases`, and passes it the results.
    pub fn new(releases: &Releases) -> Self {
        let state = ReadState {
            releases: Arc::clone(&releases.shared),
            flights: Mutex::default(),
        };
        Self {
            state: Arc::new(state),
        }
    }

    /// The current claims of the releases that claim an object, and of those that it names. Each is
    /// read separately: a failure does not affect the others.
    pub async fn fresh_claims(
        &self,
        object: &ObjectRef<'_>,
        wanted: &WantedRecords<'_>,
        deadline: Instant,
    ) -> Fresh {
        let directory = &self.state.releases.directory;
        let mut to_read = directory.to_read(wanted.claims, wanted.named);
        let left_out = to_read
            .claimants
            .split_off(MOST_READ.min(to_read.claimants.len()));
        // A name in an object does not make the guard read outside of its scope.
        to_read.named.retain(|storage| self.is_watched(storage));
        to_read.named.truncate(MOST_READ);
        let soon = deadline.min(Instant::now() + NAMED_PATIENCE);
        let claimants = to_read
            .claimants
            .into_iter()
            .map(|storage| (storage, deadline));
        let named = to_read.named.into_iter().map(|storage| (storage, soon));
        let reads = claimants.chain(named).map(|(storage, until)| async move {
            let reading = timeout_at(until.into(), self.read(&storage));
            let answer = reading.await.unwrap_or(Err(ReadThroughError::Deadline));
            (storage, answer)
        });
        let (mut views, mut unread) = (Vec::new(), Vec::new());
        for (storage, answer) in join_all(reads).await {
            match answer {
                Ok(view) => views.push(view),
                Err(error) => unread.push(Unread { storage, error }),
            }
        }
        let error = ReadThroughError::TooManyClaims;
        unread.extend(left_out.into_iter().map(|storage| Unread {
            storage,
            error: error.clone(),
        }));
        let counters = &self.state.releases.counters;
        if unread.is_empty() {
            count(&counters.read_throughs);
        } else {
            count(&counters.read_through_errors);
        }
        let is_recorded = |release: &ReleaseName| {
            let own = |storage: &StorageKey| {
                (&*storage.namespace, &*storage.name) == (&*release.namespace, &*release.name)
            };
            let mut read = views.iter().filter(|view| own(&view.storage)).peekable();
            if read.peek().is_some() {
                read.any(|view| view.records > 0 && view.may_be_of(release))
            } else {
                directory.is_recorded(release)
            }
        };
        let ObjectRef {
            group,
            kind,
            namespace,
            name,
        } = object;
        let namespace = super::directory::scope(group, kind, namespace);
        let claims = views
            .iter()
            .filter_map(|view| view.claim(group, kind, namespace, name))
            .map(|claim| marked(claim, is_recorded))
            .collect();
        Fresh { claims, unread }
    }

    pub(super) fn releases(&self) -> &Shared {
        &self.state.releases
    }

    fn is_watched(&self, storage: &StorageKey) -> bool {
        let watches = &self.state.releases.watches;
        watches.iter().any(|watch| watch.scope().covers(storage))
    }

    pub(super) async fn read(&self, storage: &Arc<StorageKey>) -> ReadAnswer {
        let (waiter, answer) = oneshot::channel();
        self.enqueue(storage, waiter);
        answer.await.unwrap_or(Err(ReadThroughError::Stopped))
    }

    /// Registers `waiter` for the next read that has not started yet.
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
        // A separate task: the request that started it may give up, while others wait.
        tokio::spawn(flight.run(Arc::clone(&self.state.releases), vec![waiter]));
    }
}
