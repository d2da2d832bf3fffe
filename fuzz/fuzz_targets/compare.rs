//! Any JSON values can be compared, of any kind. An object that does not change violates nothing, nor does
//! one that becomes what is declared; and undoing a change by its patch leaves no violation.
//!
//! Values mostly follow the types of the kind; random values would never contain a merge key.

#![no_main]

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use helm_guard_core::compare::{
    Agreement, Comparison, Declared, Json, Violation, compare,
    path::FieldPath,
    schema::{ListKind, Node, Shape, builtin::builtin},
    undo::undo,
    rules::EmptyListPolicy,
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

const KINDS: &[(&str, &str, &str)] = &[
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "StatefulSet"),
    ("", "v1", "Service"),
    ("", "v1", "Secret"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "ServiceAccount"),
    ("rbac.authorization.k8s.io", "v1", "Role"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("storage.k8s.io", "v1", "CSIDriver"),
    ("edge.test", "v1", "Gateway"),
];

/// Names that no type has, or that need no quoting.
const NAMES: &[&str] = &[
    "spec",
    "name",
    "image",
    "replicas",
    "value",
    "args",
    "a.b/c",
    "\u{e9}\"\\",
];
const KEYS: &[&str] = &["a", "b", "TCP", ""];
const TEXTS: &[&str] = &[
    "",
    "a",
    "b",
    "1",
    "0x1",
    "true",
    "TCP",
    "\n",
    "\u{e9}\"\\",
    "null",
];
const QUANTITIES: &[&str] = &[
    "1", "1000m", "1Gi", "1024Mi", "1e3", "0", "0.1", "100m", "-1", "1k",
];
const BYTES: &[&str] = &["YQ==", "Y\nQ==", "YQ", "", "/"];

const DEEPEST: u8 = 14;

struct Source<'u, 'b> {
    bytes: &'u mut Unstructured<'b>,
}

impl Source<'_, '_> {
    /// A value of this type, or sometimes of any other.
    fn value(&mut self, shape: Shape<'_>, depth: u8) -> Result<Value> {
        if depth > DEEPEST || self.bytes.ratio(1, 12)? {
            return self.anything(depth);
        }
        Ok(match shape.node() {
            Node::Plain | Node::IntOrString | Node::Atomic(_) => self.anything(depth)?,
            Node::Quantity => json!(*self.bytes.choose(QUANTITIES)?),
            Node::Bytes => json!(*self.bytes.choose(BYTES)?),
            Node::Struct(known) => {
                let mut fields = Map::new();
                for _ in 0..self.bytes.int_in_range(0..=4)? {
                    let name = if known.is_empty() || self.bytes.ratio(1, 5)? {
                        *self.bytes.choose(NAMES)?
                    } else {
                        &*self.bytes.choose(known)?.0
                    };
                    fields.insert(name.to_owned(), self.value(shape.field(name), depth + 1)?);
                }
                fields.into()
            }
            Node::MapOf(_) => {
                let mut fields = Map::new();
                for _ in 0..self.bytes.int_in_range(0..=3)? {
                    let name = *self.bytes.choose(TEXTS)?;
                    fields.insert(name.to_owned(), self.value(shape.field(name), depth + 1)?);
                }
                fields.into()
            }
            Node::List { kind, .. } => {
                let mut items = Vec::new();
                for _ in 0..self.bytes.int_in_range(0..=3)? {
                    items.push(self.item(kind, shape.item(), depth + 1)?);
                }
                items.into()
            }
        })
    }

    fn item(&mut self, kind: &ListKind, shape: Shape<'_>, depth: u8) -> Result<Value> {
        let mut item = match kind {
            ListKind::Set => json!(*self.bytes.choose(TEXTS)?),
            _ => self.value(shape, depth)?,
        };
        if let (Some(keys), Value::Object(fields)) = (kind.keys(), &mut item) {
            for key in keys {
                if self.bytes.ratio(7, 8)? {
                    let value = if self.bytes.ratio(1, 4)? {
                        json!(self.bytes.int_in_range(0..=2)?)
                    } else {
                        json!(*self.bytes.choose(KEYS)?)
                    };
                    fields.insert(key.field.to_string(), value);
                }
            }
        }
        Ok(item)
    }

    fn anything(&mut self, depth: u8) -> Result<Value> {
        let is_deep = depth < DEEPEST;
        Ok(match self.bytes.int_in_range(0..=9)? {
            0 => Value::Null,
            1 => json!(self.bytes.arbitrary::<bool>()?),
            2 => json!(self.bytes.int_in_range(-1..=2)?),
            3 => json!(self.bytes.choose(&[0.0, 1.0, 0.5, 1e3, 1e30])?),
            4 => json!(self.bytes.arbitrary::<i64>()?),
            5 if is_deep => {
                let mut items = Vec::new();
                for _ in 0..self.bytes.int_in_range(0..=3)? {
                    items.push(self.anything(depth + 1)?);
                }
                items.into()
            }
            6 if is_deep => {
                let mut fields = Map::new();
                for _ in 0..self.bytes.int_in_range(0..=3)? {
                    fields.insert(
                        (*self.bytes.choose(NAMES)?).to_owned(),
                        self.anything(depth + 1)?,
                    );
                }
                fields.into()
            }
            _ => json!(*self.bytes.choose(TEXTS)?),
        })
    }

    /// The value after something in it was replaced, removed or reordered.
    fn edited(&mut self, from: &Value, mut shape: Shape<'_>) -> Result<Value> {
        let mut to = from.clone();
        let mut at = &mut to;
        for depth in 0.. {
            let is_empty = match at {
                Value::Object(fields) => fields.is_empty(),
                Value::Array(items) => items.is_empty(),
                _ => true,
            };
            if is_empty || self.bytes.ratio(1, 5)? {
                *at = self.value(shape, depth)?;
                break;
            }
            at = match at {
                Value::Object(fields) => {
                    let which = self.bytes.choose_index(fields.len())?;
                    let name = fields.keys().nth(which).cloned().unwrap_or_default();
                    if self.bytes.ratio(1, 8)? {
                        fields.remove(&name);
                        break;
                    }
                    shape = shape.field(&name);
                    &mut fields[&name]
                }
                Value::Array(items) => {
                    let which = self.bytes.choose_index(items.len())?;
                    match self.bytes.int_in_range(0..=7)? {
                        0 => {
                            items.remove(which);
                            break;
                        }
                        1 => {
                            items.swap(0, which);
                            break;
                        }
                        _ => {}
                    }
                    shape = shape.item();
                    &mut items[which]
                }
                _ => break,
            };
        }
        Ok(to)
    }
}

/// Two manifests, and an object before and after a request.
struct Input {
    kind: (&'static str, &'static str, &'static str),
    values: [Value; 4],
}

fn input(bytes: &[u8]) -> Result<Input> {
    let source = &mut Source {
        bytes: &mut Unstructured::new(bytes),
    };
    let kind = *source.bytes.choose(KINDS)?;
    let shape = builtin()
        .lookup(kind.0, kind.1, kind.2)
        .unwrap_or_else(Shape::plain);
    let first = source.value(shape, 0)?;
    let second = source.edited(&first, shape)?;
    let old = source.edited(&first, shape)?;
    let mut new = old.clone();
    for _ in 0..source.bytes.int_in_range(1..=3)? {
        new = source.edited(&new, shape)?;
    }
    Ok(Input {
        kind,
        values: [first, second, old, new],
    })
}

/// Whether each path leads to at most one item: if a list repeats a key, or an item lacks one, as the API
/// server allows in a few lists, changes cannot be undone by path.
fn names_its_items(value: &Value, shape: Shape<'_>) -> bool {
    match value {
        Value::Object(fields) => {
            let mut fields = fields.iter();
            fields.all(|(name, value)| names_its_items(value, shape.field(name)))
        }
        Value::Array(items) => {
            let is_unique = match shape.node() {
                Node::List { kind, .. } if *kind == ListKind::Set || kind.keys().is_some() => {
                    let names: Option<BTreeSet<String>> =
                        items.iter().map(|item| name(item, kind)).collect();
                    names.is_some_and(|names| names.len() == items.len())
                }
                _ => true,
            };
            is_unique && items.iter().all(|item| names_its_items(item, shape.item()))
        }
        _ => true,
    }
}

fn name(item: &Value, kind: &ListKind) -> Option<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match kind.keys() {
        Some(keys) => {
            let fields = item.as_object()?;
            let values = keys.iter().map(|key| {
                let default = key
                    .default
                    .as_deref()
                    .map(|json| serde_json::from_str(json).unwrap());
                let given = fields.get(&*key.field).filter(|value| !value.is_null());
                // The API server rejects a key of another type, and drops an empty one.
                let is_key = |value: &Value| match value {
                    Value::String(text) => !text.is_empty() && !is_port(&key.field),
                    other => other.is_number() && is_port(&key.field),
                };
                let key = given.cloned().or(default).filter(is_key);
                key.map(|value| text(&value))
            });
            Some(values.collect::<Option<Vec<_>>>()?.join("\0"))
        }
        None => Some(text(item)),
    }
}

/// Of all merge keys of built-in kinds, only ports are numbers.
fn is_port(field: &str) -> bool {
    ["port", "containerPort"].contains(&field)
}

const NONE: [FieldPath; 0] = [];

fuzz_target!(|bytes: &[u8]| {
    let Ok(Input { kind, values }) = input(bytes) else {
        return;
    };
    let known = builtin().lookup(kind.0, kind.1, kind.2);
    let shape = known.unwrap_or_else(Shape::plain);
    let texts = values.each_ref().map(Value::to_string);
    let documents = texts.each_ref().map(|text| Json::of(text));
    let [first, second, old, new] = documents;
    let filtered = |declared: Declared<'_>,
                    agreement,
                    (old, new): (Json<'_>, Json<'_>),
                    counts: fn(&Violation<'_>) -> bool|
     -> Vec<FieldPath> {
        let found = compare(&Comparison {
            declared,
            agreement,
            old,
            new,
            shape,
            empties: known.map_or(EmptyListPolicy::Kept, |_| EmptyListPolicy::Dropped),
        });
        let found = found.into_iter().filter(counts);
        found.map(|violation| violation.path).collect()
    };
    let run = |declared: Declared<'_>, agreement, old: Json<'_>, new: Json<'_>| {
        filtered(declared, agreement, (old, new), |_| true)
    };
    // A value that may be a default of the API server in an atomic struct counts only while nothing else in
    // the struct changes: it is no violation next to another one, and becomes one when that is undone.
    let remaining = |declared: Declared<'_>, agreement, old: Json<'_>, new: Json<'_>| {
        filtered(declared, agreement, (old, new), |violation| {
            violation.whole.is_none()
        })
    };
    let both = Declared::Two(Some(first), Some(second));
    let has_paths = values.iter().all(|value| names_its_items(value, shape));
    for agreement in [Agreement::Every, Agreement::Any] {
        for declared in [
            Declared::One(first),
            both,
            Declared::Two(None, Some(second)),
        ] {
            assert_eq!(run(declared, agreement, old, old), NONE, "nothing changes");
            let found = run(declared, agreement, old, new);
            if has_paths {
                let mut undone = values[3].clone();
                json_patch::patch(&mut undone, &undo(&values[2], &values[3], &found)).unwrap();
                let text = undone.to_string();
                assert_eq!(
                    remaining(declared, agreement, old, Json::of(&text)),
                    NONE,
                    "{found:?} is undone, and {undone} remains"
                );
            }
        }
        for restored in [first, second] {
            assert_eq!(
                run(both, agreement, old, restored),
                NONE,
                "one of two declarations is met"
            );
        }
        assert_eq!(
            run(Declared::One(first), agreement, old, first),
            NONE,
            "restored"
        );
    }
    let forbidden = |agreement| !run(both, agreement, old, new).is_empty();
    assert!(
        !forbidden(Agreement::Every) || forbidden(Agreement::Any),
        "a violation of both is a violation of each"
    );
});
