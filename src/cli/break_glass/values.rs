//! The changed fields as part of a manifest: what the chart must render.

use helm_guard_core::{
    api::{EmergencyChangeSpec, reported::ReportedValue},
    compare::path::{FieldPath, Step},
};
use serde_json::{Map, Value, json};

/// The manifest, and the paths that it cannot contain: items of lists without keys, and values that are
/// redacted, truncated or removed.
pub(super) fn manifest(change: &EmergencyChangeSpec) -> (Value, Vec<String>) {
    let object = &change.object;
    let metadata = match &*object.namespace {
        "" => json!({"name": object.name}),
        namespace => json!({"name": object.name, "namespace": namespace}),
    };
    let mut manifest = json!({
        "apiVersion": object.api_version, "kind": object.kind, "metadata": metadata,
    });
    let mut left = Vec::new();
    for field in &change.fields {
        let requested = field.requested.clone();
        let value = requested.filter(|_| !field.is_described(ReportedValue::Requested));
        let path: Option<FieldPath> = field.path.parse().ok();
        let is_put = match (value, path) {
            (Some(value), Some(path)) if is_named(path.steps()) => {
                put(&mut manifest, path.steps(), value)
            }
            _ => false,
        };
        if !is_put {
            left.push(field.path.clone());
        }
    }
    (manifest, left)
}

/// Whether every step has a name: a list index is meaningless without the rest of the list.
fn is_named(steps: &[Step]) -> bool {
    let mut steps = steps.iter();
    steps.all(|step| matches!(step, Step::Field(_) | Step::Item(_)))
}

/// Sets the value at the steps; false if they do not fit the manifest.
fn put(at: &mut Value, steps: &[Step], value: Value) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        *at = value;
        return true;
    };
    match step {
        Step::Field(name) => {
            if at.is_null() {
                *at = Value::Object(Map::new());
            }
            let Value::Object(fields) = at else {
                return false;
            };
            put(
                fields.entry(name.clone()).or_insert(Value::Null),
                rest,
                value,
            )
        }
        Step::Item(keys) => {
            if at.is_null() {
                *at = Value::Array(Vec::new());
            }
            let Value::Array(items) = at else {
                return false;
            };
            let item: Map<String, Value> = keys
                .iter()
                .map(|(key, text)| (key.clone(), scalar(text)))
                .collect();
            let is_it = |found: &Value| {
                item.iter()
                    .all(|(key, value)| found.get(key) == Some(value))
            };
            let position = items.iter().position(is_it).unwrap_or_else(|| {
                items.push(Value::Object(item.clone()));
                items.len() - 1
            });
            items
                .get_mut(position)
                .is_some_and(|found| put(found, rest, value))
        }
        Step::Value(_) | Step::Index(_) => false,
    }
}

/// A key is a string, except for numbers such as ports.
fn scalar(text: &str) -> Value {
    match text.parse::<u64>() {
        Ok(number) => Value::from(number),
        Err(_) => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_an_item_are_grouped_and_omitted_paths_are_listed() {
        let change = json!({
            "user": "ada", "at": "2026-11-21T03:00:00Z", "requestUid": "u-1", "operation": "Update",
            "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop",
                "name": "web"},
            "release": {"name": "myapp", "namespace": "shop", "chart": "c-1", "revision": 3},
            "fields": [
                {"path": ".spec.containers[name=web].memory", "requested": "2Gi"},
                {"path": ".spec.containers[name=web].cpu", "requested": 1},
                {"path": ".spec.args[0]", "requested": "a"},
                {"path": ".spec.gone"},
                {"path": ".data.password", "new": "<redacted 1>"},
            ],
            "reconcileBy": "2026-11-22T03:00:00Z",
        });
        let (manifest, left) = manifest(&serde_json::from_value(change).unwrap());
        assert_eq!(
            manifest,
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "shop"},
                "spec": {"containers": [{"name": "web", "memory": "2Gi", "cpu": 1}]},
            })
        );
        assert_eq!(left, [".spec.args[0]", ".spec.gone", ".data.password"]);
    }
}
