//! JSON text that is opened lazily.
//!
//! An object never becomes a tree: a [`Json`] is its text, and its children are found in one scan, many
//! bytes at a time. The walk opens a level only where two texts differ, so most of an object is only
//! ever compared as text.
//!
//! Invariants
//! - Unopened JSON is not scanned: comparing it as text costs nothing.
//! - Nothing here recurses, and nothing that does so over a [`Json`] goes deeper than [`MAX_DEPTH`].
//! - Invalid JSON is a scalar that equals only itself.

use std::fmt;

use super::json_scan::{skip_signs, value_end, value_end_beside};

/// An object or list nested deeper than this is not opened: it is one value, compared as text. The
/// deepest in practice are schemas in CRDs, with some dozens of levels. This also bounds how often
/// a byte is scanned: once for each open level around it.
const MAX_DEPTH: usize = 256;

/// A JSON value: of a request, or of a manifest.
#[derive(Clone, Copy)]
pub struct Json<'a> {
    text: &'a str,
    /// The number of objects and lists around it.
    depth: usize,
    /// Its children, if they are already known.
    parts: &'a [&'a str],
    /// Whether it is an object or list whose end is in the text.
    is_open_ended: bool,
}

impl<'a> Json<'a> {
    /// The value with this text, without surrounding space. Nothing is parsed yet.
    pub fn of(text: &'a str) -> Self {
        Self::with_parts(text, &[])
    }

    /// The object with this text and these children: alternating names and values.
    pub(crate) fn with_parts(text: &'a str, parts: &'a [&'a str]) -> Self {
        Self {
            text,
            depth: 0,
            parts,
            is_open_ended: false,
        }
    }

    /// Its JSON text.
    pub fn text(self) -> &'a str {
        if !self.is_open_ended {
            return self.text;
        }
        let end = value_end(self.text.as_bytes(), 0);
        end.and_then(|end| self.text.get(..end)).unwrap_or_default()
    }

    /// The approximate length of its text, without scanning it.
    pub(super) fn length(self) -> usize {
        self.text.len()
    }

    /// Whether it is `null`, which to Kubernetes is the same as absent.
    pub fn is_null(self) -> bool {
        !self.is_open_ended && self.text == "null"
    }

    /// The first byte of its text, which determines its type.
    pub(super) fn first(self) -> u8 {
        self.text.as_bytes().first().copied().unwrap_or_default()
    }

    /// Its children: the items of a list, or alternating names and values of an object. `None` if it
    /// is neither, or nested too deep.
    pub(super) fn children(self) -> Option<Children<'a>> {
        let is_open = matches!(self.first(), b'{' | b'[') && self.depth < MAX_DEPTH;
        is_open.then_some(Children {
            text: self.text,
            at: 1,
            depth: self.depth + 1,
            parts: self.parts,
            is_open_ended: self.is_open_ended,
        })
    }
}

/// Shows nothing of its content: it may be a Secret.
impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.text.len())
    }
}

/// The surrounding text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// See [`Json::children`].
pub(super) struct Children<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// The remaining known children.
    parts: &'a [&'a str],
    is_open_ended: bool,
}

impl<'a> Children<'a> {
    /// The next value, next to `other` in another state of the same parent.
    pub(super) fn next_beside(
        &mut self,
        other: Option<Json<'_>>,
    ) -> Option<Result<Json<'a>, Malformed>> {
        if let Some((part, rest)) = self.parts.split_first() {
            // After the last child, only the closing bracket remains.
            self.at = self.text.len() - 1;
            self.parts = rest;
            return Some(Ok(self.child(part)));
        }
        let bytes = self.text.as_bytes();
        let start = skip_signs(bytes, self.at);
        let is_end = matches!(bytes.get(start), Some(b'}' | b']'));
        if is_end && (self.is_open_ended || start + 1 == bytes.len()) {
            self.at = start;
            return None;
        }
        let end = match other {
            Some(other) => value_end_beside(bytes, start, other.text()),
            None => value_end(bytes, start),
        };
        let Some((end, text)) = end.and_then(|end| Some((end, self.text.get(start..end)?))) else {
            return Some(Err(Malformed));
        };
        self.at = end;
        Some(Ok(self.child(text)))
    }

    /// The next value if the following ones are not needed: it is not scanned for its end.
    pub(super) fn last_value(mut self) -> Option<Result<Json<'a>, Malformed>> {
        let start = skip_signs(self.text.as_bytes(), self.at);
        let rest = self.text.get(start..)?;
        if !self.parts.is_empty() || !rest.starts_with(['{', '[']) {
            return self.next();
        }
        Some(Ok(Json {
            is_open_ended: true,
            ..self.child(rest)
        }))
    }

    fn child(&self, text: &'a str) -> Json<'a> {
        Json {
            text,
            depth: self.depth,
            parts: &[],
            is_open_ended: false,
        }
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = Result<Json<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_beside(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{Children, Json, MAX_DEPTH};
    use crate::compare::lazy::{Fields, Opened, open};

    #[test]
    fn debug_output_of_json_is_its_size() {
        let json = Json::of(r#"{"password":"hunter2"}"#);
        assert_eq!(format!("{json:?}"), "Json(22 bytes)");
    }

    /// The value, parsed level by level.
    fn read(json: Json<'_>) -> Value {
        match open(json) {
            Opened::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.to_owned(), read(value)))
                .collect(),
            Opened::List(items) => items.into_iter().map(read).collect(),
            Opened::Scalar(text) => serde_json::from_str(text).unwrap(),
        }
    }

    /// Any JSON without nulls in objects, which are not fields.
    fn values() -> impl Strategy<Value = Value> {
        let text = || proptest::string::string_regex(r#"[a-c"\\\{\}\[\]:,\n é😀]{0,20}"#).unwrap();
        let scalar = prop_oneof![
            Just(json!(true)),
            any::<i64>().prop_map(Value::from),
            any::<f32>().prop_map(Value::from),
            text().prop_map(Value::from),
        ];
        scalar.prop_recursive(6, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(text(), inner, 0..6)
                    .prop_map(|fields| fields.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn lazy_json_equals_parsed_json(value in values()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let expected: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(read(Json::of(&text)), expected);
            }
        }

        #[test]
        fn any_text_is_accepted(text in r#"[\{\}\[\]",:\\1né ]{0,40}"#) {
            let document = Json::of(&text);
            let mut seen: Vec<Json<'_>> = vec![document];
            while let Some(json) = seen.pop() {
                prop_assert!(json.text().len() <= text.len());
                seen.extend(json.children().into_iter().flatten().map_while(Result::ok));
            }
        }
    }

    #[rstest]
    #[case("")]
    #[case("{")]
    #[case("}")]
    #[case("[1")]
    #[case("{}{}")]
    #[case(r#"["a"#)]
    #[case(r#"["a\"]"#)]
    #[case(r#"{"a"}"#)]
    #[case(r#"{"a":}"#)]
    #[case("[1}]")]
    fn invalid_json_is_a_scalar(#[case] text: &str) {
        assert!(matches!(open(Json::of(text)), Opened::Scalar(found) if found == text));
    }

    #[test]
    fn known_children_are_read_instead_of_the_text() {
        let parts = [r#""a""#, "1", r#""b""#, r#"{"c":2}"#];
        let json = Json::with_parts(r#"{"a":1,"b":{"c":2}}"#, &parts);
        assert!(matches!(open(json), Opened::Object(_)));
        assert_eq!(read(json), json!({"a": 1, "b": {"c": 2}}));
        let last = json.children().and_then(Children::last_value);
        assert_eq!(last.unwrap().unwrap().text(), parts[0]);
    }

    #[test]
    fn a_value_that_is_needed_last_is_not_scanned_for_its_end() {
        let first = |text| Json::of(text).children().and_then(Children::last_value);
        assert!(first(r#"[{"a":1"#).is_some_and(|object| object.is_ok()));
        assert!(first("[null]").is_some_and(|null| null.unwrap().is_null()));
    }

    #[test]
    fn a_value_nested_too_deep_is_one_value() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let depth_of = |text: &str| {
            let document = Json::of(text);
            let (mut json, mut depth) = (document, 0);
            while let Opened::List(items) = open(json) {
                (json, depth) = (items[0], depth + 1);
            }
            (depth, json.text().to_owned())
        };
        assert_eq!(depth_of(&nested(MAX_DEPTH)), (MAX_DEPTH, nested(0)));
        assert_eq!(depth_of(&nested(MAX_DEPTH + 2)), (MAX_DEPTH, nested(2)));
        assert_eq!(depth_of(&nested(20_000)).0, MAX_DEPTH);

        // The following values are found nevertheless.
        let text = format!(r#"{{"a":{},"b":2}}"#, nested(1_000));
        let document = Json::of(&text);
        let fields = Fields::of(document).unwrap();
        assert_eq!(fields.get("b").map(Json::text), Some("2"));
    }

    #[test]
    fn debug_output_of_json_hides_its_content() {
        let document = Json::of(r#"{"password":"hunter2"}"#);
        let shown = format!(
            "{document:?} {:?} {:?}",
            document.children().map(Iterator::collect::<Vec<_>>),
            Fields::of(document)
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
