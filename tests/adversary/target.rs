//! A declared object: its location, and its state right after the install.

use serde_json::{Value, json};

use crate::{
    discovery::{Served, Sub},
    exclusions::CONNECT,
    invariant::Promises,
    records,
    request::Place,
};

/// The label that Helm puts on its objects.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The ownership annotations of Helm.
pub const OWNED_BY: [&str; 2] = [
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
];

/// The role of a target in its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Declared in a manifest, with Helm's marks.
    Declared,
    /// A release record: only Helm may change its content.
    Record,
    /// A namespace with releases, or a CRD with declared instances: it must not be deleted.
    Infrastructure,
}

/// A declared object.
#[derive(Clone, Debug)]
pub struct Target {
    /// `KIND/NAME`.
    pub title: String,
    pub kind: String,
    /// Where it is.
    pub place: Place,
    /// Its role in the release.
    pub role: Role,
    /// Other versions that serve it.
    pub versions: Vec<String>,
    pub subresources: Vec<Sub>,
    /// The manifest.
    pub declared: Value,
    /// Its state after the install.
    pub baseline: Value,
    /// The values that must not change.
    pub promises: Promises,
}

impl Target {
    /// The target of an existing object.
    pub fn new(
        served: &Served,
        (title, place, role): (&str, Place, Role),
        declared: Value,
        baseline: Value,
    ) -> Self {
        let kind = declared.get("kind").and_then(Value::as_str);
        let mut subresources = served.subresources(&place.version, &place.plural);
        subresources.retain(|sub| !CONNECT.contains(&sub.name.as_str()));
        Self {
            title: title.to_owned(),
            kind: kind.unwrap_or_default().to_owned(),
            role,
            versions: served.other_versions(&place.version, &place.plural),
            subresources,
            promises: Promises::taken(role, &declared, &baseline),
            declared,
            baseline,
            place,
        }
    }

    /// Takes the current state as the expected one: Helm has made it again.
    pub fn retake(&mut self, baseline: Value) {
        if self.role == Role::Record {
            self.declared = records::lasting(&baseline);
        }
        self.promises = Promises::taken(self.role, &self.declared, &baseline);
        self.baseline = baseline;
    }

    /// Whether strategic merge patches are supported.
    pub fn is_builtin(&self) -> bool {
        let group = self.place.group();
        !group.contains('.') || group.ends_with(".k8s.io") && !group.starts_with("api")
    }

    /// The expected state as a request body, with the current resource version.
    pub fn as_it_was(&self, live: &Value) -> Value {
        let mut object = self.baseline.clone();
        let version = live.pointer("/metadata/resourceVersion").cloned();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["managedFields", "uid", "creationTimestamp", "generation"] {
                metadata.remove(field);
            }
            metadata.insert("resourceVersion".to_owned(), version.unwrap_or(json!("")));
        }
        object
    }
}
