//! The health of the index: readiness, counters, the state of its watches.

use std::{
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::{Duration, Instant, SystemTime},
};

use helm_guard_core::helm::lifecycle::RevisionStatus;
use parking_lot::Mutex;

use super::index::WatchScope;
use crate::cluster::ApiFailure;

/// Whether requests can be answered from the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Every record has been seen, and every body needed was read or found unreadable, at least once
    /// since the start. Stays true: a guard that lost its watch still evaluates, with a read-through
    /// before each denial.
    pub ready: bool,
    /// What readiness waits for.
    pub missing: Vec<String>,
    /// Problems that do not affect readiness: watches that fail, records that cannot be read. Names
    /// only.
    pub warnings: Vec<String>,
}

/// Statistics for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Releases with a record.
    pub releases: usize,
    /// Records.
    pub revisions: usize,
    /// Objects declared by active revisions, counted once for each revision.
    pub objects: usize,
    /// Memory of declared objects, in bytes: packed ones, and the models of charts.
    pub bytes: usize,
    /// Storages outside the namespace of a release that has records in its own namespace, too.
    pub copies: usize,
    /// Active revisions with an unreadable record.
    pub unreadable: usize,
    /// Active revisions of which only the names of objects are stored.
    pub outlined: usize,
    /// Active revisions that the index has no room for.
    pub(crate) over_budget: usize,
    /// Documents of active manifests that do not parse.
    pub(crate) document_problems: usize,
    /// Bodies still to be read.
    pub wanted: usize,
    /// Time since the last event of any watch; `None` before the first.
    pub(crate) last_event_age: Option<Duration>,
    /// Watches that work.
    pub(crate) watches_healthy: usize,
    /// Watches that should work: one for each driver and namespace.
    pub watches: usize,
    /// Since the start: records whose body does not decode.
    pub decode_errors: u64,
    /// Since the start: objects labeled as records with an invalid name or invalid labels.
    pub(crate) metadata_errors: u64,
    /// Since the start: failed attempts to fetch a body.
    pub(crate) fetch_errors: u64,
    /// Since the start: failures of watches and their lists.
    pub watch_errors: u64,
    /// Since the start: successful read-throughs.
    pub(crate) read_throughs: u64,
    /// Since the start: failed read-throughs.
    pub read_through_errors: u64,
    /// Since the start: lists made for read-throughs; fewer than read-throughs where concurrent
    /// ones shared a list.
    pub(crate) read_through_lists: u64,
}

/// One release, for the metrics that list releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReleaseInfo {
    /// The release's name.
    pub release: String,
    /// Its namespace; that of its records until a body has been read.
    pub namespace: String,
    /// The namespace of its records.
    pub(crate) records_in: String,
    /// Chart name; empty until a body has been read.
    pub chart: String,
    /// Chart version; empty until a body has been read.
    pub chart_version: String,
    /// The chart's `appVersion`; empty until a body has been read.
    pub app_version: String,
    /// The newest revision.
    pub revision: u32,
    /// The newest revision's status.
    pub status: RevisionStatus,
    /// Size of the newest record that was read, in bytes.
    pub(crate) record_bytes: Option<u32>,
    /// When it was deployed last: RFC 3339, from the record.
    pub last_deployed: Option<String>,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub decode_errors: AtomicU64,
    pub(crate) metadata_errors: AtomicU64,
    pub(crate) fetch_errors: AtomicU64,
    pub watch_errors: AtomicU64,
    pub(crate) read_throughs: AtomicU64,
    pub read_through_errors: AtomicU64,
    pub(crate) read_through_lists: AtomicU64,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// The state of the writer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Latched: everything has been read once.
    pub complete: AtomicBool,
    /// Bodies still to be read.
    pub wanted: AtomicU64,
}

/// A watch that keeps failing reports an error at least this often: its retries back off to 30
/// seconds, with jitter. A recovered watch shows that only by its next event, which may be hours
/// away, so an older error counts as resolved.
const ERROR_MEMORY: Duration = Duration::from_secs(90);

/// The state of one watch.
#[derive(Debug)]
pub(super) struct WatchHealth {
    scope: WatchScope,
    listed: AtomicBool,
    state: Mutex<WatchState>,
}

#[derive(Debug, Default)]
struct WatchState {
    last_event: Option<SystemTime>,
    last_error: Option<(Instant, String)>,
    is_forbidden: bool,
}

impl WatchHealth {
    pub(crate) fn new(scope: WatchScope) -> Self {
        Self {
            scope,
            listed: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(crate) fn scope(&self) -> &WatchScope {
        &self.scope
    }

    pub(crate) fn event(&self) {
        let mut state = self.state.lock();
        state.last_event = Some(SystemTime::now());
        state.last_error = None;
        state.is_forbidden = false;
    }

    pub(crate) fn failed(&self, failure: &ApiFailure) {
        let mut state = self.state.lock();
        state.last_error = Some((Instant::now(), failure.to_string()));
        state.is_forbidden = failure.is_forbidden();
    }

    /// Whether the guard has never been allowed to list these records.
    pub(crate) fn is_forbidden(&self) -> bool {
        !self.is_listed() && self.state.lock().is_forbidden
    }

    /// The index contains everything of the first list.
    pub(crate) fn listed(&self) {
        self.listed.store(true, Release);
    }

    pub(crate) fn is_listed(&self) -> bool {
        self.listed.load(Acquire)
    }

    pub(crate) fn last_event(&self) -> Option<SystemTime> {
        self.state.lock().last_event
    }

    pub(crate) fn error(&self) -> Option<String> {
        let state = self.state.lock();
        let (when, error) = state.last_error.as_ref()?;
        (when.elapsed() < ERROR_MEMORY || !self.is_listed()).then(|| error.clone())
    }

    /// A description of what this watch reads.
    pub(crate) fn name(&self) -> String {
        let kind = match self.scope.driver {
            helm_guard_core::helm::storage::Driver::Secret => "Secrets",
            helm_guard_core::helm::storage::Driver::ConfigMap => "ConfigMaps",
        };
        match &self.scope.namespace {
            None => format!("release records in {kind} of all namespaces"),
            Some(namespace) => format!("release records in {kind} of namespace {namespace:?}"),
        }
    }
}
