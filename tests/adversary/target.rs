//! A declared object: where it is served, and how it stood right after the install.

use serde_json::{Value, json};

use crate::{
    discovery::{Served, Sub},
    exclusions::CONNECT,
    invariant::Promises,
    records,
    request::Place,
};

/// The label that Helm puts on what it makes.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The annotations by which Helm knows its own.
pub const OWNED_BY: [&str; 2] = [
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
];

/// What kind of promise a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// In a manifest, with Helm's marks.
    Declared,
    /// A release record: its content is Helm's alone.
    Record,
    /// A namespace with releases, or a CRD with declared instances: it is to stay.
    Foundation,
}

/// A declared object.
#[derive(Clone, Debug)]
pub struct Target {
    /// `KIND/NAME`.
    pub title: String,
    /// Kind.
    pub kind: String,
    /// Where it is.
    pub place: Place,
    /// What it is to its release.
    pub role: Role,
    /// The versions that it is served in beside its own.
    pub versions: Vec<String>,
    /// What can be done to it beside.
    pub subresources: Vec<Sub>,
    /// What the manifest says.
    pub declared: Value,
    /// How it stood after the install.
    pub baseline: Value,
    /// What must stay so.
    pub promises: Promises,
}

impl Target {
    /// The target of an object that is there.
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

    /// Takes what stands there now for how it is to be: Helm has made it anew.
    pub fn retake(&mut self, baseline: Value) {
        if self.role == Role::Record {
            self.declared = records::lasting(&baseline);
        }
        self.promises = Promises::taken(self.role, &self.declared, &baseline);
        self.baseline = baseline;
    }

    /// Whether strategic merge patches are taken.
    pub fn is_builtin(&self) -> bool {
        let group = self.place.group();
        !group.contains('.') || group.ends_with(".k8s.io") && !group.starts_with("api")
    }

    /// How it stood, as it can be sent: with the version that is there now.
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
