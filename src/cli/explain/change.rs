//! What could be done to an object or a field: made-up changes, to ask about.

use helm_guard_core::compare::{
    lookup::{child_mut, position, select},
    path::{FieldPath, Step},
};
use serde_json::{Value, json};

/// A change that somebody could make.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PossibleChange {
    /// In words: `the object is deleted`.
    pub(super) what: String,
    request: PossibleRequest,
}

#[derive(Clone, Debug, PartialEq)]
enum PossibleRequest {
    Update(Value),
    Delete,
    Scale(i64),
}

impl PossibleChange {
    pub(super) fn operation(&self) -> &'static str {
        match self.request {
            PossibleRequest::Update(_) | PossibleRequest::Scale(_) => "UPDATE",
            PossibleRequest::Delete => "DELETE",
        }
    }

    pub(super) fn sub_resource(&self) -> &'static str {
        match self.request {
            PossibleRequest::Scale(_) => "scale",
            PossibleRequest::Update(_) | PossibleRequest::Delete => "",
        }
    }

    /// The object as it would be; null for a DELETE and for a Scale, which is another object.
    pub(super) fn object(&self) -> &Value {
        match &self.request {
            PossibleRequest::Update(object) => object,
            PossibleRequest::Delete | PossibleRequest::Scale(_) => &Value::Null,
        }
    }

    /// The Scale before and after, for a change of it.
    pub(super) fn scale(&self, live: &Value) -> Option<(Value, Value)> {
        let PossibleRequest::Scale(replicas) = self.request else {
            return None;
        };
        let metadata = live.get("metadata");
        let field = |name: &str| metadata.and_then(|metadata| metadata.get(name));
        let scale = |replicas: &Value| {
            json!({
                "apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": {"name": field("name"), "namespace": field("namespace"), "uid": field("uid")},
                "spec": {"replicas": replicas},
            })
        };
        let before = live.pointer("/spec/replicas").unwrap_or(&Value::Null);
        Some((scale(before), scale(&json!(replicas))))
    }
}

/// What could be done to the object; to the field, if there is one. `declared` are values that anyone may set, so they
/// say nothing about other values.
pub(super) fn changes(
    live: &Value,
    path: Option<&FieldPath>,
    declared: &[&Value],
    is_scalable: bool,
) -> Vec<PossibleChange> {
    let change = |what: &str, request| PossibleChange {
        what: what.to_owned(),
        request,
    };
    let Some(path) = path else {
        return vec![change("the object is deleted", PossibleRequest::Delete)];
    };
    let Some((last, parents)) = path.steps().split_last() else {
        return Vec::new();
    };
    let mut possible = Vec::new();
    let mut with = |what: &str, value: Option<Value>| {
        let mut changed = live.clone();
        if put(&mut changed, parents, last, value) {
            possible.push(change(what, PossibleRequest::Update(changed)));
        }
    };
    match select(live, path.steps()) {
        Some(value) => {
            with("it is changed", Some(another(value, declared)));
            with("it is removed", None);
        }
        None => with("it is set", Some(Value::from("explained"))),
    }
    if is_scalable && *path == FieldPath::of(["spec", "replicas"]) {
        let replicas = live.pointer("/spec/replicas").and_then(Value::as_i64);
        possible.push(change(
            "the object is scaled",
            PossibleRequest::Scale(another_number(replicas.unwrap_or(1), declared)),
        ));
    }
    possible
}

/// A number that is not this one, and not declared.
fn another_number(number: i64, declared: &[&Value]) -> i64 {
    let mut other = number.wrapping_add(1);
    while declared.iter().any(|value| value.as_i64() == Some(other)) {
        other = other.wrapping_add(1);
    }
    other
}

/// A different value of the same type.
fn another(value: &Value, declared: &[&Value]) -> Value {
    match value {
        Value::Bool(is) => Value::Bool(!is),
        Value::Number(number) => number
            .as_i64()
            .map_or(json!(0), |n| json!(another_number(n, declared))),
        Value::String(text) => json!(format!("{text}-changed")),
        Value::Array(_) => json!([]),
        Value::Object(_) => json!({}),
        Value::Null => json!("changed"),
    }
}

/// Sets or removes; makes the objects above it where they are missing. Whether there was a place for it.
fn put(object: &mut Value, parents: &[Step], last: &Step, value: Option<Value>) -> bool {
    let mut at = object;
    for step in parents {
        if let (Step::Field(name), Value::Object(fields), Some(_)) = (step, &mut *at, &value) {
            fields.entry(name.clone()).or_insert_with(|| json!({}));
        }
        match child_mut(at, step) {
            Some(child) => at = child,
            None => return false,
        }
    }
    match (value, at, last) {
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
    #[case::unset_in_nothing(".spec.strategy.type", json!({"/spec/strategy/type": "explained"}))]
    fn a_change_is_a_change_of_that_field(#[case] path: &str, #[case] expected: Value) {
        let path = path.parse().unwrap();
        let changes = changes(&live(), Some(&path), &[], false);
        let changed = changes[0].object();
        for (pointer, value) in expected.as_object().unwrap() {
            assert_eq!(changed.pointer(pointer), Some(value));
        }
        let operations = json_patch::diff(&live(), changed).0.len();
        assert_eq!(operations, 1);
    }

    /// Anyone may set the declared value, so it would be allowed, unlike all others.
    #[test]
    fn a_number_is_not_changed_to_a_declared_one() {
        let path = ".spec.replicas".parse().unwrap();
        let declared = [&json!(4), &json!(5)];
        let changes = changes(&live(), Some(&path), &declared, true);
        assert_eq!(
            changes[0].object().pointer("/spec/replicas"),
            Some(&json!(6))
        );
        let (_, scaled) = changes.last().unwrap().scale(&live()).unwrap();
        assert_eq!(scaled.pointer("/spec/replicas"), Some(&json!(6)));
    }

    #[test]
    fn replicas_are_also_changed_by_scaling() {
        let path = ".spec.replicas".parse().unwrap();
        let changes = changes(&live(), Some(&path), &[], true);
        let (before, after) = changes.last().unwrap().scale(&live()).unwrap();
        assert_eq!(before.pointer("/spec/replicas"), Some(&json!(3)));
        assert_eq!(after.pointer("/spec/replicas"), Some(&json!(4)));
    }
}
