//! The reads of one release: list its records, and get the bodies that the index does not have at that state.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use helm_guard_core::helm::lifecycle;

use super::{ReadAnswer, ReadState, ReadThroughError, Waiter};
use crate::{
    cluster::hedge::Attempts,
    releases::{
        health::count,
        index::Learned,
        key::{RecordKey, RecordVersion, StorageKey},
        message::Message,
        reader::{Listing, ReadError},
        shared::Shared,
        view::{ReleaseView, RevisionContent, RevisionView},
    },
};

/// How often a list is repeated if its records vanish before their bodies are read.
const TRIES: usize = 3;

/// Requests wait no longer than the webhook's deadline of a few seconds; this only keeps a stuck
/// call from blocking the next list forever.
const LONGEST_READ: Duration = Duration::from_secs(10);

/// Reads one release, repeatedly while anyone waits.
pub(super) struct Flight {
    pub(super) storage: Arc<StorageKey>,
    pub(super) state: Weak<ReadState>,
}

impl Flight {
    pub(super) async fn run(self, releases: Arc<Shared>, mut waiters: Vec<Waiter>) {
        while !waiters.is_empty() {
            let read = tokio::time::timeout(LONGEST_READ, read(&releases, &self.storage)).await;
            let answer = read.unwrap_or(Err(ReadThroughError::Deadline));
            for waiter in waiters {
                // A missing waiter has given up.
                let _ = waiter.send(answer.clone());
            }
            waiters = self.next_waiters();
        }
    }

    /// The waiters that arrived during the last read. Without any, the flight ends.
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
    /// After a panic, nobody must wait for this flight forever.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(state) = self.state.upgrade()
        {
            state.flights.lock().remove(&self.storage);
        }
    }
}

async fn read(releases: &Shared, storage: &Arc<StorageKey>) -> ReadAnswer {
    let attempts = releases.reader.attempts();
    for _ in 0..TRIES {
        count(&releases.counters.read_through_lists);
        let relists = releases.directory.relists();
        let listing = releases
            .reader
            .list(storage, &attempts)
            .await
            .map_err(|failure| ReadThroughError::List {
                release: Arc::clone(storage),
                failure,
            })?;
        if listing.is_cut {
            return Err(ReadThroughError::TooManyRecords {
                release: Arc::clone(storage),
            });
        }
        for error in &listing.refused {
            tracing::warn!(release = %storage, %error, "ignored an object that is labeled as a release record");
        }
        if let Some(view) = view(releases, storage, &listing, &attempts).await? {
            let learned = Learned {
                storage: Arc::clone(storage),
                list_version: listing.version,
                relists,
                records: listing.records,
                bodies: view.revisions.clone(),
            };
            // The watch will report the same sooner or later, so a full queue is not worth waiting for.
            let _ = releases.messages.try_send(Message::Learned(learned));
            return Ok(Arc::new(view));
        }
    }
    Err(ReadThroughError::Unsteady {
        release: Arc::clone(storage),
    })
}

/// The release as in `listing`; `None` if a record vanished in the meantime.
async fn view(
    releases: &Shared,
    storage: &Arc<StorageKey>,
    listing: &Listing,
    attempts: &Attempts<'_>,
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
            Some(body) => Some((
                stored.version.clone(),
                RevisionContent::Body(Arc::clone(body)),
            )),
            None => fetch(releases, &stored.key, &stored.version, attempts).await?,
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
        status: newest.map_or(lifecycle::RevisionStatus::Unknown, |(_, status)| *status),
        phase: active.map(|active| active.phase),
        revisions,
        records: statuses.len(),
        latest: None,
    }))
}

async fn fetch(
    releases: &Shared,
    key: &RecordKey,
    version: &RecordVersion,
    attempts: &Attempts<'_>,
) -> Result<Option<(RecordVersion, RevisionContent)>, ReadThroughError> {
    match releases.reader.body(key, attempts).await {
        Ok((version, body)) => Ok(Some((version, RevisionContent::Body(Arc::new(body))))),
        Err(ReadError::Gone) => Ok(None),
        Err(error) if error.is_transient() => Err(ReadThroughError::Get {
            record: key.clone(),
            cause: Arc::new(error),
        }),
        Err(error) => {
            releases.read_failed(key, &error);
            Ok(Some((version.clone(), RevisionContent::Unreadable)))
        }
    }
}
