//! Parses JSON of any depth: values nested too deep are kept as text.
//!
//! `serde_json` rejects a document that is nested deeper than 128 levels. For a rule, such an object
//! would have no labels, and two of them would be equal. Skipping a value does not recurse, so a value
//! that is too deep costs one scan of its text.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

/// The depth at which values are no longer parsed; below the limit of `serde_json`.
const MAX_DEPTH: usize = 120;

/// Reads a document.
pub(super) fn parse(text: &str) -> serde_json::Result<Value> {
    // The fast way, for nearly every object.
    serde_json::from_str(text).or_else(|_| {
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = Level(0).deserialize(&mut reader)?;
        reader.end()?;
        Ok(value)
    })
}

/// A value, and the number of objects and lists around it.
#[derive(Clone, Copy)]
struct Level(usize);

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        if self.0 < MAX_DEPTH {
            return reader.deserialize_any(self);
        }
        let text = <&RawValue>::deserialize(reader)?.get();
        Ok(match text.as_bytes().first() {
            Some(b'{' | b'[') => Value::String(text.to_owned()),
            _ => serde_json::from_str(text).unwrap_or_default(),
        })
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Level(self.0 + 1))? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            fields.insert(name, object.next_value_seed(Level(self.0 + 1))?);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize, inner: &str) -> String {
        format!("{}{inner}{}", r#"{"a":["#.repeat(depth), "]}".repeat(depth))
    }

    #[test]
    fn a_deeply_nested_object_keeps_its_labels_and_content() {
        for depth in [1, 60, 64, 200, 20_000] {
            let document = |inner: &str| {
                let spec = nested(depth, inner);
                format!(r#"{{"metadata":{{"labels":{{"a":"b"}}}},"n":-1.5,"spec":{spec}}}"#)
            };
            let (one, two) = (
                parse(&document("1")).unwrap(),
                parse(&document("2")).unwrap(),
            );
            assert_eq!(one["metadata"]["labels"]["a"], "b", "{depth}");
            assert_eq!(one["n"], -1.5);
            assert_ne!(one, two, "{depth}");
            assert_eq!(one, parse(&document("1")).unwrap(), "{depth}");
        }
    }

    #[test]
    fn invalid_json_is_rejected_at_any_depth() {
        for text in ["", "{", "{}{}", r#"{"a":}"#, &nested(200, "x")] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
