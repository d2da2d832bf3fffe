//! Changes of fields that no manifest declares: the opposite of [`super::walk`], only computed if a
//! policy guards such fields.
//!
//! It works on trees, because both objects must be read completely anyway. Objects are followed to their
//! leaves, so that a rule can exempt one key of a map. Lists with merge keys are compared item by item;
//! any other list is one value.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::{
    path::{FieldPath, Step},
    schema::{ListKind, MergeKey, Node, Shape},
};

/// The most changes that are reported. A request may contain very many, and a longer list is of no help.
const MOST: usize = 256;

/// A change of an undeclared field.
#[derive(Clone, Debug, PartialEq)]
pub struct Undeclared<'v> {
    /// Where.
    pub path: FieldPath,
    /// The value before the request.
    pub old: Option<&'v Value>,
    /// The value after it.
    pub new: Option<&'v Value>,
}

/// The changes between `old` and `new` in fields that none of `declared` has. Without the status, and
/// without the metadata of the API server and controllers: only labels and annotations count there.
pub fn undeclared<'v>(
    declared: &[&Value],
    old: &'v Value,
    new: &'v Value,
    shape: Shape<'_>,
) -> Vec<Undeclared<'v>> {
    let mut walk = UndeclaredWalk {
        at: Vec::new(),
        found: Vec::new(),
    };
    for name in names(Some(old), Some(new)) {
        match name {
            "status" => {}
            "metadata" => {
                for part in ["labels", "annotations"] {
                    let path = ["metadata", part];
                    let within = |object: &'v Value| dig(object, path);
                    let declared: Vec<&Value> = declared
                        .iter()
                        .filter_map(|object| dig(object, path))
                        .collect();
                    walk.at = path.map(|name| Step::Field(name.to_owned())).to_vec();
                    walk.visit(&declared, (within(old), within(new)), Shape::plain());
                    walk.at.clear();
                }
            }
            name => walk.field(name, declared, (Some(old), Some(new)), shape),
        }
    }
    walk.found
}

fn dig<'v>(object: &'v Value, [outer, inner]: [&str; 2]) -> Option<&'v Value> {
    object.get(outer)?.get(inner)
}

type Pair<'v> = (Option<&'v Value>, Option<&'v Value>);

struct UndeclaredWalk<'v> {
    at: Vec<Step>,
    found: Vec<Undeclared<'v>>,
}

/// The names of the fields of both, each once.
fn names<'v>(old: Option<&'v Value>, new: Option<&'v Value>) -> Vec<&'v str> {
    let fields = |value: Option<&'v Value>| value.and_then(Value::as_object).into_iter().flatten();
    let mut names: Vec<&str> = fields(old)
        .chain(fields(new))
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl<'v> UndeclaredWalk<'v> {
    fn visit(&mut self, declared: &[&Value], (old, new): Pair<'v>, shape: Shape<'_>) {
        let present = |value: Option<&'v Value>| value.filter(|value| !value.is_null());
        let (old, new) = (present(old), present(new));
        if old == new || self.found.len() >= MOST {
            return;
        }
        let both = |is: fn(&Value) -> bool| old.is_none_or(is) && new.is_none_or(is);
        let holds_something = |value: &Value| match value {
            Value::Object(fields) => !fields.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => false,
        };
        let goes_on = old.into_iter().chain(new).any(holds_something);
        if both(Value::is_object) && goes_on {
            for name in names(old, new) {
                self.field(name, declared, (old, new), shape);
            }
        } else if both(Value::is_array) && goes_on {
            self.list(declared, (old, new), shape);
        } else {
            self.leaf(declared, (old, new));
        }
    }

    fn field(&mut self, name: &str, declared: &[&Value], (old, new): Pair<'v>, shape: Shape<'_>) {
        let declared: Vec<&Value> = declared
            .iter()
            .filter_map(|value| value.get(name))
            .filter(|value| !value.is_null())
            .collect();
        let of = |value: Option<&'v Value>| value.and_then(|value| value.get(name));
        self.at.push(Step::Field(name.to_owned()));
        self.visit(&declared, (of(old), of(new)), shape.field(name));
        self.at.pop();
    }

    fn leaf(&mut self, declared: &[&Value], (old, new): Pair<'v>) {
        if declared.is_empty() {
            let path = FieldPath::from(self.at.clone());
            self.found.push(Undeclared { path, old, new });
        }
    }

    fn list(&mut self, declared: &[&Value], (old, new): Pair<'v>, shape: Shape<'_>) {
        let done = match shape.node() {
            Node::List {
                kind: ListKind::Set,
                ..
            } => {
                self.set(declared, (old, new));
                Some(())
            }
            _ => shape
                .keys()
                .and_then(|keys| self.keyed(declared, (old, new), keys, shape)),
        };
        if done.is_none() {
            self.leaf(declared, (old, new));
        }
    }

    /// `None` if an item has no key, so that the list is one value.
    fn keyed(
        &mut self,
        declared: &[&Value],
        (old, new): Pair<'v>,
        keys: &[MergeKey],
        shape: Shape<'_>,
    ) -> Option<()> {
        let items = |value: Option<&'v Value>| by_key(value, keys);
        let (old, new) = (items(old)?, items(new)?);
        let declared: Vec<_> = declared
            .iter()
            .map(|value| by_key(Some(value), keys))
            .collect::<Option<_>>()?;
        let mut all: Vec<&MergeKeyValues> = old.keys().chain(new.keys()).collect();
        all.sort_unstable();
        all.dedup();
        for key in all {
            let declared: Vec<&Value> = declared
                .iter()
                .filter_map(|items| items.get(key).copied())
                .collect();
            let pairs = keys
                .iter()
                .map(|key| key.field.to_string())
                .zip(key.clone());
            let named = pairs.filter(|(_, value)| !value.is_empty());
            self.at.push(Step::Item(named.collect()));
            let pair = (old.get(key).copied(), new.get(key).copied());
            self.visit(&declared, pair, shape.item());
            self.at.pop();
        }
        Some(())
    }

    fn set(&mut self, declared: &[&Value], (old, new): Pair<'v>) {
        let items = |value: Option<&'v Value>| {
            value
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                .unwrap_or_default()
        };
        let (old, new) = (items(old), items(new));
        // An API server stores a set as it is sent, so equal members have equal texts.
        let texts = |items: &[Value]| items.iter().map(Value::to_string).collect::<HashSet<_>>();
        let (olds, news) = (texts(old), texts(new));
        let gone = old.iter().filter(|item| !news.contains(&item.to_string()));
        let came = new.iter().filter(|item| !olds.contains(&item.to_string()));
        let changed = gone
            .map(|item| (item, (Some(item), None)))
            .chain(came.map(|item| (item, (None, Some(item)))));
        for (item, pair) in changed {
            if self.found.len() >= MOST {
                return;
            }
            let has_item =
                |list: &&&Value| list.as_array().is_some_and(|items| items.contains(item));
            let declared: Vec<&Value> = declared.iter().filter(has_item).copied().collect();
            self.at.push(Step::Value(text(item)));
            self.leaf(&declared, pair);
            self.at.pop();
        }
    }
}

type MergeKeyValues = Vec<String>;

fn by_key<'v>(
    list: Option<&'v Value>,
    keys: &[MergeKey],
) -> Option<BTreeMap<MergeKeyValues, &'v Value>> {
    let mut items = BTreeMap::new();
    for item in list.and_then(Value::as_array).into_iter().flatten() {
        let mut found = false;
        let key = keys
            .iter()
            .map(|key| match item.get(&*key.field) {
                Some(value) => {
                    found = true;
                    text(value)
                }
                // The API server fills in the default before it merges.
                None => key
                    .default
                    .as_deref()
                    .map(|json| json.trim_matches('"').to_owned())
                    .unwrap_or_default(),
            })
            .collect();
        if !found {
            return None;
        }
        items.insert(key, item);
    }
    Some(items)
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::compare::schema::builtin::builtin;

    fn paths(declared: &Value, old: &Value, new: &Value) -> Vec<String> {
        let shape = builtin().lookup("apps", "v1", "Deployment").unwrap();
        undeclared(&[declared], old, new, shape)
            .iter()
            .map(|change| change.path.to_string())
            .collect()
    }

    fn deployment() -> Value {
        json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"replicas": 3, "template": {"spec": {
                "containers": [{"name": "web", "image": "nginx:1", "args": ["a"]}],
            }}},
        })
    }

    fn with(path: &str, value: Value) -> Value {
        let mut object = deployment();
        let (parent, last) = path.rsplit_once('/').unwrap();
        let parent = object.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(items) => items.push(value),
            parent => parent[last] = value,
        }
        object
    }

    #[rstest]
    #[case::declared("/spec/replicas", json!(5), &[])]
    #[case::declared_list("/spec/template/spec/containers/0/args", json!(["b", "c"]), &[])]
    #[case::added_field("/spec/paused", json!(true), &[".spec.paused"])]
    #[case::added_map("/metadata/annotations", json!({"a": "1", "b": "2"}),
        &[".metadata.annotations.a", ".metadata.annotations.b"])]
    #[case::added_key("/metadata/labels/tier", json!("x"), &[".metadata.labels.tier"])]
    #[case::added_item("/spec/template/spec/containers/-", json!({"name": "proxy", "image": "envoy"}),
        &[".spec.template.spec.containers[name=proxy].image", ".spec.template.spec.containers[name=proxy].name"])]
    #[case::added_in_an_item("/spec/template/spec/containers/0/command", json!(["sh"]),
        &[".spec.template.spec.containers[name=web].command"])]
    #[case::added_empty("/spec/strategy", json!({}), &[".spec.strategy"])]
    #[case::status("/status", json!({"replicas": 3}), &[])]
    #[case::servers_metadata("/metadata/generation", json!(2), &[])]
    #[case::finalizers("/metadata/finalizers", json!(["a/b"]), &[])]
    #[case::null("/spec/paused", Value::Null, &[])]
    fn undeclared_changes_are_found(
        #[case] path: &str,
        #[case] value: Value,
        #[case] expected: &[&str],
    ) {
        let (old, new) = (deployment(), with(path, value));
        assert_eq!(paths(&deployment(), &old, &new), expected);
        assert_eq!(paths(&deployment(), &new, &old), expected, "removed again");
    }

    #[test]
    fn an_undeclared_change_is_reported_with_both_values() {
        let (old, new) = (
            with("/spec/paused", json!(true)),
            with("/spec/paused", json!(false)),
        );
        let found = undeclared(&[&deployment()], &old, &new, Shape::plain());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].old, Some(&json!(true)));
        assert_eq!(found[0].new, Some(&json!(false)));
    }

    #[test]
    fn a_field_of_any_manifest_is_declared() {
        let (old, new) = (deployment(), with("/spec/paused", json!(true)));
        let other = json!({"spec": {"paused": false}});
        let found = undeclared(&[&deployment(), &other], &old, &new, Shape::plain());
        assert_eq!(found, []);
    }

    #[test]
    fn reported_changes_are_capped() {
        let labels: serde_json::Map<_, _> =
            (0..10_000).map(|n| (format!("l{n}"), json!("x"))).collect();
        let new = with("/metadata/annotations", Value::Object(labels));
        assert_eq!(paths(&deployment(), &deployment(), &new).len(), MOST);
    }
}
