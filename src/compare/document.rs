//! JSON text of which it is known where each value starts and ends.
//!
//! An object is never turned into a tree: a [`Document`] is its text and, once somebody looks inside,
//! a list of the positions of all values in it, made in one pass. So the walk may go in and out of an
//! object as it likes, and never reads a part of the text twice.
//!
//! Invariants
//! - What is not looked into is not read: a document that is only compared as text costs nothing.
//! - Nothing here recurses, and nothing that does so over a [`Json`] goes deeper than [`MAX_DEPTH`].
//! - Text that is no JSON is a scalar, which equals only itself.

use std::{cell::OnceCell, fmt};

use super::scan::{container_end, scalar_end, string_end};

/// An object or list nested deeper than this is not looked into: it is one value, by its text. The
/// deepest that people write are schemas in custom resource definitions, with some dozens.
const MAX_DEPTH: usize = 256;

/// A JSON value by itself: of a request, or of a manifest.
pub struct Document<'a> {
    text: &'a str,
    nodes: OnceCell<Vec<Node>>,
}

impl<'a> Document<'a> {
    /// The document of this text, which has no space around it. Nothing is read yet.
    pub fn of(text: &'a str) -> Self {
        Self {
            text,
            nodes: OnceCell::new(),
        }
    }

    /// The whole of it.
    pub fn root(&self) -> Json<'_> {
        Json {
            document: self,
            at: 0,
        }
    }

    fn nodes(&self) -> &[Node] {
        self.nodes
            .get_or_init(|| index(self.text).unwrap_or_default())
    }
}

/// Says nothing of what is in it: it may be a Secret.
impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.text.len())
    }
}

/// A value in a [`Document`].
#[derive(Clone, Copy)]
pub struct Json<'a> {
    document: &'a Document<'a>,
    /// Which of the document's nodes; 0 is the whole.
    at: usize,
}

impl<'a> Json<'a> {
    /// Its JSON text.
    pub fn text(self) -> &'a str {
        if self.at == 0 {
            return self.document.text;
        }
        let node = self.document.nodes().get(self.at);
        node.and_then(|node| {
            self.document
                .text
                .get(node.start as usize..node.end as usize)
        })
        .unwrap_or_default()
    }

    /// It is `null`, which to Kubernetes is the same as being absent.
    pub fn is_null(self) -> bool {
        self.text() == "null"
    }

    /// The first byte of its text, which tells what it is.
    pub(super) fn first(self) -> u8 {
        self.text().as_bytes().first().copied().unwrap_or_default()
    }

    /// The values in it: the items of a list; of an object names and values by turns. `None` if it is
    /// neither, or is not looked into.
    pub(super) fn children(self) -> Option<Children<'a>> {
        if !matches!(self.first(), b'{' | b'[') {
            return None;
        }
        let node = self.document.nodes().get(self.at)?;
        let next = self.at + 1;
        let end = node.next as usize;
        (next < end || is_empty(self.text())).then_some(Children {
            document: self.document,
            next,
            end,
        })
    }
}

/// Says nothing of what is in it: it may be a Secret.
impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.text().len())
    }
}

/// An empty object or list has as many nodes in it as one that is not looked into: none.
fn is_empty(container: &str) -> bool {
    let inner = container.get(1..container.len() - 1);
    inner.is_some_and(|inner| inner.trim_ascii().is_empty())
}

/// See [`Json::children`].
pub(super) struct Children<'a> {
    document: &'a Document<'a>,
    next: usize,
    end: usize,
}

impl<'a> Iterator for Children<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let at = self.next;
        if at >= self.end {
            return None;
        }
        self.next = self.document.nodes().get(at)?.next as usize;
        Some(Json {
            document: self.document,
            at,
        })
    }
}

/// Where a value stands in the text, and which node comes after all that is in it.
#[derive(Clone, Copy)]
struct Node {
    start: u32,
    end: u32,
    next: u32,
}

/// The nodes of all values of `text`, outermost first, names of fields among them; `None` if it is
/// not one JSON value. What the parser has accepted is one, so not everything is verified here.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the text is shorter than 4 GiB, and a value has at least one byte"
)]
fn index(text: &str) -> Option<Vec<Node>> {
    u32::try_from(text.len()).ok()?;
    let bytes = text.as_bytes();
    // In what Kubernetes writes, a value or name takes some 15 bytes.
    let mut nodes = Vec::with_capacity(bytes.len() / 12 + 1);
    let mut opened: Vec<usize> = Vec::with_capacity(16);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let end = match byte {
            b',' | b':' | b' ' | b'\n' | b'\t' | b'\r' => {
                at += 1;
                continue;
            }
            b'}' | b']' => {
                at += 1;
                let next = nodes.len() as u32;
                let node: &mut Node = nodes.get_mut(opened.pop()?)?;
                (node.end, node.next) = (at as u32, next);
                continue;
            }
            b'{' | b'[' if opened.len() < MAX_DEPTH => {
                opened.push(nodes.len());
                at + 1
            }
            b'{' | b'[' => container_end(bytes, at)?,
            b'"' => string_end(bytes, at)?,
            _ => scalar_end(bytes, at),
        };
        nodes.push(Node {
            start: at as u32,
            end: end as u32,
            next: nodes.len() as u32 + 1,
        });
        at = end;
    }
    opened.is_empty().then_some(nodes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{Document, Json, MAX_DEPTH};
    use crate::compare::open::{Fields, Opened, open};

    #[test]
    fn what_is_shown_of_an_object_is_its_size() {
        let document = Document::of(r#"{"password":"hunter2"}"#);
        assert_eq!(format!("{document:?}"), "Document(22 bytes)");
        assert_eq!(format!("{:?}", document.root()), "Json(22 bytes)");
    }

    /// The value, read level by level.
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

    /// Any JSON, but for nulls in objects, which are no fields.
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
        fn a_document_holds_what_the_parser_reads(value in values()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let expected: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(read(Document::of(&text).root()), expected);
            }
        }

        #[test]
        fn any_text_is_taken(text in r#"[\{\}\[\]",:\\1né ]{0,40}"#) {
            let document = Document::of(&text);
            let mut seen: Vec<Json<'_>> = vec![document.root()];
            while let Some(json) = seen.pop() {
                prop_assert!(json.text().len() <= text.len());
                seen.extend(json.children().into_iter().flatten());
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
    fn what_is_no_json_is_a_scalar(#[case] text: &str) {
        assert!(matches!(open(Document::of(text).root()), Opened::Scalar(found) if found == text));
    }

    #[test]
    fn what_is_nested_too_deep_is_one_value() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let depth_of = |text: &str| {
            let document = Document::of(text);
            let (mut json, mut depth) = (document.root(), 0);
            while let Opened::List(items) = open(json) {
                (json, depth) = (items[0], depth + 1);
            }
            (depth, json.text().to_owned())
        };
        assert_eq!(depth_of(&nested(MAX_DEPTH)), (MAX_DEPTH, nested(0)));
        assert_eq!(depth_of(&nested(MAX_DEPTH + 2)), (MAX_DEPTH, nested(2)));
        assert_eq!(depth_of(&nested(1_000_000)).0, MAX_DEPTH);

        // What comes after it is found all the same.
        let text = format!(r#"{{"a":{},"b":2}}"#, nested(1_000));
        let document = Document::of(&text);
        let fields = Fields::of(document.root()).unwrap();
        assert_eq!(fields.get("b").map(Json::text), Some("2"));
    }

    #[test]
    fn nothing_shows_what_is_in_it() {
        let document = Document::of(r#"{"password":"hunter2"}"#);
        let shown = format!(
            "{document:?} {:?} {:?}",
            document.root(),
            Fields::of(document.root())
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
