//! Opens raw JSON one level at a time.
//!
//! An object of 34 KB of which one field changed is never turned into a tree: each level is split
//! into borrowed slices, and only the slices that differ are split further.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A JSON value, opened by one level.
#[derive(Debug)]
pub enum Opened<'a> {
    /// An object.
    Object(Fields<'a>),
    /// A list.
    List(Vec<&'a RawValue>),
    /// Anything else, as its JSON text.
    Scalar(&'a str),
}

/// Opens `raw`; text that turns out not to be JSON is a scalar, which equals only itself.
pub fn open(raw: &RawValue) -> Opened<'_> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') => serde_json::from_str(text).map_or(Opened::Scalar(text), Opened::Object),
        Some(b'[') => serde_json::from_str(text).map_or(Opened::Scalar(text), Opened::List),
        _ => Opened::Scalar(text),
    }
}

/// `raw`, unless it is null: to Kubernetes a null field is an absent field.
pub fn present(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| raw.get() != "null")
}

/// The fields of an object, sorted by name.
#[derive(Debug, Default)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// The fields of `raw`; `None` if it is not an object.
    pub fn of(raw: &'a RawValue) -> Option<Self> {
        match open(raw) {
            Opened::Object(fields) => Some(fields),
            Opened::List(_) | Opened::Scalar(_) => None,
        }
    }

    /// The value of a field, unless it is absent or null.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self
            .0
            .binary_search_by(|(field, _)| (**field).cmp(name))
            .ok()?;
        present(self.0.get(found).map(|(_, raw)| *raw))
    }

    /// All fields that are not null.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0
            .iter()
            .filter(|(_, raw)| raw.get() != "null")
            .map(|(name, raw)| (&**name, *raw))
    }

    /// There is no field, or none but nulls.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

/// Borrows a key unless it holds an escape.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = Vec::with_capacity(16);
        while let Some((Key(name), raw)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            fields.push((name, raw));
        }
        // Go writes maps sorted and structs in declaration order.
        if !fields.is_sorted_by(|(a, _), (b, _)| a <= b) {
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn fields_are_found_in_any_order_and_nulls_are_absent() {
        let object = raw(r#"{"b":1,"a":{"x":2},"c":null,"d\u002fe":3}"#);
        let fields = Fields::of(&object).unwrap();
        assert_eq!(fields.get("a").unwrap().get(), r#"{"x":2}"#);
        assert_eq!(fields.get("d/e").unwrap().get(), "3");
        assert!(fields.get("c").is_none());
        assert!(fields.get("z").is_none());
        assert_eq!(fields.iter().count(), 3);
    }

    #[test]
    fn a_list_is_no_object() {
        assert!(Fields::of(&raw("[1]")).is_none());
        assert!(matches!(open(&raw("[1,2]")), Opened::List(items) if items.len() == 2));
        assert!(matches!(open(&raw("\"x\"")), Opened::Scalar("\"x\"")));
    }
}
