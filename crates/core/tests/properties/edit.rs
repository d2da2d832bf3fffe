//! Edits of objects, and their undo.

use helm_guard_core::compare::path::{FieldPath, Step};
use serde_json::{Value, json};

use super::model::{ModelKey, Ty, identity};

/// A step to a value in the declared object.
#[derive(Clone, Debug)]
pub enum Seg {
    Field(String),
    Item(usize),
}

/// A declared value: its place, and the path that a violation there must have, or be above.
#[derive(Clone, Debug)]
pub struct Node {
    pub at: Vec<Seg>,
    pub path: FieldPath,
    pub ty: Ty,
    /// A merge key: changing it replaces the item.
    pub is_key: bool,
}

/// Every declared value below the root, outermost first.
pub fn nodes(ty: &Ty, declared: &Value) -> Vec<Node> {
    let root = Node {
        at: Vec::new(),
        path: FieldPath::root(),
        ty: ty.clone(),
        is_key: false,
    };
    let mut found = Vec::new();
    gather(&root, declared, &mut found);
    found
}

fn gather(node: &Node, value: &Value, found: &mut Vec<Node>) {
    let child = |seg: Seg, step: Option<Step>, ty: &Ty| {
        let mut at = node.at.clone();
        at.push(seg);
        Node {
            at,
            path: step.map_or_else(|| node.path.clone(), |step| node.path.join(step)),
            ty: ty.clone(),
            is_key: false,
        }
    };
    let mut children = Vec::new();
    let ty = match &node.ty {
        Ty::Whole(object) => object,
        ty => ty,
    };
    match (ty, value) {
        (Ty::Struct(fields), Value::Object(object)) => {
            for (name, ty) in fields {
                if let Some(value) = object.get(*name) {
                    let step = Step::Field((*name).to_owned());
                    children.push((child(Seg::Field((*name).to_owned()), Some(step), ty), value));
                }
            }
        }
        (Ty::Map(ty), Value::Object(object)) => {
            for (name, value) in object {
                let step = Step::Field(name.clone());
                children.push((child(Seg::Field(name.clone()), Some(step), ty), value));
            }
        }
        (Ty::Keyed(keys, ty) | Ty::Sequence(keys, ty), Value::Array(items)) => {
            for (n, item) in items.iter().enumerate() {
                children.push((child(Seg::Item(n), Some(item_step(item, keys)), ty), item));
            }
        }
        (Ty::Set, Value::Array(items)) => {
            for (n, item) in items.iter().enumerate() {
                let step = Step::Value(item.to_string());
                children.push((child(Seg::Item(n), Some(step), &Ty::Text), item));
            }
        }
        (Ty::Atomic(ty), Value::Array(items)) => {
            for (n, item) in items.iter().enumerate() {
                children.push((child(Seg::Item(n), Some(Step::Index(n)), ty), item));
            }
        }
        // A list without order is one value.
        (Ty::Unordered(ty), Value::Array(items)) => {
            for (n, item) in items.iter().enumerate() {
                children.push((child(Seg::Item(n), None, ty), item));
            }
        }
        _ => {}
    }
    let keys: &[ModelKey] = match &node.ty {
        Ty::Keyed(keys, _) | Ty::Sequence(keys, _) => keys,
        _ => &[],
    };
    for (child, value) in children {
        found.push(child.clone());
        let first = found.len();
        gather(&child, value, found);
        let depth = found[first - 1].at.len() + 1;
        for below in &mut found[first..] {
            below.is_key |= below.at.len() == depth
                && matches!(below.at.last(), Some(Seg::Field(name)) if keys.iter().any(|key| key.field == name));
        }
    }
}

/// The step that names an item of a keyed list.
pub fn item_step(item: &Value, keys: &[ModelKey]) -> Step {
    let identity = identity(item, keys);
    let values = identity.as_array().into_iter().flatten().map(plain);
    let pairs = keys.iter().map(|key| key.field.to_owned()).zip(values);
    Step::Item(pairs.filter(|(_, value)| !value.is_empty()).collect())
}

/// A value in the form of a path; nothing for a merge key that is not there.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The value at a place.
pub fn get<'v>(root: &'v Value, at: &[Seg]) -> Option<&'v Value> {
    at.iter().try_fold(root, |value, seg| match seg {
        Seg::Field(name) => value.get(name),
        Seg::Item(n) => value.get(n),
    })
}

/// The value at a place, to be changed.
pub fn get_mut<'v>(root: &'v mut Value, at: &[Seg]) -> Option<&'v mut Value> {
    at.iter().try_fold(root, |value, seg| match seg {
        Seg::Field(name) => value.get_mut(name),
        Seg::Item(n) => value.get_mut(n),
    })
}

/// The object with another value at a node.
pub fn changed(root: &Value, node: &Node) -> Value {
    let mut root = root.clone();
    if let Some(value) = get_mut(&mut root, &node.at) {
        *value = other(&node.ty, value);
    }
    root
}

/// The object without a node.
pub fn removed(root: &Value, node: &Node) -> Value {
    let mut root = root.clone();
    let Some((last, parent)) = node.at.split_last() else {
        return root;
    };
    match (get_mut(&mut root, parent), last) {
        (Some(Value::Object(object)), Seg::Field(name)) => {
            object.remove(name);
        }
        (Some(Value::Array(items)), Seg::Item(n)) if *n < items.len() => {
            items.remove(*n);
        }
        _ => {}
    }
    root
}

/// A value that no declared value of the type may have.
fn other(ty: &Ty, value: &Value) -> Value {
    match (ty, value) {
        (Ty::Whole(object), value) => other(object, value),
        (Ty::Int, Value::Number(number)) => json!(number.as_i64().unwrap_or_default() + 1000),
        (Ty::IntOrString, Value::Number(number)) => json!(number.to_string()),
        (Ty::Quantity, Value::String(_)) => json!("7777777"),
        (Ty::Bytes, Value::String(_)) => json!("Y2hhbmdlZA=="),
        (_, Value::Bool(value)) => json!(!value),
        (_, Value::String(text)) => json!(format!("{text} changed")),
        _ => json!("another type of value"),
    }
}

/// Restores the declared value where a violation was reported.
pub fn put(root: &mut Value, steps: &[Step], declared: &Value) {
    let Some((step, rest)) = steps.split_first() else {
        *root = declared.clone();
        return;
    };
    match step {
        Step::Field(name) => {
            if !root.is_object() {
                *root = json!({});
            }
            put(&mut root[name.as_str()], rest, declared);
        }
        Step::Item(_) | Step::Value(_) | Step::Index(_) => {
            if !root.is_array() {
                *root = json!([]);
            }
            let items = root.as_array_mut().unwrap();
            let found = items.iter().enumerate().position(|(n, item)| match step {
                Step::Index(index) => n == *index,
                Step::Value(json) => serde_json::from_str::<Value>(json).is_ok_and(|v| v == *item),
                Step::Item(keys) => {
                    let found = |key| item.get(key).map_or_else(|| "TCP".to_owned(), plain);
                    keys.iter()
                        .all(|(key, value)| found(key.as_str()) == *value)
                }
                Step::Field(_) => false,
            });
            if let Some(found) = found {
                put(&mut items[found], rest, declared);
            } else {
                items.push(json!({}));
                put(items.last_mut().unwrap(), rest, declared);
            }
        }
    }
}
