//! The release records of a recording, followed as the watch of a cluster would follow them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use helm_guard::{
    releases::{
        Body, Directory,
        body::{About, Parts},
        index::{Demand, Index},
        key::{RecordKey, Stored},
        reader,
        store::BodyStore,
        view::RevisionContent,
    },
    webhook::envelope,
};
use helm_guard_core::{
    guard::{Operation, Raw, Request},
    helm::{
        manifest,
        record::{self, RecordLimits},
        storage::Driver,
    },
};
use k8s_openapi::api::core::v1::Secret;

/// The records as they are at one line of a recording.
pub struct Records {
    index: Index,
    directory: Arc<Directory>,
    store: Arc<BodyStore>,
    bodies: HashMap<RecordKey, Secret>,
    version: u64,
}

impl Records {
    /// The records before the first line: those that are updated or deleted without having been
    /// created.
    pub fn from_before(lines: &[String]) -> Self {
        let directory = Arc::new(Directory::default());
        let mut records = Self {
            index: Index::new(Arc::clone(&directory)),
            directory,
            store: Arc::default(),
            bodies: HashMap::new(),
            version: 0,
        };
        let mut seen = HashSet::new();
        for line in lines {
            let request =
                envelope::parse(line.as_bytes()).expect("a recorded review is well-formed");
            if is_record(&request) && seen.insert(request.name.to_string()) {
                records.apply(request.old_object);
            }
        }
        records
    }

    /// The objects that the releases declare, at any time.
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// Follows a request that the API server carried out.
    pub fn see(&mut self, request: &Request<'_>) {
        if !is_record(request) || !request.sub_resource.is_empty() || request.dry_run {
            return;
        }
        match request.operation {
            Operation::Create | Operation::Update => self.apply(request.object),
            Operation::Delete => {
                if let Some((stored, _)) = self.read(request.old_object) {
                    self.index.delete(&stored);
                }
            }
            Operation::Connect | Operation::Unknown => {}
        }
    }

    fn apply(&mut self, object: Option<Raw<'_>>) {
        let Some((stored, secret)) = self.read(object) else {
            return;
        };
        self.bodies.insert(stored.key.clone(), secret);
        self.index.apply(stored);
        for demand in self.index.take_demands() {
            if let Demand::Fetch(key, version) = demand {
                let content = RevisionContent::Body(Arc::new(self.body(&key)));
                self.index.insert_body(&key, &version, content);
            }
        }
    }

    /// The resource versions in the recording are those before each write, so writes are counted instead.
    fn read(&mut self, object: Option<Raw<'_>>) -> Option<(Stored, Secret)> {
        let secret: Secret = serde_json::from_str(object?.get()).expect("a record is a Secret");
        let mut metadata = secret.metadata.clone();
        self.version += 1;
        metadata.resource_version = Some(self.version.to_string());
        let stored = reader::stored(Driver::Secret, &metadata).expect("a record has its labels")?;
        Some((stored, secret))
    }

    fn body(&self, key: &RecordKey) -> Body {
        let data = self.bodies[key].data.as_ref().expect("a record has data");
        let payload = &data["release"].0;
        let record = record::decode(payload, &RecordLimits::default()).expect("a record decodes");
        let manifest = manifest::parse(&record.manifest, &record.release);
        assert_eq!(manifest.problems, [], "every document of {key} parses");
        let parts = Parts {
            release: record.release,
            about: About::default(),
            objects: manifest.objects,
            problems: 0,
        };
        Body::new(parts, &self.store)
    }
}

fn is_record(request: &Request<'_>) -> bool {
    request.kind.kind == "Secret" && request.name.starts_with("sh.helm.release.v1.")
}
