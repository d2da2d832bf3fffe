//! Turns a document into the object that Helm and the API server make of it, before defaults.
//!
//! Both sides of a comparison must have the same form; this is the declared side. Additions of the
//! API server do not matter: only declared fields are compared.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use crate::helm::identity::ReleaseName;

/// Metadata that the API server owns: nobody declares it, and `namespace` is part of the identity.
const SERVER_METADATA: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Normalizes an object of the given kind; the core group is empty.
pub(super) fn normalize(
    object: &mut Map<String, Value>,
    group: &str,
    kind: &str,
    release: &ReleaseName,
) {
    object.remove("status");
    match (group, kind) {
        ("", "Secret") => {
            null_is_empty(object, "data");
            fold_string_data(object);
        }
        ("", "ConfigMap") => {
            null_is_empty(object, "data");
            null_is_empty(object, "binaryData");
        }
        _ => {}
    }
    null_labels_are_empty(object);
    let mut metadata = take(object, "metadata");
    for field in SERVER_METADATA {
        metadata.remove(*field);
    }
    own(&mut metadata, release);
    object.insert("metadata".into(), metadata.into());
    drop_nulls(object);
}

/// Helm overwrites these, whatever the chart has (`pkg/action/validate.go`).
fn own(metadata: &mut Map<String, Value>, release: &ReleaseName) {
    let mut labels = take(metadata, "labels");
    labels.insert("app.kubernetes.io/managed-by".into(), "Helm".into());
    metadata.insert("labels".into(), labels.into());
    let mut annotations = take(metadata, "annotations");
    annotations.insert(
        "meta.helm.sh/release-name".into(),
        release.name.clone().into(),
    );
    annotations.insert(
        "meta.helm.sh/release-namespace".into(),
        release.namespace.clone().into(),
    );
    metadata.insert("annotations".into(), annotations.into());
}

/// The part of an object that every manifest of a release declares.
pub fn marks(release: &ReleaseName) -> Value {
    let mut metadata = Map::new();
    own(&mut metadata, release);
    json!({ "metadata": metadata })
}

/// Removes and returns the object under `key`; an empty one if there is none.
fn take(parent: &mut Map<String, Value>, key: &str) -> Map<String, Value> {
    match parent.remove(key) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// A null in a map of strings or of bytes reaches the API server's types as an empty value.
fn null_is_empty(object: &mut Map<String, Value>, key: &str) {
    let Some(Value::Object(map)) = object.get_mut(key) else {
        return;
    };
    for value in map.values_mut().filter(|value| value.is_null()) {
        *value = Value::String(String::new());
    }
}

/// Metadata has the same type in every kind and in every template inside one, and its labels and
/// annotations are maps of strings.
fn null_labels_are_empty(object: &mut Map<String, Value>) {
    for (name, value) in object.iter_mut() {
        if name == "metadata"
            && let Value::Object(metadata) = value
        {
            null_is_empty(metadata, "labels");
            null_is_empty(metadata, "annotations");
        }
        null_labels_below(value);
    }
}

fn null_labels_below(value: &mut Value) {
    match value {
        Value::Object(object) => null_labels_are_empty(object),
        Value::Array(items) => items.iter_mut().for_each(null_labels_below),
        _ => {}
    }
}

/// The API server encodes `stringData` over `data` and keeps only `data` (`Secret` strategy).
fn fold_string_data(secret: &mut Map<String, Value>) {
    match secret.remove("stringData") {
        Some(Value::Object(strings)) if !strings.is_empty() => {
            let mut data = take(secret, "data");
            for (key, value) in strings {
                let value = match value {
                    Value::String(text) => BASE64_STANDARD.encode(text).into(),
                    Value::Null => Value::String(String::new()),
                    // The API server rejects it; kept for the comparison.
                    other => other,
                };
                data.insert(key, value);
            }
            secret.insert("data".into(), data.into());
        }
        None | Some(Value::Object(_) | Value::Null) => {}
        Some(other) => {
            secret.insert("stringData".into(), other);
        }
    }
}

/// A null field is the same as no field; a null item of a list keeps its place.
fn drop_nulls(object: &mut Map<String, Value>) {
    object.retain(|_, value| !value.is_null());
    object.values_mut().for_each(drop_nulls_below);
}

fn drop_nulls_below(value: &mut Value) {
    match value {
        Value::Object(object) => drop_nulls(object),
        Value::Array(items) => items.iter_mut().for_each(drop_nulls_below),
        _ => {}
    }
}
