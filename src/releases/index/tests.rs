//! The index, fed by hand.

mod bodies;
mod budget;
mod claims;
mod dependents;
mod events;
mod read_through;
mod release_state;
mod unreadable;

use helm_guard_core::{
    guard::{Claim, ObjectRef, Reach, RevisionObject},
    helm::{
        ReleaseName,
        identity::DeclaredObject,
        lifecycle::{Phase, RevisionStatus},
    },
};
use rstest::rstest;

use super::{
    super::{
        body::{About, Parts},
        store::BodyStore,
    },
    *,
};
use crate::releases::Body;

/// An index, with the parts of a reader and a fetcher.
struct Fixture {
    index: Index,
    directory: Arc<Directory>,
    store: Arc<BodyStore>,
}

fn fixture() -> Fixture {
    let directory = Arc::new(Directory::default());
    Fixture {
        index: Index::new(Arc::clone(&directory)),
        directory,
        store: Arc::new(BodyStore::default()),
    }
}

/// An index with one record, which declares the Deployment `web` with the image `a:1`.
fn with_web(stored: &Stored) -> Fixture {
    let mut f = fixture();
    f.put(stored, vec![deployment("web", "a:1")]);
    f
}

const ALL: WatchScope = WatchScope {
    driver: Driver::Secret,
    namespace: None,
};

fn storage_in(namespace: &str, name: &str) -> Arc<StorageKey> {
    let (namespace, name) = (namespace.into(), name.into());
    Arc::new(StorageKey {
        driver: Driver::Secret,
        namespace,
        name,
    })
}

fn storage() -> Arc<StorageKey> {
    storage_in("shop", "web")
}

fn at(storage: &Arc<StorageKey>, revision: u32, status: RevisionStatus, version: u32) -> Stored {
    Stored {
        key: RecordKey {
            storage: Arc::clone(storage),
            revision,
        },
        status,
        version: version_of(revision, version),
    }
}

fn version_of(revision: u32, version: u32) -> RecordVersion {
    RecordVersion {
        uid: format!("uid-{revision}").into(),
        resource_version: version.to_string().into(),
    }
}

fn record(revision: u32, status: RevisionStatus, version: u32) -> Stored {
    at(&storage(), revision, status, version)
}

fn deployed(revision: u32, version: u32) -> Stored {
    record(revision, RevisionStatus::Deployed, version)
}

fn object(kind: &str, namespace: Option<&str>, name: &str, image: &str) -> DeclaredObject {
    DeclaredObject {
        group: if kind == "Deployment" { "apps" } else { "" }.into(),
        version: "v1".into(),
        kind: kind.into(),
        namespace: namespace.map(Into::into),
        name: name.into(),
        source: None,
        line: 1,
        keep: false,
        json: format!(r#"{{"image":"{image}"}}"#).into(),
    }
}

fn deployment(name: &str, image: &str) -> DeclaredObject {
    object("Deployment", None, name, image)
}

impl Fixture {
    fn body(&self, objects: Vec<DeclaredObject>) -> RevisionContent {
        self.body_of("shop", "web", objects)
    }

    fn body_of(
        &self,
        namespace: &str,
        name: &str,
        objects: Vec<DeclaredObject>,
    ) -> RevisionContent {
        self.body_with_problems((namespace, name), objects, 0)
    }

    /// A body in which this many documents could not be read.
    fn body_with_problems(
        &self,
        (namespace, name): (&str, &str),
        objects: Vec<DeclaredObject>,
        problems: usize,
    ) -> RevisionContent {
        let release = ReleaseName {
            namespace: namespace.into(),
            name: name.into(),
        };
        let about = About {
            chart: "web".into(),
            chart_version: "1.0.0".into(),
            ..About::default()
        };
        let parts = Parts {
            release,
            about,
            objects,
            problems,
        };
        RevisionContent::Body(Arc::new(Body::new(parts, &self.store)))
    }

    /// Applies a record and answers the demand for its body.
    fn put(&mut self, stored: &Stored, objects: Vec<DeclaredObject>) {
        let body = self.body(objects);
        self.put_body(stored, body);
    }

    fn put_body(&mut self, stored: &Stored, body: RevisionContent) {
        self.index.apply(stored.clone());
        self.index.insert_body(&stored.key, &stored.version, body);
        self.index.take_demands();
    }

    fn claims(&self, name: &str) -> Vec<Claim> {
        self.directory.claims("apps", "Deployment", "shop", name)
    }

    fn claim(&self, name: &str) -> Claim {
        let mut claims = self.claims(name);
        assert_eq!(claims.len(), 1, "claims on {name}");
        claims.remove(0)
    }

    /// The image of a Deployment in each active revision: `-` for absent, `?` for unreadable.
    fn images(&self, name: &str) -> Vec<(u32, String)> {
        images(&self.claim(name))
    }
}

fn images(claim: &Claim) -> Vec<(u32, String)> {
    let word = |held: &RevisionObject| match held {
        RevisionObject::Declared(object) => {
            let json: serde_json::Value = serde_json::from_str(&object.json).unwrap();
            json["image"].as_str().unwrap().to_owned()
        }
        RevisionObject::Absent => "-".into(),
        RevisionObject::Unreadable => "?".into(),
    };
    claim
        .revisions
        .iter()
        .map(|revision| (revision.revision, word(&revision.held)))
        .collect()
}

fn expected_images(pairs: &[(u32, &str)]) -> Vec<(u32, String)> {
    pairs
        .iter()
        .map(|(revision, word)| (*revision, (*word).to_owned()))
        .collect()
}
