//! The index, for readers: claims, readiness and statistics.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use helm_guard_core::{
    guard::Claim,
    helm::storage::Driver,
    text::{counted, list},
};

use super::{
    body::About,
    declared_kind::DeclaredKind,
    health::{Readiness, ReleaseInfo, Stats},
    shared::Shared,
    view::{ReleaseView, RevisionContent},
};

/// The index, for readers. Cheap to clone.
#[derive(Clone)]
pub struct Releases {
    pub(super) shared: Arc<Shared>,
}

/// The maximum number of names in one line of the readiness detail.
const NAMES_SHOWN: usize = 10;

impl Releases {
    /// The claims on an object: one for each release that declares it; empty if none does. Never
    /// waits. `namespace` is empty for cluster-scoped objects.
    pub fn claims(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Vec<Claim> {
        self.shared.directory.claims(group, kind, namespace, name)
    }

    /// Whether the release of this namespace and name has an active record that cannot be read, entirely
    /// or in part, so that the objects that it declares are unknown. For objects that carry the release's
    /// annotations and that no readable record declares.
    pub(crate) fn is_unreadable(&self, namespace: &str, name: &str) -> bool {
        self.shared.directory.is_unreadable(namespace, name)
    }

    /// Whether there is any such release. Never waits.
    pub(crate) fn any_unreadable(&self) -> bool {
        self.shared.directory.any_unreadable()
    }

    /// Whether every record has been seen, and every body needed was read or found unreadable, at
    /// least once since the start. Never waits.
    pub(crate) fn is_complete(&self) -> bool {
        self.shared.is_complete()
    }

    /// Whether the records of this driver are read.
    pub fn reads(&self, driver: Driver) -> bool {
        let mut watches = self.shared.watches.iter();
        watches.any(|watch| watch.scope().driver == driver)
    }

    /// A number that changes whenever the declared objects change. Never waits.
    pub fn generation(&self) -> u64 {
        self.shared.directory.generation()
    }

    /// The kinds that active revisions declare, in the versions of their manifests.
    pub(crate) fn declared_kinds(&self) -> BTreeSet<DeclaredKind> {
        self.shared.directory.declared_kinds()
    }

    /// Whether every record has been seen and every needed body read, and the problems.
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
            readiness.missing.push(format!(
                "{}: not read yet",
                counted(wanted, "release record")
            ));
        }
        let views = shared.directory.releases();
        let unreadable = named(views.iter().filter(|view| view.is_unreadable()));
        let outlined = named(views.iter().filter(|view| view.is_outlined()));
        let over_budget = named(views.iter().filter(|view| view.is_over_budget()));
        let incomplete = named(views.iter().filter(|view| view.has_problems()));
        let warnings = [
            ("unreadable release records", unreadable),
            ("release records with unreadable documents", incomplete),
            (
                "releases beyond the index memory limit, read again for each request",
                outlined,
            ),
            (
                "releases that are not guarded: index memory limit reached",
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

    /// Statistics for metrics.
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
                    RevisionContent::Body(body) => {
                        stats.outlined += usize::from(body.full_size().is_some());
                    }
                    RevisionContent::Unreadable => stats.unreadable += 1,
                    RevisionContent::OverBudget { .. } => stats.over_budget += 1,
                }
            }
            stats.objects += view.bodies().map(|body| body.count()).sum::<usize>();
            stats.document_problems += view.bodies().map(|body| body.problems()).sum::<usize>();
        }
        stats
    }

    /// All releases with a record, for the metrics that list them.
    pub(crate) fn release_infos(&self) -> impl Iterator<Item = ReleaseInfo> {
        let directory = &self.shared.directory;
        let copies: BTreeSet<_> = directory.copies().into_iter().map(|(_, at)| at).collect();
        let views = directory.releases().into_iter();
        let views = views.filter(move |view| !copies.contains(&view.storage));
        views.map(|view| {
            let release = view.bodies().next().map(|body| body.release());
            let namespace = release.map_or(&*view.storage.namespace, |release| &release.namespace);
            let about = view.latest.as_deref();
            let text = |of: fn(&About) -> &str| about.map(of).unwrap_or_default().to_owned();
            ReleaseInfo {
                release: view.storage.name.to_string(),
                namespace: namespace.to_owned(),
                records_in: view.storage.namespace.to_string(),
                chart: text(|about| &about.chart),
                chart_version: text(|about| &about.chart_version),
                app_version: text(|about| &about.app_version),
                revision: view.newest,
                status: view.status,
                record_bytes: about.map(|about| about.record_bytes),
                last_deployed: about
                    .and_then(|about| about.last_deployed.as_deref())
                    .map(str::to_owned),
            }
        })
    }
}

/// The releases by name, as many as fit in a line; `None` if there are none.
fn named<'v>(views: impl Iterator<Item = &'v Arc<ReleaseView>>) -> Option<String> {
    let mut names = views.map(|view| &view.storage).peekable();
    names.peek()?;
    Some(list(names, NAMES_SHOWN))
}
