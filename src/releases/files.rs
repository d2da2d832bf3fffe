//! The index without a cluster: records and manifests from files.
//!
//! They go into the same [`Index`] that watches feed, so that an evaluation from files equals that
//! of the webhook.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use helm_guard_core::helm::{
    ReleaseName,
    lifecycle::RevisionStatus,
    manifest::{self, DocumentProblem},
    record::RecordLimits,
    storage::{DATA_KEY, Driver, MetadataError, SECRET_TYPE},
};
use kube::api::ObjectMeta;
use serde_json::Value;

use super::{
    body::{About, Body, Parts},
    directory::Directory,
    index::Index,
    key::{RecordKey, RecordVersion, StorageKey, Stored},
    reader::{ReadError, decode, stored},
    store::BodyStore,
    view::RevisionContent,
};

/// Why an object is not a record.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Its metadata is invalid.
    #[error("failed to read the metadata of a {0}")]
    Metadata(&'static str),
    /// It is labeled as a record but is not one.
    #[error(transparent)]
    Record(#[from] MetadataError),
}

/// What kind of object was added.
#[derive(Debug)]
pub enum Added {
    /// A record, added to the index.
    Record,
    /// A record that cannot be decoded: added to the index as unreadable.
    Unreadable(RecordKey, ReadError),
    /// Something else.
    Other,
}

/// Collects records.
pub struct Files {
    directory: Arc<Directory>,
    index: Index,
    store: Arc<BodyStore>,
    limits: RecordLimits,
}

impl Files {
    /// An empty collection.
    pub fn new(limits: RecordLimits) -> Self {
        let directory = Arc::<Directory>::default();
        Self {
            index: Index::new(Arc::clone(&directory)),
            directory,
            store: Arc::default(),
            limits,
        }
    }

    /// Adds a Secret or `ConfigMap` in the API server's format.
    pub fn add(&mut self, object: &Value) -> Result<Added, FileError> {
        let (driver, payload) = match object.get("kind").and_then(Value::as_str) {
            // Other objects with the labels of a record are not records: see `SECRET_TYPE`.
            Some("Secret") if object.get("type").is_some_and(|of| of == SECRET_TYPE) => {
                (Driver::Secret, secret_payload(object))
            }
            Some("ConfigMap") => (Driver::ConfigMap, data(object).map(str::to_owned)),
            _ => return Ok(Added::Other),
        };
        let metadata = object.get("metadata").cloned().unwrap_or_default();
        let metadata: ObjectMeta = serde_json::from_value(metadata)
            // The library's messages quote what they could not parse.
            .map_err(|_quotes| FileError::Metadata(driver.kind()))?;
        let Some(stored) = stored(driver, &metadata)? else {
            return Ok(Added::Other);
        };
        let (key, version) = (stored.key.clone(), stored.version.clone());
        self.index.apply(stored);
        let body = payload
            .ok_or(ReadError::Empty)
            .and_then(|text| decode(text.as_bytes(), self.limits, &self.store, &key));
        Ok(match body {
            Ok(body) => {
                let content = RevisionContent::Body(Arc::new(body));
                self.index.insert_body(&key, &version, content);
                Added::Record
            }
            Err(error) => {
                self.index
                    .insert_body(&key, &version, RevisionContent::Unreadable);
                Added::Unreadable(key, error)
            }
        })
    }

    /// Adds a manifest (`helm get manifest`, `helm template`) as revision 1 of a deployed release.
    /// Returns the documents that cannot be read.
    pub(crate) fn add_manifest(
        &mut self,
        release: ReleaseName,
        text: &str,
    ) -> Vec<DocumentProblem> {
        let manifest = manifest::parse(text, &release);
        let key = RecordKey {
            storage: Arc::new(StorageKey {
                driver: Driver::Secret,
                namespace: release.namespace.as_str().into(),
                name: release.name.as_str().into(),
            }),
            revision: 1,
        };
        let version = RecordVersion::default();
        self.index.apply(Stored {
            key: key.clone(),
            status: RevisionStatus::Deployed,
            version: version.clone(),
        });
        let parts = Parts {
            release,
            about: About::default(),
            problems: manifest.problem_count(),
            objects: manifest.objects,
        };
        let body = Body::new(parts, &self.store);
        let content = RevisionContent::Body(Arc::new(body));
        self.index.insert_body(&key, &version, content);
        manifest.problems
    }

    /// The collected records, for lookups.
    pub fn directory(self) -> Arc<Directory> {
        self.directory
    }
}

fn data(object: &Value) -> Option<&str> {
    object.get("data")?.get(DATA_KEY)?.as_str()
}

/// A Secret encodes its values in base64 once more. One written by hand may have plain text.
fn secret_payload(object: &Value) -> Option<String> {
    if let Some(data) = data(object) {
        let packed: String = data.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(packed).ok()?;
        return String::from_utf8(bytes).ok();
    }
    let plain = object.get("stringData")?.get(DATA_KEY)?.as_str()?;
    Some(plain.to_owned())
}

#[cfg(test)]
mod tests {
    use helm_guard_core::guard::RevisionObject;
    use serde_json::json;

    use super::*;

    const MANIFEST: &str = "---\n# Source: web/templates/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  a: b\n";

    /// A record as `kubectl get secret -o json` prints it.
    fn record(revision: u32, status: &str, wrap: fn(&str) -> String) -> Value {
        let body = json!({
            "name": "web", "namespace": "shop", "version": revision,
            "info": {"status": status}, "manifest": MANIFEST,
            "chart": {"metadata": {"name": "web", "version": "1.0.0"}},
        });
        let body = STANDARD.encode(body.to_string());
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
            "metadata": {
                "name": format!("sh.helm.release.v1.web.v{revision}"), "namespace": "shop",
                "labels": {
                    "owner": "helm", "name": "web", "status": status,
                    "version": revision.to_string(),
                },
            },
            "data": {"release": wrap(&body)},
        })
    }

    fn held(files: Files) -> Vec<(u32, bool)> {
        let claims = files
            .directory()
            .claims("", "ConfigMap", "shop", "settings");
        let revisions = claims.iter().flat_map(|claim| &claim.revisions);
        revisions
            .map(|r| (r.revision, matches!(r.held, RevisionObject::Declared(_))))
            .collect()
    }

    #[test]
    fn records_from_files_have_the_same_active_set_as_in_a_cluster() {
        let mut files = Files::new(RecordLimits::default());
        let wrap = |body: &str| STANDARD.encode(body);
        for (revision, status) in [(1, "superseded"), (2, "deployed"), (3, "pending-upgrade")] {
            let added = files.add(&record(revision, status, wrap)).unwrap();
            assert!(matches!(added, Added::Record), "{added:?}");
        }
        assert_eq!(held(files), [(3, true), (2, true)]);
    }

    #[test]
    fn an_undecodable_record_is_unreadable_and_other_objects_are_ignored() {
        let mut files = Files::new(RecordLimits::default());
        let garbage = |_: &str| STANDARD.encode("garbage");
        let added = files.add(&record(1, "deployed", garbage)).unwrap();
        assert!(matches!(added, Added::Unreadable(..)), "{added:?}");
        for other in [
            json!({"kind": "Secret", "metadata": {"name": "tls"}}),
            json!({"kind": "Pod"}),
            json!(null),
        ] {
            assert!(matches!(files.add(&other).unwrap(), Added::Other));
        }
        assert!(files.directory().is_unreadable("shop", "web"));
    }

    #[test]
    fn a_manifest_counts_as_a_deployed_release() {
        let mut files = Files::new(RecordLimits::default());
        let release = ReleaseName {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        let broken = format!("{MANIFEST}---\n{{");
        assert_eq!(files.add_manifest(release, &broken).len(), 1);
        assert_eq!(held(files), [(1, true)]);
    }
}
