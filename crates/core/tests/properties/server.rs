//! What an API server, its controllers and other clients make of a declared object without
//! changing anything that is declared.

use std::hash::{DefaultHasher, Hash, Hasher};

use helm_guard_core::compare::rules::EmptyListPolicy;
use serde_json::{Map, Value, json};

use super::model::{ModelKey, Ty, identity};

/// One way in which a declared object may stand in the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Decides what is added, and how lists are ordered and values written.
    pub seed: u64,
    /// Whether anything undeclared is added.
    pub adds: bool,
    /// Which empty values are dropped: the same for all objects of one server.
    pub drops: Option<u64>,
    /// Whether an empty list is ever kept.
    pub empties: EmptyListPolicy,
}

/// The declared object as it stands in the cluster.
pub fn stored(ty: &Ty, declared: &Value, life: &Life) -> Value {
    life.value(ty, declared, "")
}

impl Life {
    fn roll(&self, path: &str, what: &str) -> u64 {
        roll(self.seed, path, what)
    }

    fn value(&self, ty: &Ty, value: &Value, path: &str) -> Value {
        match (ty, value) {
            (Ty::Quantity, Value::String(text)) => self.quantity(text, path),
            (Ty::Bytes, Value::String(text)) => self.bytes(text, path),
            (Ty::Struct(fields), Value::Object(object)) => {
                let of = |name: &str| fields.iter().find(|(field, _)| *field == name);
                self.object(object, path, &[], &|name| of(name).map(|(_, ty)| ty))
            }
            (Ty::Map(below), Value::Object(object)) => {
                self.object(object, path, &[], &|_| Some(below))
            }
            (Ty::Whole(object), value) => {
                let alone = Self {
                    adds: false,
                    ..*self
                };
                alone.value(object, value, path)
            }
            (Ty::Keyed(keys, item), Value::Array(items)) => {
                let mut items = self.keyed(keys, item, items, path);
                self.shuffle(&mut items, path);
                items.into()
            }
            (Ty::Sequence(keys, item), Value::Array(items)) => {
                let mut out = self.keyed(keys, item, items, path);
                // What others add may stand anywhere.
                if out.len() > items.len() {
                    let added = out.pop().unwrap_or_default();
                    let at = self.roll(path, "place") % (out.len() as u64 + 1);
                    out.insert(usize::try_from(at).unwrap_or_default(), added);
                }
                out.into()
            }
            (Ty::Set, Value::Array(items)) => {
                let mut items = items.clone();
                if self.adds && self.roll(path, "add").is_multiple_of(3) {
                    items.push(json!(format!("added-{}", self.seed % 100)));
                }
                self.shuffle(&mut items, path);
                items.into()
            }
            (Ty::Atomic(item), Value::Array(items)) => {
                let place = |(n, value)| self.value(item, value, &format!("{path}[{n}]"));
                items.iter().enumerate().map(place).collect()
            }
            (Ty::Unordered(item), Value::Array(items)) => {
                let place = |(n, value)| self.value(item, value, &format!("{path}[{n}]"));
                let mut items: Vec<Value> = items.iter().enumerate().map(place).collect();
                self.shuffle(&mut items, path);
                items.into()
            }
            _ => value.clone(),
        }
    }

    fn object<'t>(
        &self,
        object: &Map<String, Value>,
        path: &str,
        keys: &[ModelKey],
        ty: &dyn Fn(&str) -> Option<&'t Ty>,
    ) -> Value {
        let mut out = Map::new();
        for (name, declared) in object {
            let path = format!("{path}.{name:?}");
            let value =
                ty(name).map_or_else(|| declared.clone(), |ty| self.value(ty, declared, &path));
            let is_key = keys.iter().any(|key| key.field == name);
            // An empty map is not a value in a built-in kind; an object is present or absent.
            let is_map =
                ty(name).is_some_and(Ty::is_map) && self.empties == EmptyListPolicy::Dropped;
            let is_bare = match &value {
                Value::Object(fields) => is_map && fields.is_empty(),
                _ => is_empty(declared),
            };
            let is_dropped = is_bare && self.is_dropped(&value, &path);
            if is_key || !is_dropped {
                out.insert(name.clone(), value);
            }
        }
        if self.adds && self.roll(path, "add").is_multiple_of(3) {
            out.insert(format!("added-{}", self.seed % 100), json!("by a server"));
        }
        out.into()
    }

    fn keyed(&self, keys: &[ModelKey], item: &Ty, items: &[Value], path: &str) -> Vec<Value> {
        let Ty::Struct(fields) = item else {
            unreachable!("only structs have keys");
        };
        let of = |name: &str| fields.iter().find(|(field, _)| *field == name);
        let mut out = Vec::new();
        for value in items {
            let Value::Object(object) = value else {
                out.push(value.clone());
                continue;
            };
            let path = format!("{path}[{}]", identity(value, keys));
            let mut object = self.object(object, &path, keys, &|name| of(name).map(|(_, ty)| ty));
            for key in keys {
                if let (None, Some(default)) = (object.get(key.field), key.default)
                    && self.adds
                {
                    object[key.field] = json!(default);
                }
            }
            out.push(object);
        }
        if self.adds && self.roll(path, "item").is_multiple_of(3) {
            let key = |key: &ModelKey| {
                let value = match of(key.field) {
                    Some((_, Ty::Int)) => json!(60_000 + self.seed % 100),
                    _ => json!(format!("added-{}", self.seed % 100)),
                };
                (key.field.to_owned(), value)
            };
            out.push(Value::Object(keys.iter().map(key).collect()));
        }
        out
    }

    fn is_dropped(&self, value: &Value, path: &str) -> bool {
        let Some(drops) = self.drops else {
            return false;
        };
        let coin = roll(drops, path, "drop").is_multiple_of(2);
        match (value, self.empties) {
            (Value::Array(_), EmptyListPolicy::Dropped) => true,
            (Value::Array(_), EmptyListPolicy::Kept) => false,
            _ => coin,
        }
    }

    fn shuffle(&self, items: &mut [Value], path: &str) {
        items.sort_by_key(|item| self.roll(path, &item.to_string()));
    }

    /// Another way to write the same amount.
    fn quantity(&self, text: &str, path: &str) -> Value {
        let split = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(split.unwrap_or(text.len()));
        let Ok(number) = number.parse::<u64>() else {
            return text.into();
        };
        let as_thousandth = |unit: &str| format!("{}{unit}", number * 1000);
        match (unit, self.roll(path, "unit") % 3) {
            ("", 0) => json!(number),
            ("", 1) => as_thousandth("m").into(),
            ("k", 0) => as_thousandth("").into(),
            ("k", 1) => format!("{number}e3").into(),
            ("Mi", 0) => format!("{}Ki", number * 1024).into(),
            ("Gi", 0) => format!("{}Mi", number * 1024).into(),
            _ => text.into(),
        }
    }

    /// Another way to write the same bytes.
    fn bytes(&self, text: &str, path: &str) -> Value {
        match self.roll(path, "line") % 3 {
            0 if text.len() > 2 => format!("{}\n{}", &text[..2], &text[2..]).into(),
            1 => text.replace('\n', "").into(),
            _ => text.into(),
        }
    }
}

/// A value that `omitempty` leaves out.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.values().all(is_empty),
    }
}

/// A number that depends on nothing but its arguments.
pub fn roll(seed: u64, path: &str, what: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, path, what).hash(&mut hasher);
    hasher.finish()
}
