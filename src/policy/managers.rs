//! Who owns a field, by `metadata.managedFields`.

use serde_json::{Map, Value};

use super::tree::Tree;
use crate::compare::path::{FieldPath, Step};

/// Whether one of the managers owns the path in this object.
pub fn owns(object: &Tree<'_>, is_one: impl Fn(&str) -> bool, path: &FieldPath) -> bool {
    let entries = object.value().pointer("/metadata/managedFields");
    let entries = entries.and_then(Value::as_array);
    entries.into_iter().flatten().any(|entry| {
        let manager = entry.get("manager").and_then(Value::as_str);
        let fields = entry.get("fieldsV1").and_then(Value::as_object);
        manager.is_some_and(&is_one) && fields.is_some_and(|fields| holds(fields, path))
    })
}

/// Whether a set of fields (`FieldsV1`) has the path, or what it is part of as a whole.
fn holds(fields: &Map<String, Value>, path: &FieldPath) -> bool {
    let mut at = fields;
    for (depth, step) in path.steps().iter().enumerate() {
        if depth > 0 && at.is_empty() {
            return true;
        }
        let find = |prefix: &str, is_it: &dyn Fn(&str) -> bool| {
            let mut fields = at.iter();
            let found = fields.find(|(key, _)| key.strip_prefix(prefix).is_some_and(is_it));
            found.map(|(_, below)| below)
        };
        let below = match step {
            Step::Field(name) => at.get(&format!("f:{name}")),
            Step::Index(index) => at.get(&format!("i:{index}")),
            Step::Value(value) => find("v:", &|key| is(key, value)),
            Step::Item(keys) => find("k:", &|key| names(key, keys)),
        };
        match below.and_then(Value::as_object) {
            Some(below) => at = below,
            None => return false,
        }
    }
    // `.` says that the map or item itself is owned, and not only what is in it.
    at.is_empty() || at.contains_key(".")
}

fn is(json: &str, text: &str) -> bool {
    json == text || serde_json::from_str::<String>(json).is_ok_and(|own| own == text)
}

fn names(json: &str, keys: &[(String, String)]) -> bool {
    let Ok(Value::Object(own)) = serde_json::from_str(json) else {
        return false;
    };
    own.iter().all(|(name, value)| {
        let own = match value {
            Value::String(own) => own.clone(),
            other => other.to_string(),
        };
        keys.iter().any(|(key, text)| key == name && *text == own)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

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
    fn a_manager_owns_what_its_fields_say(#[case] path: &str, #[case] owned: bool) {
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
        assert_eq!(
            owns(&Tree::of(&object), |manager| manager == "keda", &path),
            owned
        );
    }

    #[test]
    fn an_object_without_managers_is_owned_by_nobody() {
        for object in [
            r#"{"metadata":{}}"#,
            r#"{"metadata":{"managedFields":[{}]}}"#,
            "1",
        ] {
            let object = Tree::of(object);
            assert!(!owns(&object, |_| true, &FieldPath::of(["spec"])));
        }
    }
}
