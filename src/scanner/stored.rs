//! The releases of a cluster, as their records say: all revisions, and the bodies of those that count.
//!
//! Invariant: a record that cannot be read is a revision with [`StoredContent::Unreadable`]. Only a record that is gone
//! is left out: Helm prunes records at any time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{StreamExt, stream};
use helm_guard_core::{
    guard::RecordsAt,
    helm::{
        ReleaseName,
        hooks::{self, HookObject},
        lifecycle::{RevisionStatus, active_set},
        manifest::{self, Manifest},
        record::{self, DecodeError, EnvelopeError, Record, RecordLimits},
        storage::{Driver, LABEL_SELECTOR, SECRET_TYPE},
    },
    scan::{
        history::abandoned,
        scanned::{ReadRecord, RecordContent, ScannedRevision},
    },
};
use jiff::Timestamp;
use kube::api::ObjectMeta;
use serde::Deserialize;

use super::{
    catalog::CatalogEntry,
    listing::{ListError, ListQuery, ListedPart, each_object},
};
use crate::{
    cluster::Clients,
    releases::{
        key::{RecordKey, StorageKey},
        reader::{ReadError, payload, stored},
    },
};

/// Bodies that are read at a time.
const CONCURRENT: usize = 16;

/// Abandoned revisions whose bodies are read, newest first: what older ones left behind is not looked for.
const MOST_ABANDONED: usize = 5;

/// Which records are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordQuery<'a> {
    /// The namespace of the records, or all.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) drivers: &'a [Driver],
    /// Releases to read, by namespace (empty: any) and name; all if there are none.
    pub(crate) only: &'a [(String, String)],
}

/// A release.
#[derive(Debug)]
pub(crate) struct StoredRelease {
    pub(crate) name: ReleaseName,
    pub(crate) records: RecordsAt,
    pub(crate) revisions: Vec<StoredRevision>,
}

/// A revision.
#[derive(Debug)]
pub(crate) struct StoredRevision {
    revision: u32,
    status: RevisionStatus,
    created: Option<Timestamp>,
    content: StoredContent,
}

#[derive(Debug)]
enum StoredContent {
    Read(Box<StoredBody>),
    Unreadable(String),
    /// It was read, but is not a record.
    Damaged(String),
    NotRead,
}

/// The body of a record.
#[derive(Debug)]
struct StoredBody {
    /// Without the text of the manifest.
    record: Record,
    manifest: Manifest,
    hooks: Vec<HookObject>,
}

impl StoredRelease {
    /// As the scan takes it.
    pub(crate) fn revisions(&self) -> Vec<ScannedRevision<'_>> {
        self.revisions.iter().map(StoredRevision::scanned).collect()
    }

    /// The name of the chart of the newest revision that was read.
    pub(crate) fn chart(&self) -> Option<&str> {
        let read = self.revisions.iter().filter_map(|one| match &one.content {
            StoredContent::Read(body) => Some((one.revision, body.record.chart.name.as_str())),
            _ => None,
        });
        read.max().map(|(_, chart)| chart)
    }
}

impl StoredRevision {
    fn scanned(&self) -> ScannedRevision<'_> {
        ScannedRevision {
            revision: self.revision,
            status: self.status,
            created: self.created,
            content: match &self.content {
                StoredContent::Read(body) => {
                    RecordContent::Read(ReadRecord::of(&body.record, &body.manifest, &body.hooks))
                }
                StoredContent::Unreadable(why) => RecordContent::Unreadable(why),
                StoredContent::Damaged(why) => RecordContent::Damaged(why),
                StoredContent::NotRead => RecordContent::NotRead,
            },
        }
    }
}

/// Reads the releases.
///
/// # Errors
/// When the records cannot be listed. A body that cannot be read is a part of the result.
pub(crate) async fn read(
    clients: &Clients,
    query: &RecordQuery<'_>,
) -> Result<Vec<StoredRelease>, ListError> {
    let mut storages: BTreeMap<StorageKey, Vec<StoredRevision>> = BTreeMap::new();
    for driver in query.drivers {
        list(clients, *driver, query, &mut storages).await?;
    }
    let releases = stream::iter(storages)
        .map(|(storage, revisions)| with_bodies(clients, storage, revisions))
        .buffer_unordered(CONCURRENT);
    Ok(releases.collect().await)
}

#[derive(Deserialize)]
struct MetadataOnly {
    metadata: ObjectMeta,
}

async fn list(
    clients: &Clients,
    driver: Driver,
    query: &RecordQuery<'_>,
    storages: &mut BTreeMap<StorageKey, Vec<StoredRevision>>,
) -> Result<(), ListError> {
    let (kind, plural) = match driver {
        Driver::Secret => ("Secret", "secrets"),
        Driver::ConfigMap => ("ConfigMap", "configmaps"),
    };
    let kind = CatalogEntry {
        group: String::new(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        is_namespaced: true,
        is_listable: true,
    };
    // Anyone may set the label: see `SECRET_TYPE`.
    let fields = match driver {
        Driver::Secret => format!("type={SECRET_TYPE}"),
        Driver::ConfigMap => String::new(),
    };
    let list = ListQuery {
        kind: &kind,
        namespace: query.namespace,
        labels: LABEL_SELECTOR,
        fields: &fields,
        part: ListedPart::Metadata,
    };
    let mut seen = BTreeSet::new();
    let take = |text: &str| {
        let Ok(MetadataOnly { metadata }) = serde_json::from_str(text) else {
            return;
        };
        // An object that only looks like a record is none.
        let Ok(Some(found)) = stored(driver, &metadata) else {
            return;
        };
        let storage = StorageKey::clone(&found.key.storage);
        if query.wants(&storage) && seen.insert(found.key.clone()) {
            storages.entry(storage).or_default().push(StoredRevision {
                revision: found.key.revision,
                status: found.status,
                created: metadata.creation_timestamp.map(|time| time.0),
                content: StoredContent::NotRead,
            });
        }
    };
    each_object(clients.pooled(), &list, take).await?;
    Ok(())
}

impl RecordQuery<'_> {
    fn wants(&self, storage: &StorageKey) -> bool {
        let is = |(namespace, name): &(String, String)| {
            **name == *storage.name && (namespace.is_empty() || **namespace == *storage.namespace)
        };
        self.only.is_empty() || self.only.iter().any(is)
    }
}

/// The release with the bodies that a scan needs.
async fn with_bodies(
    clients: &Clients,
    storage: StorageKey,
    mut revisions: Vec<StoredRevision>,
) -> StoredRelease {
    let storage = Arc::new(storage);
    let statuses: Vec<_> = revisions
        .iter()
        .map(|one| (one.revision, one.status))
        .collect();
    let active = active_set(&statuses);
    let needed = active
        .into_iter()
        .flat_map(|active| [Some(active.newest), active.base]);
    let needed: Vec<u32> = needed.flatten().collect();
    read_bodies(clients, &storage, &mut revisions, &needed).await;
    // What a failed rollback skipped is known only from its body: it takes two rounds.
    for _ in 0..2 {
        let scanned: Vec<_> = revisions.iter().map(StoredRevision::scanned).collect();
        let mut left = abandoned(&scanned);
        left.truncate(MOST_ABANDONED);
        left.retain(|number| is_unread(&revisions, *number));
        read_bodies(clients, &storage, &mut revisions, &left).await;
    }
    if let Some(active) = active {
        read_hooks_before(clients, &storage, &mut revisions, active.newest).await;
    }
    let name = revisions.iter().find_map(|one| match &one.content {
        StoredContent::Read(body) => Some(body.record.release.clone()),
        _ => None,
    });
    StoredRelease {
        name: name.unwrap_or_else(|| ReleaseName {
            namespace: storage.namespace.to_string(),
            name: storage.name.to_string(),
        }),
        records: RecordsAt {
            driver: storage.driver,
            namespace: storage.namespace.clone(),
        },
        revisions,
    }
}

/// Reads the hooks of the newest revision that was not read yet: those that the chart dropped since may have left their
/// objects. What it declares does not count.
async fn read_hooks_before(
    clients: &Clients,
    storage: &Arc<StorageKey>,
    revisions: &mut Vec<StoredRevision>,
    newest: u32,
) {
    let is_left = |one: &&StoredRevision| {
        one.revision < newest && matches!(one.content, StoredContent::NotRead)
    };
    let before = revisions.iter().filter(is_left).map(|one| one.revision);
    let Some(before) = before.max() else {
        return;
    };
    read_bodies(clients, storage, revisions, &[before]).await;
    let mut read = revisions.iter_mut();
    let read = read.find(|one| one.revision == before);
    if let Some(StoredContent::Read(body)) = read.map(|one| &mut one.content) {
        body.manifest = Manifest::default();
    }
}

fn is_unread(revisions: &[StoredRevision], number: u32) -> bool {
    let mut revisions = revisions.iter().filter(|one| one.revision == number);
    revisions.any(|one| matches!(one.content, StoredContent::NotRead))
}

async fn read_bodies(
    clients: &Clients,
    storage: &Arc<StorageKey>,
    revisions: &mut Vec<StoredRevision>,
    wanted: &[u32],
) {
    for number in wanted {
        let Some(at) = revisions.iter().position(|one| one.revision == *number) else {
            continue;
        };
        let key = RecordKey {
            storage: Arc::clone(storage),
            revision: *number,
        };
        let content = match body(clients, &key).await {
            Ok(body) => StoredContent::Read(Box::new(body)),
            Err(ReadError::Gone) => {
                revisions.remove(at);
                continue;
            }
            Err(error) if is_damage(&error) => StoredContent::Damaged(error.to_string()),
            Err(error) => StoredContent::Unreadable(error.to_string()),
        };
        if let Some(revision) = revisions.get_mut(at) {
            revision.content = content;
        }
    }
}

/// Whether Helm cannot decode the record either.
fn is_damage(error: &ReadError) -> bool {
    use DecodeError::{Envelope, Json};
    use EnvelopeError::{Base64, Gzip};
    matches!(
        error,
        ReadError::Empty | ReadError::Decode(Json { .. } | Envelope(Base64(_) | Gzip(_)))
    )
}

async fn body(clients: &Clients, key: &RecordKey) -> Result<StoredBody, ReadError> {
    let (_, payload) = payload(key, &clients.once()).await?;
    let (name, revision) = (key.storage.name.clone(), key.revision);
    let decoding = tokio::task::spawn_blocking(move || {
        let mut record = record::decode(&payload, &RecordLimits::default())?;
        if *record.release.name != *name || record.revision != revision {
            return Err(ReadError::Mismatch);
        }
        let manifest = manifest::parse(&record.manifest, &record.release);
        record.manifest = String::new();
        let hooks = hooks::objects(&record);
        Ok(StoredBody {
            record,
            manifest,
            hooks,
        })
    });
    decoding.await.unwrap_or(Err(ReadError::Decoder))
}
