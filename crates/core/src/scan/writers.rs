//! The last writer of a field, from `metadata.managedFields`.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::compare::{field_sets::FieldSets, path::Step};

/// The writer of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldWriter {
    /// The field manager: what the client called itself.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// When it last wrote any of its fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// The manager that owns the field, and wrote last of those that do. None for a field that nobody
/// set: it is a default.
pub fn last_writer(object: &Value, steps: &[Step]) -> Option<FieldWriter> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let text = |entry: &Value, key: &str| Some(entry.get(key)?.as_str()?.to_owned());
    let sets = FieldSets::default();
    // Whoever owns a part of the field, or the whole value that contains it, wrote it.
    let owns = |entry: &&Value| {
        let set = entry.get("fieldsV1").and_then(Value::as_object);
        set.and_then(|set| sets.find(set, steps)).is_some()
    };
    entries
        .iter()
        .filter(owns)
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
