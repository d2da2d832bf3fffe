//! Every declared leaf of an object, and where it is in the live object.
//!
//! List items are paired by content: an equivalent item at any index, else the one with the same
//! identifying fields, else the one at the same index. List types are not used, so an error in the
//! guard's table shows as a miss or a false denial.

use std::fmt::Write;

use serde_json::Value;

use crate::semantics::satisfies;

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A field of an object.
    Field(String),
    /// An item of a list.
    Item(usize),
}

/// The kind of a declared value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A string, number, boolean or null.
    Scalar,
    /// An empty object or list.
    Empty,
    /// A list item that is an object, or an object within an object: removed as a whole.
    Branch,
}

/// A declared value.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Its path in the manifest, for people.
    pub path: String,
    /// Its path in the live object; `None` if a list item on the way is missing.
    pub live: Option<Vec<Step>>,
    /// The value that the manifest declares.
    pub declared: Value,
    /// Its kind.
    pub sort: Sort,
}

impl Leaf {
    /// Whether it identifies a list item: changing it removes one item and adds another, and so does
    /// reverting it.
    pub fn is_identity(&self) -> bool {
        match self.live.as_deref() {
            Some([.., Step::Item(_), Step::Field(name)]) => {
                IDENTIFYING.contains(&name.as_str()) || name == "protocol"
            }
            _ => false,
        }
    }
}

/// Every leaf of a declared object and every branch of it.
pub fn leaves(declared: &Value, live: &Value) -> Vec<Leaf> {
    let mut found = Vec::new();
    let root = Place {
        path: String::new(),
        live: Some(Vec::new()),
    };
    walk(declared, Some(live), &root, 0, &mut found);
    found
}

#[derive(Clone)]
struct Place {
    path: String,
    live: Option<Vec<Step>>,
}

impl Place {
    fn field(&self, name: &str) -> Self {
        let mut path = self.path.clone();
        // Writing to a string cannot fail.
        let _ = if name.contains(['.', '/', '[']) {
            write!(path, "[{name:?}]")
        } else {
            write!(path, ".{name}")
        };
        Self {
            path,
            live: self.with(Step::Field(name.to_owned())),
        }
    }

    fn item(&self, declared: &Value, index: usize, live: Option<usize>) -> Self {
        let name = declared.get("name").and_then(Value::as_str);
        let mut path = self.path.clone();
        let _ = match name {
            Some(name) => write!(path, "[name={name}]"),
            None => write!(path, "[{index}]"),
        };
        Self {
            path,
            live: live.and_then(|index| self.with(Step::Item(index))),
        }
    }

    fn with(&self, step: Step) -> Option<Vec<Step>> {
        let mut live = self.live.clone()?;
        live.push(step);
        Some(live)
    }
}

fn walk(
    declared: &Value,
    live: Option<&Value>,
    place: &Place,
    depth: usize,
    found: &mut Vec<Leaf>,
) {
    let leaf = |sort| Leaf {
        path: place.path.clone(),
        live: place.live.clone(),
        declared: declared.clone(),
        sort,
    };
    match declared {
        Value::Null => {}
        Value::Object(fields) if fields.is_empty() => found.push(leaf(Sort::Empty)),
        Value::Array(items) if items.is_empty() => found.push(leaf(Sort::Empty)),
        Value::Object(fields) => {
            // An object without metadata cannot exist, so this branch is not tried.
            if depth > 1 && live.is_some() {
                found.push(leaf(Sort::Branch));
            }
            for (name, declared) in fields {
                let live = live.and_then(|live| live.get(name));
                walk(declared, live, &place.field(name), depth + 1, found);
            }
        }
        Value::Array(items) => {
            if depth > 1 && live.is_some() {
                found.push(leaf(Sort::Branch));
            }
            let empty = Vec::new();
            let lives = live.and_then(Value::as_array).unwrap_or(&empty);
            let pairs = pair(items, lives);
            for (index, (declared, pair)) in items.iter().zip(pairs).enumerate() {
                let place = place.item(declared, index, pair);
                let live = pair.and_then(|pair| lives.get(pair));
                walk(declared, live, &place, depth + 1, found);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => found.push(leaf(Sort::Scalar)),
    }
}

/// Fields that identify list items, the more specific ones first.
const IDENTIFYING: &[&str] = &[
    "name",
    "mountPath",
    "devicePath",
    "containerPort",
    "port",
    "key",
    "ip",
    "topologyKey",
    "host",
    "path",
    "type",
];

/// The index of the live counterpart of each declared item.
fn pair(declared: &[Value], live: &[Value]) -> Vec<Option<usize>> {
    let mut pairs: Vec<Option<usize>> = vec![None; declared.len()];
    let mut taken = vec![false; live.len()];
    let mut pass = |matches: &dyn Fn(usize, &Value, &Value) -> bool,
                    pairs: &mut Vec<Option<usize>>| {
        for (index, (item, pair)) in declared.iter().zip(pairs.iter_mut()).enumerate() {
            if pair.is_some() {
                continue;
            }
            // The same index first: it decides between equivalent items.
            let order = std::iter::once(index).chain(0..live.len());
            for candidate in order {
                let free = taken.get(candidate).is_some_and(|taken| !taken);
                if free
                    && live
                        .get(candidate)
                        .is_some_and(|live| matches(index.abs_diff(candidate), item, live))
                {
                    *pair = Some(candidate);
                    if let Some(taken) = taken.get_mut(candidate) {
                        *taken = true;
                    }
                    break;
                }
            }
        }
    };
    pass(
        &|_, declared, live| satisfies(declared, Some(live)),
        &mut pairs,
    );
    pass(
        &|_, declared, live| same_identity(declared, live),
        &mut pairs,
    );
    pass(&|apart, _, _| apart == 0, &mut pairs);
    pairs
}

fn same_identity(declared: &Value, live: &Value) -> bool {
    let telling = IDENTIFYING.iter().find_map(|field| {
        Some((
            field,
            declared.get(field).filter(|value| !value.is_object())?,
        ))
    });
    telling.is_some_and(|(field, value)| live.get(field) == Some(value))
}

/// `None` if the path leads nowhere.
pub fn get<'v>(value: &'v Value, path: &[Step]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Field(name) => value.get(name),
        Step::Item(index) => value.get(index),
    })
}

/// Sets a value at a path, creating objects on the way. Returns whether that was possible.
pub fn set(value: &mut Value, path: &[Step], new: Value) -> bool {
    let mut here = value;
    for step in path {
        let next = match step {
            Step::Field(name) => {
                if here.is_null() {
                    *here = Value::Object(serde_json::Map::new());
                }
                let Some(fields) = here.as_object_mut() else {
                    return false;
                };
                Some(fields.entry(name.clone()).or_insert(Value::Null))
            }
            Step::Item(index) => here.get_mut(index),
        };
        let Some(next) = next else {
            return false;
        };
        here = next;
    }
    *here = new;
    true
}

/// Removes the value at a path. Returns whether it existed.
pub fn remove(value: &mut Value, path: &[Step]) -> bool {
    let Some((last, parents)) = path.split_last() else {
        return false;
    };
    let parent = parents.iter().try_fold(value, |value, step| match step {
        Step::Field(name) => value.get_mut(name),
        Step::Item(index) => value.get_mut(index),
    });
    match (parent, last) {
        (Some(Value::Object(fields)), Step::Field(name)) => fields.remove(name).is_some(),
        (Some(Value::Array(items)), Step::Item(index)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(declared: &Value, live: &Value) -> Vec<(String, Option<Value>)> {
        leaves(declared, live)
            .into_iter()
            .filter(|leaf| leaf.sort != Sort::Branch)
            .map(|leaf| {
                let live = leaf.live.and_then(|path| get(live, &path).cloned());
                (leaf.path, live)
            })
            .collect()
    }

    #[test]
    fn items_are_matched_by_content_then_by_identity_then_by_index() {
        let declared = json!({"spec": {"env": [
            {"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "args": ["x", "y"]}});
        let live = json!({"spec": {"env": [
            {"name": "side"}, {"name": "B", "value": "other"}, {"name": "A", "value": "1"}],
            "args": ["z", "y"]}});
        assert_eq!(
            paths(&declared, &live),
            [
                (".spec.args[0]".to_owned(), Some(json!("z"))),
                (".spec.args[1]".to_owned(), Some(json!("y"))),
                (".spec.env[name=A].name".to_owned(), Some(json!("A"))),
                (".spec.env[name=A].value".to_owned(), Some(json!("1"))),
                (".spec.env[name=B].name".to_owned(), Some(json!("B"))),
                (".spec.env[name=B].value".to_owned(), Some(json!("other"))),
            ]
        );
    }

    #[test]
    fn ports_with_one_number_and_two_protocols_are_distinguished() {
        let declared = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]);
        let live = json!([{"port": 53, "protocol": "TCP", "targetPort": 53},
            {"port": 53, "protocol": "UDP", "targetPort": 53}]);
        let items = |value: &Value| value.as_array().unwrap().clone();
        assert_eq!(pair(&items(&declared), &items(&live)), [Some(1), Some(0)]);
    }

    #[test]
    fn values_are_set_and_removed() {
        let mut value = json!({"a": [{"b": 1}, {"b": 2}]});
        let path = [
            Step::Field("a".to_owned()),
            Step::Item(1),
            Step::Field("b".to_owned()),
        ];
        assert!(set(&mut value, &path, json!(3)));
        assert_eq!(value, json!({"a": [{"b": 1}, {"b": 3}]}));
        assert!(remove(&mut value, &path));
        assert!(!remove(&mut value, &path));
        assert!(remove(&mut value, &path[..2]));
        assert_eq!(value, json!({"a": [{"b": 1}]}));
        let path = [Step::Field("x".to_owned()), Step::Field("y".to_owned())];
        assert!(set(&mut value, &path, json!(1)));
        assert_eq!(value["x"]["y"], 1);
    }

    #[test]
    fn an_empty_value_is_a_leaf_and_null_is_nothing() {
        let declared = json!({"spec": {"emptyDir": {}, "rules": [], "nothing": null}});
        let found = paths(&declared, &json!({}));
        assert_eq!(found.len(), 2);
    }
}
