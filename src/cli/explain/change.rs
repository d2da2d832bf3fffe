//! Hypothetical changes to a field, for evaluation.

use helm_guard_core::compare::{
    lookup::{child_mut, position, select},
    path::{FieldPath, Step},
};
use serde_json::{Value, json};

/// Hypothetical changes, each with the changed object; no object for a DELETE.
pub(super) fn changes(
    live: &Value,
    path: Option<&FieldPath>,
) -> Vec<(&'static str, Option<Value>)> {
    let Some(path) = path else {
        return vec![("the object is deleted", None)];
    };
    let Some((last, parents)) = path.steps().split_last() else {
        return Vec::new();
    };
    let mut possible = Vec::new();
    let mut with = |change: &'static str, value: Option<Value>| {
        let mut changed = live.clone();
        if put(&mut changed, parents, last, value) {
            possible.push((change, Some(changed)));
        }
    };
    match select(live, path.steps()) {
        Some(value) => {
            with("it gets another value", Some(another(value)));
            with("it is removed", None);
        }
        None => with("it is set", Some(Value::from("explained"))),
    }
    possible
}

/// A different value of the same type.
fn another(value: &Value) -> Value {
    match value {
        Value::Bool(is) => Value::Bool(!is),
        Value::Number(number) => number
            .as_i64()
            .map_or(json!(0), |n| json!(n.wrapping_add(1))),
        Value::String(text) => json!(format!("{text}-changed")),
        Value::Array(_) => json!([]),
        Value::Object(_) => json!({}),
        Value::Null => json!("changed"),
    }
}

/// Sets or removes the value; false if its parent does not exist.
fn put(object: &mut Value, parents: &[Step], last: &Step, value: Option<Value>) -> bool {
    let Some(parent) = parents
        .iter()
        .try_fold(object, |at, step| child_mut(at, step))
    else {
        return false;
    };
    match (value, parent, last) {
        (Some(value), Value::Object(fields), Step::Field(name)) => {
            fields.insert(name.clone(), value);
            true
        }
        (Some(value), parent, step) => {
            let found = child_mut(parent, step).map(|found| *found = value);
            found.is_some()
        }
        (None, Value::Object(fields), Step::Field(name)) => fields.remove(name).is_some(),
        (None, Value::Array(items), step) => {
            let position = position(items, step);
            position.map(|position| items.remove(position)).is_some()
        }
        (None, ..) => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn live() -> Value {
        json!({"spec": {
            "replicas": 3, "paused": true, "containers": [{"name": "db"}, {"name": "web", "image": "a"}],
        }})
    }

    #[rstest]
    #[case::number(".spec.replicas", json!({"/spec/replicas": 4}))]
    #[case::truth(".spec.paused", json!({"/spec/paused": false}))]
    #[case::item(".spec.containers[name=web].image", json!({"/spec/containers/1/image": "a-changed"}))]
    #[case::unset(".spec.more", json!({"/spec/more": "explained"}))]
    fn only_that_field_changes(#[case] path: &str, #[case] expected: Value) {
        let path = path.parse().unwrap();
        let changes = changes(&live(), Some(&path));
        let changed = changes[0].1.as_ref().unwrap();
        for (pointer, value) in expected.as_object().unwrap() {
            assert_eq!(changed.pointer(pointer), Some(value));
        }
        let operations = json_patch::diff(&live(), changed).0.len();
        assert_eq!(operations, 1);
    }
}
