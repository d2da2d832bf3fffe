//! The last writer of a field, from `metadata.managedFields`.

use serde::Serialize;
use serde_json::Value;

use crate::compare::{lookup, path::Step, unquoted};

/// The writer of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldWriter {
    /// The field manager: what the client called itself.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// When it last wrote any of its fields.
    pub time: Option<String>,
}

/// The manager that owns the field, and wrote last of those that do. None for a field that nobody
/// set: it is a default.
pub fn last_writer(object: &Value, steps: &[Step]) -> Option<FieldWriter> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let text = |entry: &Value, key: &str| Some(entry.get(key)?.as_str()?.to_owned());
    entries
        .iter()
        .filter(|entry| entry.get("fieldsV1").is_some_and(|set| owns(set, steps)))
        .filter_map(|entry| {
            Some(FieldWriter {
                manager: text(entry, "manager")?,
                operation: text(entry, "operation")?,
                time: text(entry, "time"),
            })
        })
        // RFC 3339 in UTC compares as text.
        .max_by(|a, b| a.time.cmp(&b.time))
}

/// Whether a field set (structured-merge-diff's `fieldsV1`) contains a path, an atomic parent of it, or
/// something below it.
fn owns(set: &Value, steps: &[Step]) -> bool {
    let Some(fields) = set.as_object() else {
        return false;
    };
    let Some((step, rest)) = steps.split_first() else {
        return true;
    };
    // An atomic value is owned as a whole: nothing is listed below it.
    if fields.is_empty() {
        return true;
    }
    fields
        .iter()
        .any(|(key, below)| is(key, step) && owns(below, rest))
}

fn is(key: &str, step: &Step) -> bool {
    match (key.split_once(':'), step) {
        (Some(("f", name)), Step::Field(field)) => name == field,
        (Some(("i", index)), Step::Index(wanted)) => index.parse() == Ok(*wanted),
        (Some(("v", json)), Step::Value(value)) => json == value || unquoted(json) == *value,
        (Some(("k", json)), Step::Item(keys)) => {
            let Ok(Value::Object(found)) = serde_json::from_str(json) else {
                return false;
            };
            keys.iter().all(|(key, wanted)| {
                let value = found.get(key);
                value.is_none_or(|value| lookup::is(value, wanted))
            })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::compare::path::FieldPath;

    #[rstest]
    #[case::last_of_two(".spec.replicas", Some("kubectl-edit"))]
    #[case::only_one(".spec.paused", Some("helm"))]
    #[case::item(".spec.containers[name=web].image", Some("helm"))]
    #[case::other_item(".spec.containers[name=db].image", None)]
    #[case::atomic(".spec.args[1]", Some("kubectl-edit"))]
    #[case::what_is_below(".spec.containers", Some("helm"))]
    #[case::default_value(".spec.defaulted", None)]
    fn the_last_writer_among_the_owners_is_found(
        #[case] path: &str,
        #[case] expected: Option<&str>,
    ) {
        let entry = |manager: &str, time: &str, fields: Value| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields});
        let helm = json!({"f:spec": {
            "f:replicas": {}, "f:paused": {},
            "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}},
        }});
        let edit = json!({"f:spec": {"f:replicas": {}, "f:args": {}}});
        let object = json!({"metadata": {"managedFields": [
            entry("kubectl-edit", "2026-02-01T00:00:00Z", edit),
            entry("helm", "2026-01-01T00:00:00Z", helm),
        ]}});
        let path: FieldPath = path.parse().unwrap();
        let writer = last_writer(&object, path.steps());
        assert_eq!(writer.map(|writer| writer.manager).as_deref(), expected);
    }
}
