//! Requests for Helm's own records, and for namespaces and CRDs that releases need: what Helm does, and what it
//! never does.
//!
//! A record is a Secret or `ConfigMap` that Helm writes for each revision. Nothing in a request proves
//! that Helm sent it, so the verdict depends on the content: what Helm would never do is a violation,
//! and what Helm might have done counts as Helm's, whoever the user is.
//!
//! - [`edit`]: an UPDATE may change the state of a record, and nothing else.
//! - [`removal`]: a DELETE belongs to an uninstallation, or takes the oldest record of a long history.
//! - [`DeletionTarget`]: a namespace or a CRD may not be deleted while releases depend on it.
//!
//! Start at [`StoredRecord::of`].

pub mod edit;
pub mod forged;
pub mod removal;
#[cfg(test)]
mod tests;
mod values;

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::{
    claimant::Claimant,
    request::{Kind, Raw},
};
use crate::helm::{
    lifecycle::RevisionStatus,
    storage::{Driver, RecordMeta, SECRET_TYPE},
};

/// A release record in a request.
pub struct StoredRecord {
    /// The kind of its object.
    pub driver: Driver,
    /// The name of the Secret or ConfigMap.
    pub object_name: String,
    /// The release, by the name of the object.
    pub release: String,
    /// The revision, if the object has one.
    pub revision: u32,
    /// The labels in which Helm stores name, revision and status.
    pub labels: BTreeMap<String, String>,
    /// It is immutable: nobody can write it anymore, not even Helm.
    pub(crate) is_immutable: bool,
    /// It is already being deleted.
    pub is_leaving: bool,
    /// Its owner references, which Helm never writes.
    pub owners: Vec<Value>,
    /// Its content as the API shows it: base64-encoded in a Secret.
    text: Option<String>,
}

#[derive(Deserialize)]
struct RecordObject {
    #[serde(default)]
    metadata: RecordObjectMeta,
    #[serde(default, rename = "type")]
    secret_type: Option<String>,
    #[serde(default)]
    immutable: Option<bool>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RecordObjectMeta {
    name: String,
    labels: Option<BTreeMap<String, String>>,
    deletion_timestamp: Option<IgnoredAny>,
    owner_references: Option<Vec<Value>>,
}

/// Its only field is [`crate::helm::storage::DATA_KEY`].
#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    release: Option<String>,
}

impl StoredRecord {
    /// The record in an object of a request; `None` if the object is something else.
    pub fn of(kind: &Kind<'_>, object: Raw<'_>) -> Option<Self> {
        let driver = match (&*kind.group, &*kind.kind) {
            ("", "Secret") => Driver::Secret,
            ("", "ConfigMap") => Driver::ConfigMap,
            _ => return None,
        };
        let object: RecordObject = serde_json::from_str(object.get()).ok()?;
        let is_typed = object.secret_type.as_deref() == Some(SECRET_TYPE);
        let labels = object.metadata.labels.unwrap_or_default();
        let is_helms = labels.get("owner").is_some_and(|owner| owner == "helm");
        if !is_helms || (driver == Driver::Secret && !is_typed) {
            return None;
        }
        // By the name alone: whether a label contradicts it is decided later.
        let meta = RecordMeta::from_metadata(driver, "", &object.metadata.name, []).ok()??;
        Some(Self {
            driver,
            object_name: object.metadata.name,
            release: meta.release_name,
            revision: meta.revision,
            labels,
            is_immutable: object.immutable.unwrap_or_default(),
            is_leaving: object.metadata.deletion_timestamp.is_some(),
            owners: object.metadata.owner_references.unwrap_or_default(),
            text: object.data.and_then(|data| data.release),
        })
    }

    /// The status from its label.
    pub fn status(&self) -> RevisionStatus {
        let word = self.labels.get("status");
        RevisionStatus::from_word(word.map_or("", String::as_str))
    }

    /// What [`crate::helm::record::decode`] takes; `None` where there is nothing, or no base64.
    pub fn payload(&self) -> Option<Vec<u8>> {
        let text = self.text.as_ref()?;
        match self.driver {
            Driver::Secret => BASE64_STANDARD.decode(text).ok(),
            Driver::ConfigMap => Some(text.clone().into_bytes()),
        }
    }

    /// Whether both contain the same text.
    pub(crate) fn has_body_of(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Shows nothing of its content.
impl std::fmt::Debug for StoredRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredRecord")
            .field("driver", &self.driver)
            .field("object_name", &self.object_name)
            .finish_non_exhaustive()
    }
}

/// What releases depend on, besides their own objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionTarget<'a> {
    /// A namespace: its deletion deletes the records and objects in it.
    Namespace(&'a str),
    /// A CRD: its deletion deletes all instances, without admission.
    Crd(&'a Defined),
}

/// A release that would lose something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedRelease {
    /// The release, and whether its claim counts.
    pub claimant: Claimant,
    /// `name-version` of its chart.
    pub chart: Arc<str>,
    /// Its active revisions, newest first.
    pub revisions: Vec<u32>,
    /// The instances that it declares, at most [`NAMED`].
    pub objects: Vec<String>,
}

/// The most instances of a release that are named.
pub const NAMED: usize = 5;

/// Whether the object of a request is already being deleted, which nobody can stop anymore.
pub fn is_leaving(object: Raw<'_>) -> bool {
    #[derive(Deserialize)]
    struct Any {
        #[serde(default)]
        metadata: RecordObjectMeta,
    }
    serde_json::from_str::<Any>(object.get())
        .is_ok_and(|object| object.metadata.deletion_timestamp.is_some())
}

/// The instances of a `CustomResourceDefinition`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defined {
    /// Their API group.
    pub group: String,
    /// Their kind.
    pub kind: String,
    /// They are in no namespace.
    pub is_cluster_scoped: bool,
    /// A version in which they are served, if there is one.
    pub version: Option<String>,
}

impl Defined {
    /// The instances of the CRD in a request.
    pub fn by(definition: Raw<'_>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Definition {
            spec: CrdSpec,
        }
        #[derive(Deserialize)]
        struct CrdSpec {
            group: String,
            names: CrdNames,
            #[serde(default)]
            scope: String,
            #[serde(default)]
            versions: Vec<CrdVersion>,
        }
        #[derive(Deserialize)]
        struct CrdNames {
            kind: String,
        }
        #[derive(Deserialize)]
        struct CrdVersion {
            name: String,
            #[serde(default)]
            served: bool,
        }
        let Definition { spec } = serde_json::from_str(definition.get()).ok()?;
        let mut versions = spec.versions.into_iter();
        Some(Self {
            group: spec.group,
            kind: spec.names.kind,
            is_cluster_scoped: spec.scope == "Cluster",
            version: versions.find(|version| version.served).map(|of| of.name),
        })
    }
}
