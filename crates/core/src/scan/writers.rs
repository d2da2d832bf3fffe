//! The last writer of a field, from `metadata.managedFields`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::compare::{dig, field_sets::FieldSets, path::Step};

/// The writer of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    last_of(entries, &FieldSets::default(), steps)
}

/// The field managers of one live object.
#[derive(Default)]
pub(super) struct LiveWriters {
    entries: Vec<Value>,
    sets: FieldSets,
}

impl LiveWriters {
    /// From the JSON of an object; none if it shows none.
    pub(super) fn of(object: &str) -> Self {
        let text = dig(object, &["metadata", "managedFields"]);
        let entries = text.and_then(|text| serde_json::from_str(text).ok());
        Self {
            entries: entries.unwrap_or_default(),
            sets: FieldSets::default(),
        }
    }

    /// Whether the object shows its managers: a client may have cleared them.
    pub(super) fn are_known(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Whether one of these managers wrote the object itself, and not only its status.
    pub(super) fn include(&self, is_one: impl Fn(&str) -> bool) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| !is_of_status(entry) && is_one(manager(entry)))
    }

    /// See [`last_writer`].
    pub(super) fn last(&self, steps: &[Step]) -> Option<FieldWriter> {
        last_of(&self.entries, &self.sets, steps)
    }

    /// The last manager that owns the field itself or a part of it.
    pub(super) fn holder(&self, steps: &[Step]) -> Option<FieldWriter> {
        let owns = |entry: &&Value| set(entry).is_some_and(|set| has(&self.sets, set, steps));
        newest(self.entries.iter().filter(owns))
    }

    /// The last of these managers that owns this very field; of a part of an atomic value, the value that contains it.
    pub(super) fn owner(
        &self,
        steps: &[Step],
        is_part: bool,
        is_one: impl Fn(&str) -> bool,
    ) -> Option<FieldWriter> {
        let owns = |set: &Map<String, Value>| {
            // If it has children, they are owned, and not the field itself.
            self.sets.find(set, steps).is_some_and(Map::is_empty)
                && (is_part || has(&self.sets, set, steps))
        };
        let entries = self.entries.iter();
        newest(entries.filter(|entry| set(entry).is_some_and(owns) && is_one(manager(entry))))
    }
}

fn last_of(entries: &[Value], sets: &FieldSets, steps: &[Step]) -> Option<FieldWriter> {
    // Whoever owns the field or a part of it wrote it, or else the whole value that contains it.
    let owns = |entry: &&Value| set(entry).is_some_and(|set| has(sets, set, steps));
    let contains = |entry: &&Value| set(entry).and_then(|set| sets.find(set, steps)).is_some();
    newest(entries.iter().filter(owns)).or_else(|| newest(entries.iter().filter(contains)))
}

/// Whether a set has the field itself or a part of it. An empty set around it may be a whole value that contains it, or
/// a map or list of which only the existence is owned: the API server writes both alike.
fn has(sets: &FieldSets, set: &Map<String, Value>, steps: &[Step]) -> bool {
    let parent = steps.split_last().map_or(steps, |(_, parent)| parent);
    let is_within = sets.find(set, parent).is_some_and(|set| !set.is_empty());
    is_within && sets.find(set, steps).is_some()
}

fn newest<'e>(entries: impl Iterator<Item = &'e Value>) -> Option<FieldWriter> {
    let text = |entry: &Value, key: &str| Some(entry.get(key)?.as_str()?.to_owned());
    entries
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

fn set(entry: &Value) -> Option<&Map<String, Value>> {
    entry.get("fieldsV1").and_then(Value::as_object)
}

fn manager(entry: &Value) -> &str {
    let manager = entry.get("manager").and_then(Value::as_str);
    manager.unwrap_or_default()
}

fn is_of_status(entry: &Value) -> bool {
    entry.get("subresource").and_then(Value::as_str) == Some("status")
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
    #[case::of_a_map_that_helm_made(".data.a", Some("kubectl-edit"))]
    #[case::of_a_map_of_the_other(".data.b", Some("helm"))]
    fn the_last_writer_among_the_owners_is_found(
        #[case] path: &str,
        #[case] expected: Option<&str>,
    ) {
        let entry = |manager: &str, time: &str, fields: Value| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields});
        let helm = json!({"f:data": {"f:b": {}}, "f:spec": {
            "f:replicas": {}, "f:paused": {},
            "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}},
        }});
        let edit = json!({"f:data": {"f:a": {}}, "f:spec": {"f:replicas": {}, "f:args": {}}});
        let object = json!({"metadata": {"managedFields": [
            entry("helm-controller", "2026-03-01T00:00:00Z", json!({"f:data": {}})),
            entry("kubectl-edit", "2026-02-01T00:00:00Z", edit),
            entry("helm", "2026-01-01T00:00:00Z", helm),
        ]}});
        let path: FieldPath = path.parse().unwrap();
        let writer = last_writer(&object, path.steps());
        assert_eq!(writer.map(|writer| writer.manager).as_deref(), expected);
    }
}
