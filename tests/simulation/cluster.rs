//! The cluster: objects, release records, and the events that a watch of the records gets.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::Arc,
};

use helm_guard::releases::{
    body::{About, Body, Parts},
    key::{RecordKey, RecordVersion, StorageKey, Stored},
    store::BodyStore,
};
use helm_guard_core::helm::{ReleaseName, lifecycle::RevisionStatus, manifest, storage::Driver};

pub const NAMESPACE: &str = "shop";
pub const RELEASES: [&str; 2] = ["one", "two"];
/// The number of possible objects.
pub const OBJECTS: usize = 5;
/// The number of fields that a manifest may declare of an object.
pub const FIELDS: usize = 3;

/// The declared or the live value of each field.
pub type Fields = [Option<u8>; FIELDS];

/// An object in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Said {
    pub fields: Fields,
    /// `helm.sh/resource-policy: keep`.
    pub keep: bool,
}

/// A manifest: the declared fields of each object.
pub type Manifest = [Option<Said>; OBJECTS];

/// A live object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    pub fields: Fields,
    /// The release that its annotations name.
    pub owner: Option<usize>,
    /// An undeclared value.
    pub extra: Option<u8>,
}

/// Even objects are of a built-in kind, odd ones are custom resources.
pub fn is_custom(object: usize) -> bool {
    object % 2 == 1
}

pub fn name(object: usize) -> String {
    format!("thing-{object}")
}

/// The object as an admission review holds it.
pub fn json(object: usize, value: &Object) -> String {
    let data: Vec<String> = (0..)
        .zip(&value.fields)
        .filter_map(|(field, value)| Some(format!(r#""f{field}":"v{}""#, (*value)?)))
        .chain(value.extra.map(|extra| format!(r#""extra":"e{extra}""#)))
        .collect();
    let (annotations, labels) = match value.owner {
        None => (String::new(), ""),
        Some(owner) => (
            format!(
                r#""meta.helm.sh/release-name":"{}","meta.helm.sh/release-namespace":"{NAMESPACE}""#,
                RELEASES[owner]
            ),
            r#""app.kubernetes.io/managed-by":"Helm""#,
        ),
    };
    format!(
        r#"{{"data":{{{}}},"metadata":{{"annotations":{{{annotations}}},"labels":{{{labels}}},"name":"thing-{object}"}}}}"#,
        data.join(",")
    )
}

fn yaml(manifest: &Manifest) -> String {
    let mut text = String::new();
    for (object, said) in manifest.iter().enumerate() {
        let Some(said) = said else { continue };
        let (version, kind) = if is_custom(object) {
            ("edge.test/v1", "Gadget")
        } else {
            ("v1", "ConfigMap")
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "---\napiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {}\n",
            name(object)
        );
        if said.keep {
            text += "  annotations:\n    helm.sh/resource-policy: keep\n";
        }
        text += "data:\n";
        for (field, value) in said.fields.iter().enumerate() {
            if let Some(value) = value {
                let _ = writeln!(text, "  f{field}: v{value}");
            }
        }
    }
    text
}

/// A release record.
#[derive(Clone, Debug)]
pub struct Record {
    pub status: RevisionStatus,
    pub manifest: Manifest,
    pub uid: u64,
    version: u64,
}

impl Record {
    pub fn state(&self) -> RecordVersion {
        RecordVersion {
            uid: self.uid.to_string().into(),
            resource_version: self.version.to_string().into(),
        }
    }
}

/// An event of a watch.
#[derive(Clone, Debug)]
pub enum Event {
    Written(Stored),
    Deleted(Stored),
}

/// The true state of the cluster.
pub struct Cluster {
    pub objects: [Option<Object>; OBJECTS],
    pub records: [BTreeMap<u32, Record>; RELEASES.len()],
    pub events: Vec<Event>,
    pub storages: [Arc<StorageKey>; RELEASES.len()],
    version: u64,
    bodies: HashMap<(usize, Manifest), Arc<Body>>,
    store: Arc<BodyStore>,
}

impl Cluster {
    pub fn new() -> Self {
        let storage = |name: &str| {
            Arc::new(StorageKey {
                driver: Driver::Secret,
                namespace: NAMESPACE.into(),
                name: name.into(),
            })
        };
        Self {
            objects: [None; OBJECTS],
            records: Default::default(),
            events: Vec::new(),
            storages: RELEASES.map(storage),
            version: 1,
            bodies: HashMap::new(),
            store: Arc::default(),
        }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn newest(&self, release: usize) -> Option<(u32, &Record)> {
        self.records[release]
            .last_key_value()
            .map(|(revision, record)| (*revision, record))
    }

    pub fn stored(&self, release: usize, revision: u32) -> Option<Stored> {
        let record = self.records[release].get(&revision)?;
        Some(Stored {
            key: RecordKey {
                storage: Arc::clone(&self.storages[release]),
                revision,
            },
            status: record.status,
            version: record.state(),
        })
    }

    /// Everything that a list of the records returns.
    pub fn list(&self) -> Vec<Stored> {
        (0..RELEASES.len())
            .flat_map(|release| self.list_of(release))
            .collect()
    }

    pub fn list_of(&self, release: usize) -> Vec<Stored> {
        let revisions = self.records[release].keys();
        revisions
            .filter_map(|revision| self.stored(release, *revision))
            .collect()
    }

    /// POST of a record; false if there is one.
    pub fn create(
        &mut self,
        release: usize,
        revision: u32,
        status: RevisionStatus,
        manifest: Manifest,
    ) -> bool {
        if self.records[release].contains_key(&revision) {
            return false;
        }
        self.version += 1;
        let record = Record {
            status,
            manifest,
            uid: self.version,
            version: self.version,
        };
        self.records[release].insert(revision, record);
        self.notify(release, revision);
        true
    }

    /// PUT of a record without a resource version; false if there is none. Helm writes its complete
    /// copy: if another call has created a record of that number meanwhile, that call's `manifest` is
    /// overwritten.
    pub fn set(
        &mut self,
        release: usize,
        revision: u32,
        status: RevisionStatus,
        manifest: Option<Manifest>,
    ) -> bool {
        self.version += 1;
        let version = self.version;
        let Some(record) = self.records[release].get_mut(&revision) else {
            return false;
        };
        record.status = status;
        record.manifest = manifest.unwrap_or(record.manifest);
        record.version = version;
        self.notify(release, revision);
        true
    }

    pub fn delete(&mut self, release: usize, revision: u32) -> bool {
        self.version += 1;
        let version = self.version;
        let Some(mut stored) = self.stored(release, revision) else {
            return false;
        };
        // The event of a deletion has the version of the deletion.
        stored.version.resource_version = version.to_string().into();
        self.records[release].remove(&revision);
        self.events.push(Event::Deleted(stored));
        true
    }

    fn notify(&mut self, release: usize, revision: u32) {
        let stored = self.stored(release, revision);
        self.events.extend(stored.map(Event::Written));
    }

    /// The body of a manifest, in the product's format.
    pub fn body(&mut self, release: usize, manifest: &Manifest) -> Arc<Body> {
        let store = &self.store;
        let body = self.bodies.entry((release, *manifest)).or_insert_with(|| {
            let name = ReleaseName {
                namespace: NAMESPACE.into(),
                name: RELEASES[release].into(),
            };
            let parsed = manifest::parse(&yaml(manifest), &name);
            assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
            let parts = Parts {
                release: name,
                about: About::default(),
                objects: parsed.objects,
                problems: 0,
            };
            Arc::new(Body::new(parts, store))
        });
        Arc::clone(body)
    }
}
