//! The index of declared objects: which release says what about an object.
//!
//! Metadata-only watches of release records feed one writer task ([`index::Index`]); bodies are
//! fetched for revisions in an active set alone, decoded off the request path, and kept compressed
//! ([`pack`]), releases of one chart by what they differ in; objects are unpacked one by one when they
//! are asked for, and the last of them stay at hand ([`cache`]). Readers go through
//! [`directory::Directory`] and never wait for the writer. Before a denial the records are read again ([`ReadThrough`]).
//!
//! Invariants
//! - Nothing is denied on the strength of this room's memory alone.
//! - A record that can not be seen, fetched or decoded is counted, logged and named in the
//!   readiness detail; it is never the same as a record that declares nothing.
//! - No chart and no body of an inactive revision stays in memory. Manifests stay there compressed: as
//!   text only objects in the bounded cache, and what serves a chart's others as a model, which has no
//!   Secret in it.
//!
//! Start at [`Releases::new`]: it gives the readers' side and the [`Worker`] that feeds it. Then
//! [`Releases::claims`] on each request, and [`ReadThrough::fresh_claims`] before a denial.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, Release},
    },
    time::SystemTime,
};

use helm_guard_core::{
    guard::Claim,
    helm::{record::Limits, storage::Driver},
    text::list,
};
use tokio::{sync::mpsc, task::JoinSet};

mod autoscalers;
pub mod body;
pub mod cache;
mod candidates;
pub mod decoding;
pub mod directory;
pub mod elsewhere;
pub mod files;
mod health;
mod holdings;
pub mod index;
pub mod intern;
pub mod key;
mod lines;
pub mod object_key;
pub mod object_map;
pub mod pack;
mod read_through;
pub mod reader;
pub mod snapshot_map;
mod standing;
pub mod store;
pub mod view;
mod watch;
mod writer;

pub use autoscalers::{AutoscalerError, Autoscalers, Autoscaling};
pub use body::Body;
pub use directory::{DeclaredKind, Directory};
pub use health::{Readiness, ReleaseInfo, Stats};
pub use holdings::Holdings;
pub use read_through::{Fresh, ReadThrough, ReadThroughError, Unread, Wanted};
pub use standing::Standing;

use crate::cluster::Clients;
use health::{Counters, Progress, WatchHealth, count};
use index::Scope;
use lines::UNREADABLE;
use reader::{ReadError, Reader};
use writer::{Message, Writer};

/// What to index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The namespaces whose records are read; all when empty.
    pub namespaces: Vec<String>,
    /// What records are stored in (`HELM_DRIVER`).
    pub drivers: Vec<Driver>,
    /// How big a record may be.
    pub limits: Limits,
    /// Bytes that may be kept of what releases declare.
    pub index_bytes: usize,
    /// Seconds after which a quiet watch is renewed, and so how long a connection that died
    /// silently goes unnoticed.
    pub renew_watch_after: u32,
}

impl Default for Config {
    /// All namespaces; 90 seconds, because the client library's 290 would leave the index as stale
    /// for that long behind a connection that a middlebox dropped.
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            drivers: vec![Driver::Secret],
            limits: Limits::default(),
            index_bytes: index::budget::DEFAULT,
            renew_watch_after: 90,
        }
    }
}

/// The index, for readers. Cheap to clone.
#[derive(Clone)]
pub struct Releases {
    shared: Arc<Shared>,
}

/// What feeds the index.
pub struct Worker {
    shared: Arc<Shared>,
    messages: mpsc::Receiver<Message>,
    index_bytes: usize,
    renew_watch_after: u32,
}

struct Shared {
    directory: Arc<Directory>,
    store: Arc<store::Store>,
    reader: Reader,
    counters: Arc<Counters>,
    progress: Progress,
    watches: Vec<Arc<WatchHealth>>,
    messages: mpsc::Sender<Message>,
}

/// Events that may wait for the writer; more make the watches wait.
const QUEUE: usize = 1024;

/// Names in one line of the readiness detail.
const NAMES_SHOWN: usize = 10;

impl Releases {
    /// An empty index and the worker that fills it.
    pub fn new(clients: impl Into<Clients>, config: &Config) -> (Self, Worker) {
        let (messages, receiver) = mpsc::channel(QUEUE);
        let store = Arc::new(store::Store::default());
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
        let worker = Worker {
            shared: Arc::clone(&shared),
            messages: receiver,
            index_bytes: config.index_bytes,
            renew_watch_after: config.renew_watch_after,
        };
        (Self { shared }, worker)
    }

    /// The releases' say about an object: one claim for each release that declares it; empty when
    /// none does. Never waits. `namespace` is empty for cluster-scoped objects.
    pub fn claims(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Vec<Claim> {
        self.shared.directory.claims(group, kind, namespace, name)
    }

    /// Whether the release of this namespace and name has an active record that can not be read, whole
    /// or in part, so that nobody can say which objects it declares: for objects that carry the release's
    /// annotations and that no readable record declares.
    pub fn is_unreadable(&self, namespace: &str, name: &str) -> bool {
        self.shared.directory.is_unreadable(namespace, name)
    }

    /// Whether there is any such release at all. Never waits.
    pub fn any_unreadable(&self) -> bool {
        self.shared.directory.any_unreadable()
    }

    /// Whether every record has been seen, and every body needed was read or found unreadable, at
    /// least once since the start. Never waits.
    pub fn is_complete(&self) -> bool {
        self.shared.is_complete()
    }

    /// Whether the records of this driver are read.
    pub fn reads(&self, driver: Driver) -> bool {
        let mut watches = self.shared.watches.iter();
        watches.any(|watch| watch.scope().driver == driver)
    }

    /// Another number whenever what is declared changed. Never waits.
    pub fn generation(&self) -> u64 {
        self.shared.directory.generation()
    }

    /// The kinds that active revisions declare, in the versions that their manifests have.
    pub fn declared_kinds(&self) -> BTreeSet<DeclaredKind> {
        self.shared.directory.declared_kinds()
    }

    /// Whether every record has been seen and every body needed read, and what is wrong.
    pub fn readiness(&self) -> Readiness {
        let shared = &self.shared;
        let mut readiness = Readiness {
            ready: self.is_complete(),
            ..Readiness::default()
        };
        for watch in &shared.watches {
            match (watch.is_listed(), watch.error()) {
                (false, Some(error)) if shared.is_left_out(watch.scope().driver) => {
                    readiness
                        .warnings
                        .push(format!("{}: not read: {error}", watch.name()));
                }
                (true, None) => {}
                (true, Some(error)) => {
                    readiness
                        .warnings
                        .push(format!("{}: {error}", watch.name()));
                }
                (false, None) => readiness
                    .missing
                    .push(format!("{}: not listed yet", watch.name())),
                (false, Some(error)) => {
                    readiness
                        .missing
                        .push(format!("{}: not listed: {error}", watch.name()));
                }
            }
        }
        let wanted = shared.progress.wanted.load(Relaxed);
        if !readiness.ready && wanted > 0 {
            readiness
                .missing
                .push(format!("{wanted} release records: not read yet"));
        }
        let views = shared.directory.releases();
        let unreadable = named(views.iter().filter(|view| view.is_unreadable()));
        let outlined = named(views.iter().filter(|view| view.is_outlined()));
        let over_budget = named(views.iter().filter(|view| view.is_over_budget()));
        let incomplete = named(views.iter().filter(|view| view.has_problems()));
        let warnings = [
            ("unreadable release records", unreadable),
            (
                "release records with documents that are not read",
                incomplete,
            ),
            (
                "releases that are read anew for each request, since the index has no room for them",
                outlined,
            ),
            (
                "releases that are not guarded, since the index has no room for them",
                over_budget,
            ),
        ];
        readiness.warnings.extend(
            warnings
                .into_iter()
                .filter_map(|(what, names)| Some(format!("{what}: {}", names?))),
        );
        let copies = shared.directory.copies();
        if !copies.is_empty() {
            let names = copies.iter().map(|(_, storage)| storage);
            readiness.warnings.push(format!(
                "copies of the records of releases that have records in their own namespaces: {}",
                list(names, NAMES_SHOWN)
            ));
        }
        readiness
    }

    /// Figures for metrics.
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        let last_event = shared
            .watches
            .iter()
            .filter_map(|watch| watch.last_event())
            .max();
        let counters = &shared.counters;
        let mut stats = Stats {
            bytes: shared.store.bytes(),
            wanted: usize::try_from(shared.progress.wanted.load(Relaxed)).unwrap_or(usize::MAX),
            last_event_age: last_event
                .map(|when| SystemTime::now().duration_since(when).unwrap_or_default()),
            watches_healthy: shared
                .watches
                .iter()
                .filter(|watch| watch.is_listed() && watch.error().is_none())
                .count(),
            watches: shared.watches.len(),
            decode_errors: counters.decode_errors.load(Relaxed),
            metadata_errors: counters.metadata_errors.load(Relaxed),
            fetch_errors: counters.fetch_errors.load(Relaxed),
            watch_errors: counters.watch_errors.load(Relaxed),
            read_throughs: counters.read_throughs.load(Relaxed),
            read_through_errors: counters.read_through_errors.load(Relaxed),
            read_through_lists: counters.read_through_lists.load(Relaxed),
            copies: shared.directory.copies().len(),
            ..Stats::default()
        };
        for view in shared.directory.releases() {
            stats.releases += 1;
            stats.revisions += view.records;
            let contents = view.revisions.iter().map(|revision| &revision.content);
            for content in contents {
                match content {
                    view::Content::Body(body) => {
                        stats.outlined += usize::from(body.whole().is_some());
                    }
                    view::Content::Unreadable => stats.unreadable += 1,
                    view::Content::OverBudget { .. } => stats.over_budget += 1,
                }
            }
            stats.objects += view.bodies().map(|body| body.count()).sum::<usize>();
            stats.document_problems += view.bodies().map(|body| body.problems()).sum::<usize>();
        }
        stats
    }

    /// All releases that have a record, for the metrics that say which there are.
    pub fn release_infos(&self) -> impl Iterator<Item = ReleaseInfo> {
        let directory = &self.shared.directory;
        let copies: BTreeSet<_> = directory.copies().into_iter().map(|(_, at)| at).collect();
        let views = directory.releases().into_iter();
        let views = views.filter(move |view| !copies.contains(&view.storage));
        views.map(|view| {
            let release = view.bodies().next().map(|body| body.release());
            let namespace = release.map_or(&*view.storage.namespace, |release| &release.namespace);
            let about = view.latest.as_deref();
            let text = |of: fn(&body::About) -> &str| about.map(of).unwrap_or_default().to_owned();
            ReleaseInfo {
                release: view.storage.name.to_string(),
                namespace: namespace.to_owned(),
                chart: text(|about| &about.chart),
                chart_version: text(|about| &about.chart_version),
                app_version: text(|about| &about.app_version),
                status: view.status,
                last_deployed: about
                    .and_then(|about| about.last_deployed.as_deref())
                    .map(str::to_owned),
            }
        })
    }
}

/// The releases by name, as many as fit in a line; none if there are none.
fn named<'v>(views: impl Iterator<Item = &'v Arc<view::ReleaseView>>) -> Option<String> {
    let mut names = views.map(|view| &view.storage).peekable();
    names.peek()?;
    Some(list(names, NAMES_SHOWN))
}

impl Worker {
    /// Watches, fetches and writes. Does not return but by a panic of one of its parts; everything
    /// it started stops when it is dropped.
    pub async fn run(self) {
        let mut tasks = JoinSet::new();
        for health in &self.shared.watches {
            let watch = watch::Watch {
                client: self.shared.reader.client().clone(),
                renew_after: self.renew_watch_after,
                health: Arc::clone(health),
                counters: Arc::clone(&self.shared.counters),
                messages: self.shared.messages.clone(),
            };
            tasks.spawn(watch.run());
        }
        let writer = Writer::new(self.shared, self.index_bytes);
        tasks.spawn(writer.run(self.messages));
        // None of them ends by itself: the first to do so takes the others with it, and whoever
        // supervises this one learns of it.
        tasks.join_next().await;
    }
}

impl Shared {
    /// A body could not be read.
    fn read_failed(&self, record: &key::RecordKey, error: &ReadError) {
        match error {
            ReadError::Get(_) | ReadError::Gone => count(&self.counters.fetch_errors),
            _ => count(&self.counters.decode_errors),
        }
        if UNREADABLE.may_tell(&record.storage.namespace) {
            tracing::warn!(%record, %error, "a release record can not be read");
        }
    }

    /// The writer has taken a batch, in which the lists of these scopes were completed.
    fn progress(&self, listed: &[Scope], wanted: usize) {
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
    fn is_complete(&self) -> bool {
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
    fn is_left_out(&self, driver: Driver) -> bool {
        let mut of = self
            .watches
            .iter()
            .filter(|watch| watch.scope().driver == driver);
        of.all(|watch| watch.is_forbidden())
    }
}

#[cfg(test)]
mod tests;
