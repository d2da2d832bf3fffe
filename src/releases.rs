//! The index of declared objects: which release declares an object, and with which values.
//!
//! Metadata-only watches of release records feed one writer task ([`index::Index`]); bodies are fetched only
//! for active revisions, decoded off the request path, and stored compressed ([`pack`]); releases of one chart
//! are stored as differences. Objects are unpacked one by one on demand, and the most recent ones are cached
//! ([`cache`]). Readers go through [`directory::Directory`] and never wait for the writer. Before a denial the
//! records are read again ([`ReadThrough`]).
//!
//! Invariants
//! - Nothing is denied on the basis of the index alone.
//! - A record that cannot be listed, fetched or decoded is counted, logged and named in the
//!   readiness detail. It is never treated as a record that declares nothing.
//! - No chart and no body of an inactive revision stays in memory. Manifests stay compressed. Only
//!   objects in the bounded cache, and the models of charts, which contain no Secrets, are stored as
//!   text.
//!
//! Start at [`Releases::new`]: it returns the readers' side and the [`IndexWorker`] that fills it. Then
//! [`Releases::claims`] on each request, and [`ReadThrough::fresh_claims`] before a denial.

use std::sync::Arc;

use helm_guard_core::helm::{record::RecordLimits, storage::Driver};
use tokio::sync::mpsc;

mod autoscalers;
pub mod body;
pub mod cache;
mod candidates;
mod declared_kind;
pub(crate) mod decoding;
mod dependents;
pub mod directory;
pub mod elsewhere;
pub mod files;
mod handle;
mod health;
pub mod index;
pub mod intern;
pub mod key;
mod lines;
mod message;
pub(crate) mod object_key;
pub(crate) mod object_map;
pub(crate) mod pack;
mod read_through;
pub mod reader;
mod release_state;
mod shared;
pub(crate) mod snapshot_map;
pub mod store;
pub mod view;
mod watch;
mod worker;
mod writer;

pub(crate) use autoscalers::{Autoscalers, Autoscaling};
pub use body::Body;
pub(crate) use declared_kind::DeclaredKind;
pub(crate) use dependents::Dependents;
pub use directory::Directory;
pub use handle::Releases;
pub(crate) use health::{ReleaseInfo, Stats};
pub use read_through::{Fresh, ReadThrough, ReadThroughError, Unread, WantedRecords};
pub(crate) use release_state::ReleaseState;
pub(crate) use worker::IndexWorker;

use crate::cluster::Clients;
use health::{Progress, WatchHealth};
use reader::Reader;
use shared::Shared;

/// The configuration of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The namespaces whose records are read; all if empty.
    pub namespaces: Vec<String>,
    /// The storage drivers of records (`HELM_DRIVER`).
    pub drivers: Vec<Driver>,
    /// The size limits of a record.
    pub limits: RecordLimits,
    /// The memory limit for declared objects, in bytes.
    pub index_bytes: usize,
    /// Seconds after which a watch without events is renewed, and so how long a silently dead
    /// connection goes unnoticed.
    pub renew_watch_after: u32,
}

impl Default for Config {
    /// All namespaces; 90 seconds, because the client library's 290 would leave the index as stale
    /// for that long behind a connection that a middlebox dropped.
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            drivers: vec![Driver::Secret],
            limits: RecordLimits::default(),
            index_bytes: index::budget::DEFAULT,
            renew_watch_after: 90,
        }
    }
}

/// The queue of events for the writer; if it is full, the watches wait.
const QUEUE: usize = 1024;

impl Releases {
    /// An empty index and the worker that fills it.
    pub fn new(clients: impl Into<Clients>, config: &Config) -> (Self, IndexWorker) {
        let (messages, receiver) = mpsc::channel(QUEUE);
        let store = Arc::new(store::BodyStore::default());
        let watches = watch::scopes(&config.namespaces, &config.drivers)
            .into_iter()
            .map(|scope| Arc::new(WatchHealth::new(scope)))
            .collect();
        let shared = Arc::new(Shared {
            directory: Arc::default(),
            reader: Reader::new(clients.into(), config.limits, Arc::clone(&store)),
            store,
            counters: Arc::default(),
            progress: Progress::default(),
            watches,
            messages,
        });
        let worker = IndexWorker {
            shared: Arc::clone(&shared),
            messages: receiver,
            index_bytes: config.index_bytes,
            renew_watch_after: config.renew_watch_after,
        };
        (Self { shared }, worker)
    }
}

#[cfg(test)]
mod tests;
