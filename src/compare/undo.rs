//! The patch that takes a change of some fields back.

use json_patch::Patch;
use serde_json::Value;

use super::{
    path::{FieldPath, Step},
    select::{child, child_mut, position},
};

/// From `new` to an object in which the fields at `paths` are as they were in `old`, RFC 6902.
/// Everything else that the change did stays.
///
/// Both objects go into the patch as they are: mask a Secret before.
pub fn undo<'p>(old: &Value, new: &Value, paths: impl IntoIterator<Item = &'p FieldPath>) -> Patch {
    let mut undone = new.clone();
    for path in paths {
        restore(&mut undone, Some(old), path.steps());
    }
    json_patch::diff(new, &undone)
}

/// Makes what `steps` lead to in `at` as it was in `was`.
fn restore(at: &mut Value, was: Option<&Value>, steps: &[Step]) {
    let Some((step, rest)) = steps.split_first() else {
        if let Some(was) = was {
            at.clone_from(was);
        }
        return;
    };
    let before = was.and_then(|was| child(was, step));
    match (child_mut(at, step), before) {
        (Some(now), before) if !rest.is_empty() => restore(now, before, rest),
        (Some(now), Some(before)) => now.clone_from(before),
        (Some(_), None) => remove(at, step),
        // What held the field went with it, and comes back with it.
        (None, Some(before)) => {
            if !insert(at, step, before.clone(), was)
                && let Some(was) = was
            {
                at.clone_from(was);
            }
        }
        (None, None) => {}
    }
}

fn remove(parent: &mut Value, step: &Step) {
    match (parent, step) {
        (Value::Object(fields), Step::Field(name)) => {
            fields.remove(name);
        }
        (Value::Array(items), step) => {
            if let Some(position) = position(items, step) {
                items.remove(position);
            }
        }
        _ => {}
    }
}

/// Whether there was a place for it. An item of a list comes after the one that it stood behind.
fn insert(parent: &mut Value, step: &Step, value: Value, was: Option<&Value>) -> bool {
    match (parent, step) {
        (Value::Object(fields), Step::Field(name)) => {
            fields.insert(name.clone(), value);
            true
        }
        (Value::Array(items), Step::Index(index)) => {
            items.insert((*index).min(items.len()), value);
            true
        }
        (Value::Array(items), Step::Item(_) | Step::Value(_)) => {
            let before = was.and_then(Value::as_array).map(Vec::as_slice);
            let place = before.and_then(|before| place_of(step, before, items));
            items.insert(place.unwrap_or(items.len()), value);
            true
        }
        _ => false,
    }
}

/// Where in `items` something belongs that `step` led to in `before`.
fn place_of(step: &Step, before: &[Value], items: &[Value]) -> Option<usize> {
    let Some(last) = position(before, step)?.checked_sub(1) else {
        return Some(0);
    };
    let ahead = before.get(last)?;
    let is_ahead = |item: &Value| match step {
        // By the keys alone: what else is in it may have changed.
        Step::Item(keys) => keys.iter().all(|(key, _)| item.get(key) == ahead.get(key)),
        _ => item == ahead,
    };
    items.iter().position(is_ahead).map(|ahead| ahead + 1)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn field(name: &str) -> Step {
        Step::Field(name.to_owned())
    }

    fn item(name: &str) -> Step {
        Step::Item(vec![("name".to_owned(), name.to_owned())])
    }

    #[rstest]
    #[case::changed(json!({"a": 1, "b": 1}), json!({"a": 2, "b": 2}), vec![field("a")], json!({"a": 1, "b": 2}))]
    #[case::removed(json!({"a": 1}), json!({}), vec![field("a")], json!({"a": 1}))]
    #[case::added(json!({}), json!({"a": 1, "b": 2}), vec![field("a")], json!({"b": 2}))]
    #[case::with_its_parent(
        json!({"a": {"b": 1, "c": 2}}), json!({}), vec![field("a"), field("b")], json!({"a": {"b": 1, "c": 2}})
    )]
    #[case::parent_of_another_type(
        json!({"a": {"b": 1}}), json!({"a": 5}), vec![field("a"), field("b")], json!({"a": {"b": 1}})
    )]
    #[case::item_that_moved(
        json!([{"name": "x", "v": 1}, {"name": "y", "v": 1}]),
        json!([{"name": "new"}, {"name": "y", "v": 2}, {"name": "x", "v": 1}]),
        vec![item("y"), field("v")],
        json!([{"name": "new"}, {"name": "y", "v": 1}, {"name": "x", "v": 1}])
    )]
    #[case::item_that_went(
        json!([{"name": "x"}]), json!([{"name": "y"}]), vec![item("x")], json!([{"name": "x"}, {"name": "y"}])
    )]
    #[case::item_that_went_comes_back_to_its_place(
        json!([{"name": "x"}, {"name": "y", "v": 1}, {"name": "z"}]),
        json!([{"name": "new"}, {"name": "x", "v": 2}, {"name": "z"}]),
        vec![item("y")],
        json!([{"name": "new"}, {"name": "x", "v": 2}, {"name": "y", "v": 1}, {"name": "z"}])
    )]
    #[case::item_beside_one_that_leaves_a_key_to_its_default(
        json!([{"port": 80, "v": 1}, {"port": 80, "protocol": "UDP", "v": 1}]),
        json!([{"port": 80, "v": 1}, {"port": 80, "protocol": "UDP", "v": 2}]),
        vec![
            Step::Item(vec![("port".into(), "80".into()), ("protocol".into(), "UDP".into())]),
            field("v"),
        ],
        json!([{"port": 80, "v": 1}, {"port": 80, "protocol": "UDP", "v": 1}])
    )]
    #[case::value_of_a_set(
        json!(["a", "b"]), json!(["b"]), vec![Step::Value("\"a\"".to_owned())], json!(["a", "b"])
    )]
    #[case::position(json!([1, 2]), json!([1, 3]), vec![Step::Index(1)], json!([1, 2]))]
    #[case::beside_another(
        json!({"a": {"b": 1, "c": 1}}), json!({"a": {"b": 2, "c": 2}}), vec![field("a"), field("b")],
        json!({"a": {"b": 1, "c": 2}})
    )]
    #[case::removed_beside_another(
        json!({"a": 1, "b": 1}), json!({"b": 2}), vec![field("a")], json!({"a": 1, "b": 2})
    )]
    #[case::position_that_went(json!([1, 2, 3]), json!([1]), vec![Step::Index(2)], json!([1, 3]))]
    #[case::value_that_came(
        json!(["a"]), json!(["a", "b"]), vec![Step::Value("\"b\"".to_owned())], json!(["a"])
    )]
    #[case::with_its_list(
        json!({"a": [1], "b": 1}), json!({"a": {}, "b": 2}), vec![field("a"), Step::Index(0)],
        json!({"a": [1], "b": 2})
    )]
    #[case::the_object_itself(json!({"a": 1}), json!({"b": 1}), vec![], json!({"a": 1}))]
    #[case::nowhere(json!({"a": 1}), json!({"a": 2}), vec![field("x"), field("y")], json!({"a": 2}))]
    fn only_what_is_named_goes_back(
        #[case] old: Value,
        #[case] new: Value,
        #[case] steps: Vec<Step>,
        #[case] expected: Value,
    ) {
        let path = FieldPath::from(steps);
        let patch = undo(&old, &new, [&path]);
        let mut patched = new;
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(patched, expected);
    }
}
