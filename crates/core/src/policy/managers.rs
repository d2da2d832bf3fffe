//! Who owns a field, by `metadata.managedFields`.

use std::collections::HashMap;

use serde_json::Value;

use crate::compare::{field_sets::FieldSets, path::FieldPath};

/// The owners of one object's fields: parsed once, however many paths are checked.
pub(super) struct Owners {
    /// The entries of each manager.
    by_manager: HashMap<String, Vec<usize>>,
    sets: FieldSets,
}

impl Owners {
    pub(super) fn of(object: &Value) -> Self {
        let entries = object.pointer("/metadata/managedFields");
        let entries = entries.and_then(Value::as_array).into_iter().flatten();
        let mut by_manager: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, entry) in entries.enumerate() {
            if let Some(manager) = entry.get("manager").and_then(Value::as_str) {
                by_manager.entry(manager.to_owned()).or_default().push(at);
            }
        }
        Self {
            by_manager,
            sets: FieldSets::default(),
        }
    }

    /// Whether one of the managers owns the path in the object, which must always be the same one.
    pub(super) fn include(&self, managers: &[String], object: &Value, path: &FieldPath) -> bool {
        let entries = object.pointer("/metadata/managedFields");
        let Some(entries) = entries.and_then(Value::as_array) else {
            return false;
        };
        let own = managers
            .iter()
            .filter_map(|manager| self.by_manager.get(manager));
        own.flatten().any(|at| {
            let fields = entries.get(*at).and_then(|entry| entry.get("fieldsV1"));
            let fields = fields.and_then(Value::as_object);
            let found = fields.and_then(|fields| self.sets.find(fields, path.steps()));
            // `.` means that the map or item itself is owned, and not only its content.
            found.is_some_and(|found| found.is_empty() || found.contains_key("."))
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::policy::tree::Tree;

    #[rstest]
    #[case::leaf(".spec.replicas", true)]
    #[case::not_owned(".spec.paused", false)]
    #[case::of_another_manager(".data.a", false)]
    #[case::in_an_item(".spec.containers[name=web].image", true)]
    #[case::of_another_item(".spec.containers[name=db].image", false)]
    #[case::the_item_itself(".spec.containers[name=web]", true)]
    #[case::a_map_of_which_only_a_part_is_owned(".spec", false)]
    #[case::in_an_atomic_list(".spec.args[2]", true)]
    #[case::by_two_keys(".spec.ports[port=80,protocol=TCP].name", true)]
    #[case::in_a_set(".metadata.finalizers[a/b]", true)]
    fn a_manager_owns_its_managed_fields(#[case] path: &str, #[case] owned: bool) {
        let object = json!({"metadata": {"managedFields": [
            {"manager": "other", "fieldsV1": {"f:data": {"f:a": {}}}},
            {"manager": "keda", "fieldsV1": {
                "f:metadata": {"f:finalizers": {"v:\"a/b\"": {}}},
                "f:spec": {
                    "f:replicas": {}, "f:args": {},
                    "f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}},
                    "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:name": {}}},
                },
            }},
        ]}})
        .to_string();
        let path = path.parse().unwrap();
        let object = Tree::of(&object);
        assert_eq!(object.is_owned_by(&["keda".to_owned()], &path), owned);
    }

    #[test]
    fn an_object_without_managed_fields_has_no_owner() {
        for object in [
            r#"{"metadata":{}}"#,
            r#"{"metadata":{"managedFields":[{}]}}"#,
            "1",
        ] {
            let object = Tree::of(object);
            assert!(!object.is_owned_by(&[String::new()], &FieldPath::of(["spec"])));
        }
    }
}
