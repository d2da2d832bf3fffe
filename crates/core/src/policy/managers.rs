//! Who owns a field, by `metadata.managedFields`.

use std::{cell::RefCell, collections::HashMap};

use serde_json::{Map, Value};

use crate::compare::{
    path::{FieldPath, Step},
    positions::unquoted,
};

/// The most sets of merge keys that are checked; the items of a list usually have the same.
const MOST_KEYS: usize = 16;

/// The owners of one object's fields: parsed once, however many paths are checked.
pub(super) struct Owners {
    /// The entries of each manager.
    by_manager: HashMap<String, Vec<usize>>,
    /// The items of the visited field sets, by their addresses in memory.
    items: RefCell<HashMap<*const Map<String, Value>, Items>>,
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
            items: RefCell::default(),
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
            fields.is_some_and(|fields| self.hold(fields, path))
        })
    }

    /// Whether a field set (`FieldsV1`) contains the path, or a whole value that contains it.
    fn hold(&self, fields: &Map<String, Value>, path: &FieldPath) -> bool {
        let mut at = fields;
        for (depth, step) in path.steps().iter().enumerate() {
            if depth > 0 && at.is_empty() {
                return true;
            }
            let below = match step {
                Step::Field(name) => at.get(&format!("f:{name}")),
                Step::Index(index) => at.get(&format!("i:{index}")),
                step => {
                    let mut items = self.items.borrow_mut();
                    let items = items
                        .entry(std::ptr::from_ref(at))
                        .or_insert_with(|| Items::of(at));
                    items.find(step).and_then(|key| at.get(key))
                }
            };
            match below.and_then(Value::as_object) {
                Some(below) => at = below,
                None => return false,
            }
        }
        // `.` means that the map or item itself is owned, and not only its content.
        at.is_empty() || at.contains_key(".")
    }
}

/// The items in a field set: the name of each there, by the path step that names it.
#[derive(Default)]
struct Items {
    by_value: HashMap<String, String>,
    /// By the names of the merge keys, and then by their values.
    by_keys: Vec<(Vec<String>, ByValues)>,
}

/// Names in the field set, by the values of the merge keys.
type ByValues = HashMap<Vec<String>, String>;

impl Items {
    fn of(fields: &Map<String, Value>) -> Self {
        let mut items = Self::default();
        for name in fields.keys() {
            if let Some(json) = name.strip_prefix("v:") {
                items.by_value.insert(unquoted(json), name.clone());
            } else if let Some(json) = name.strip_prefix("k:") {
                items.add(json, name);
            }
        }
        items
    }

    fn add(&mut self, json: &str, name: &str) {
        let Ok(Value::Object(own)) = serde_json::from_str(json) else {
            return;
        };
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let own = own.into_iter().map(|(key, value)| (key, text(value)));
        let (keys, values): (Vec<String>, Vec<String>) = own.unzip();
        let known = self.by_keys.iter().position(|(known, _)| *known == keys);
        let known = match known {
            Some(at) => self.by_keys.get_mut(at),
            None if self.by_keys.len() < MOST_KEYS => {
                self.by_keys.push((keys, ByValues::new()));
                self.by_keys.last_mut()
            }
            None => None,
        };
        if let Some((_, by_values)) = known {
            by_values.insert(values, name.to_owned());
        }
    }

    fn find(&self, step: &Step) -> Option<&String> {
        match step {
            Step::Value(text) => self.by_value.get(&unquoted(text)),
            Step::Item(pairs) => self.by_keys.iter().find_map(|(keys, by_values)| {
                let value = |key: &String| {
                    let pair = pairs.iter().find(|(name, _)| name == key);
                    pair.map(|(_, value)| value.clone())
                };
                let values: Vec<String> = keys.iter().map(value).collect::<Option<_>>()?;
                by_values.get(&values)
            }),
            Step::Field(_) | Step::Index(_) => None,
        }
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
