//! What names a stored record: where a release keeps its records, and one revision of it.

use std::{fmt, sync::Arc};

use crate::helm::{
    lifecycle::Status,
    storage::{Driver, record_name},
};

/// Where a release keeps its records.
///
/// Not the release's own name: Flux may store records in another namespace than the release's
/// (`spec.storageNamespace`), and two storages may hold records of one and the same release.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorageKey {
    /// Secrets or `ConfigMap`s.
    pub driver: Driver,
    /// The namespace of the records.
    pub namespace: Box<str>,
    /// The release's name.
    pub name: Box<str>,
}

impl fmt::Display for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One record: one revision in one storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// The storage.
    pub storage: Arc<StorageKey>,
    /// The revision.
    pub revision: u32,
}

impl RecordKey {
    /// The name of the Secret or `ConfigMap` (Helm `pkg/storage/storage.go`, `makeKey`).
    pub fn object_name(&self) -> String {
        record_name(&self.storage.name, self.revision)
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.storage, self.revision)
    }
}

/// One state of a record's object: a body read at one version tells nothing about another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// `metadata.uid`: a deleted and re-created record is another one.
    pub uid: Box<str>,
    /// `metadata.resourceVersion`.
    pub resource_version: Box<str>,
}

impl Version {
    /// Whether this state is surely earlier than `other`, of the same record or of one that was
    /// deleted and made again under its name.
    ///
    /// Resource versions of one resource are ordered decimal numbers (Kubernetes API concepts,
    /// "Resource versions"; etcd's revisions); where they do not look so, nothing is known.
    pub fn is_before(&self, other: &Self) -> bool {
        match (
            number(&self.resource_version),
            number(&other.resource_version),
        ) {
            (Some(this), Some(other)) => this < other,
            _ => false,
        }
    }
}

/// A resource version as a number, where it looks like one.
pub fn number(resource_version: &str) -> Option<u64> {
    resource_version.parse().ok()
}

/// What the metadata of a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which record it is.
    pub key: RecordKey,
    /// The revision's status, from the label that Helm keeps in step with the body.
    pub status: Status,
    /// The state of the object.
    pub version: Version,
}
