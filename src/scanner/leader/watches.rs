//! Watches of the metadata of what releases declare.
//!
//! Invariants
//! - No object is stored: of each, 16 bytes are remembered, to tell a change from a new status.
//! - A watch never ends. A failure is counted, logged once, and followed by another attempt; meanwhile, full passes find
//!   what changes.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    time::Duration,
};

use futures_util::StreamExt;
use helm_guard_core::helm::ReleaseName;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ObjectMeta, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{
    changes::{ChangedRelease, ChangedReleases},
    fingerprint::fingerprint,
};
use crate::{
    cluster::ApiFailure,
    releases::Releases,
    scanner::{
        MANAGED,
        catalog::{Catalog, CatalogEntry, Serving},
        status::DriftStatus,
    },
};

/// Metadata of an object is about 2 KiB.
const PAGE_SIZE: u32 = 500;

/// Seconds after which a watch without events is renewed: also how long a silently dead connection goes unnoticed.
const RENEW_AFTER: u32 = 290;

/// How long a scan waits for new watches.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it looks whether they have begun.
const POLL: Duration = Duration::from_millis(20);

/// A watched kind: API group, resource, and namespace, if only one is watched.
type WatchName = (String, String, Option<String>);

/// The watches. They end when this is dropped.
pub(super) struct KindWatches {
    client: Client,
    releases: Releases,
    changed: Arc<ChangedReleases>,
    status: Arc<DriftStatus>,
    running: HashMap<WatchName, RunningWatch>,
}

/// A watch and how far it is.
struct RunningWatch {
    task: AbortHandle,
    /// Whether it reports changes, or cannot for now.
    is_settled: Arc<AtomicBool>,
}

impl Drop for RunningWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KindWatches {
    pub(super) fn new(
        client: Client,
        releases: Releases,
        (changed, status): (Arc<ChangedReleases>, Arc<DriftStatus>),
    ) -> Self {
        Self {
            client,
            releases,
            changed,
            status,
            running: HashMap::new(),
        }
    }

    /// Watches the kinds that releases declare now, and no others. A kind is watched once, whatever its versions.
    pub(super) fn follow(&mut self, catalog: &Catalog, namespaces: &[String]) {
        let mut wanted = HashMap::<WatchName, &CatalogEntry>::new();
        for kind in self.releases.declared_kinds() {
            let (Serving::AsDeclared(entry) | Serving::OtherVersion(entry)) =
                catalog.serving(&kind.group, &kind.version, &kind.kind)
            else {
                continue;
            };
            if !entry.is_listable {
                continue;
            }
            for namespace in scopes(entry, namespaces) {
                let name = (entry.group.clone(), entry.plural.clone(), namespace);
                wanted.entry(name).or_insert(entry);
            }
        }
        self.running.retain(|name, _| wanted.contains_key(name));
        for (name, entry) in wanted {
            if !self.running.contains_key(&name) {
                let is_settled = Arc::<AtomicBool>::default();
                let watch = KindWatch {
                    entry: entry.clone(),
                    namespace: name.2.clone(),
                    releases: self.releases.clone(),
                    changed: Arc::clone(&self.changed),
                    status: Arc::clone(&self.status),
                    seen: SeenObjects::default(),
                    is_settled: Arc::clone(&is_settled),
                };
                let task = tokio::spawn(watch.run(self.client.clone())).abort_handle();
                self.running.insert(name, RunningWatch { task, is_settled });
            }
        }
    }

    /// Waits until each watch reports changes, or cannot for now. What changes between a scan and the first list of a
    /// watch would be missed.
    pub(super) async fn settle(&self) {
        let waited = timeout(PATIENCE, async {
            for watch in self.running.values() {
                while !watch.is_settled.load(Acquire) {
                    sleep(POLL).await;
                }
            }
        });
        if waited.await.is_err() {
            tracing::warn!(
                "some watches of what releases declare are slow; full passes find what they miss"
            );
        }
    }
}

/// Where a kind is watched; `None` for the whole cluster.
fn scopes(entry: &CatalogEntry, namespaces: &[String]) -> Vec<Option<String>> {
    if namespaces.is_empty() || !entry.is_namespaced {
        return vec![None];
    }
    namespaces.iter().cloned().map(Some).collect()
}

/// The watch of a kind.
struct KindWatch {
    entry: CatalogEntry,
    namespace: Option<String>,
    releases: Releases,
    changed: Arc<ChangedReleases>,
    status: Arc<DriftStatus>,
    seen: SeenObjects,
    is_settled: Arc<AtomicBool>,
}

impl KindWatch {
    async fn run(mut self, client: Client) {
        let entry = &self.entry;
        let resource = ApiResource {
            group: entry.group.clone(),
            version: entry.version.clone(),
            api_version: entry.api_version(),
            kind: entry.kind.clone(),
            plural: entry.plural.clone(),
        };
        let api: Api<PartialObjectMeta<DynamicObject>> = match &self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let config = watcher::Config {
            label_selector: Some(MANAGED.to_owned()),
            timeout: Some(RENEW_AFTER),
            page_size: Some(PAGE_SIZE),
            ..watcher::Config::default()
        };
        let mut events = watcher::watcher(api, config).default_backoff().boxed();
        let mut is_failing = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    // A list starts before the API server has answered.
                    is_failing &= matches!(event, Event::Init);
                    self.take(event);
                }
                Err(error) => {
                    self.status.watch_failed();
                    self.is_settled.store(true, Release);
                    if !std::mem::replace(&mut is_failing, true) {
                        let error = ApiFailure::from(&error);
                        tracing::warn!(
                            kind = self.entry.kind,
                            group = self.entry.group,
                            %error,
                            "failed to watch what releases declare; full passes find changes"
                        );
                    }
                }
            }
        }
    }

    fn take(&mut self, event: Event<PartialObjectMeta<DynamicObject>>) {
        match event {
            Event::Init => self.seen.begin(),
            Event::InitApply(object) => {
                if self.seen.listed(&object.metadata) {
                    self.note(&object.metadata);
                }
            }
            // What was deleted while there was no watch is found by the next full pass: its name is not known here.
            Event::InitDone => {
                self.seen.end();
                self.is_settled.store(true, Release);
            }
            Event::Apply(object) => {
                if self.seen.is_news(&object.metadata) {
                    self.note(&object.metadata);
                }
            }
            Event::Delete(object) => {
                self.seen.forget(&object.metadata);
                self.note(&object.metadata);
            }
        }
    }

    /// The releases that declare an object have to be scanned again.
    fn note(&self, metadata: &ObjectMeta) {
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let name = metadata.name.as_deref().unwrap_or_default();
        let claims = self
            .releases
            .claims(&self.entry.group, &self.entry.kind, namespace, name);
        for claim in claims {
            self.changed.add(ChangedRelease {
                release: ReleaseName::clone(&claim.release),
                records_in: claim.records.namespace.to_string(),
            });
        }
    }
}

/// What was seen of the objects of a kind: hashes of name and content.
#[derive(Default)]
struct SeenObjects {
    hasher: RandomState,
    known: HashMap<u64, u64>,
    /// Those of the list that is under way.
    listed: Option<HashMap<u64, u64>>,
    has_listed: bool,
}

impl SeenObjects {
    fn name(&self, metadata: &ObjectMeta) -> u64 {
        self.hasher.hash_one((&metadata.namespace, &metadata.name))
    }

    fn begin(&mut self) {
        self.listed = Some(HashMap::new());
    }

    /// Whether an object of a list is another than before. Everything is new in the first list, which a full pass
    /// follows.
    fn listed(&mut self, metadata: &ObjectMeta) -> bool {
        let (name, content) = (self.name(metadata), fingerprint(metadata));
        self.listed.get_or_insert_default().insert(name, content);
        self.has_listed && self.known.get(&name) != Some(&content)
    }

    fn end(&mut self) {
        self.known = self.listed.take().unwrap_or_default();
        self.has_listed = true;
    }

    fn is_news(&mut self, metadata: &ObjectMeta) -> bool {
        let (name, content) = (self.name(metadata), fingerprint(metadata));
        self.known.insert(name, content) != Some(content)
    }

    fn forget(&mut self, metadata: &ObjectMeta) {
        let name = self.name(metadata);
        self.known.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, generation: i64) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            generation: Some(generation),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn only_what_changed_since_it_was_seen_is_news() {
        let mut seen = SeenObjects::default();
        seen.begin();
        assert!(!seen.listed(&object("web", 1)), "the full pass scans it");
        seen.end();
        assert!(!seen.is_news(&object("web", 1)), "only its status changed");
        assert!(seen.is_news(&object("web", 2)));
        assert!(seen.is_news(&object("db", 1)), "it is new");
        seen.forget(&object("db", 1));
        assert!(seen.is_news(&object("db", 1)), "it was created again");
        // The watch broke, and begins with a list.
        seen.begin();
        assert!(seen.listed(&object("web", 3)));
        assert!(!seen.listed(&object("db", 1)));
        seen.end();
        assert!(!seen.is_news(&object("web", 3)));
    }
}
