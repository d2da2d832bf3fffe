//! The lines of a document's nodes, for messages that point into a manifest.
//!
//! Only [`read`](super::read) decides what a document means. Here a scalar keeps its text, and an alias has none.

use granit_parser::{Event, Parser};

use super::MAX_DEPTH;

/// A node of a document, and the line that it starts on, counted from 1.
#[derive(Debug)]
pub struct LocatedNode {
    /// Of its first token.
    pub line: u32,
    content: LocatedContent,
}

#[derive(Debug)]
enum LocatedContent {
    Scalar(String),
    List(Vec<LocatedNode>),
    /// Keys and values in turn.
    Map(Vec<LocatedNode>),
}

impl LocatedNode {
    /// The root of the first document of a text. `None` if there is none, or it is not YAML or nested too deep.
    ///
    /// It is built with an explicit stack, so that its nesting is never the depth of the call stack.
    pub fn root(text: &str) -> Option<Self> {
        let options = granit_parser::options! {
            emit_comments: false,
        };
        let mut open: Vec<Self> = Vec::new();
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.ok()?;
            let node = |content| Self {
                line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
                content,
            };
            let complete = match event {
                Event::MappingStart(..) => {
                    open.push(node(LocatedContent::Map(Vec::new())));
                    None
                }
                Event::SequenceStart(..) => {
                    open.push(node(LocatedContent::List(Vec::new())));
                    None
                }
                Event::MappingEnd | Event::SequenceEnd => open.pop(),
                Event::Scalar(text, ..) => Some(node(LocatedContent::Scalar(text.into_owned()))),
                Event::Alias(..) => Some(node(LocatedContent::Scalar(String::new()))),
                _ => None,
            };
            if open.len() > MAX_DEPTH {
                return None;
            }
            let Some(complete) = complete else {
                continue;
            };
            match open.last_mut().map(|parent| &mut parent.content) {
                Some(LocatedContent::List(nodes) | LocatedContent::Map(nodes)) => {
                    nodes.push(complete);
                }
                Some(LocatedContent::Scalar(_)) => return None,
                None => return Some(complete),
            }
        }
        None
    }

    /// Whether it is a scalar with this text.
    pub fn is(&self, text: &str) -> bool {
        matches!(&self.content, LocatedContent::Scalar(found) if found == text)
    }

    /// The value of a field, and the line of its key. Of two equal keys, the last one is in force.
    pub fn field(&self, name: &str) -> Option<(u32, &Self)> {
        let LocatedContent::Map(nodes) = &self.content else {
            return None;
        };
        let mut fields = nodes.chunks_exact(2).rev();
        fields.find_map(|field| match field {
            [key, value] if key.is(name) => Some((key.line, value)),
            _ => None,
        })
    }

    /// The items of a list; empty for anything else.
    pub fn items(&self) -> &[Self] {
        match &self.content {
            LocatedContent::List(items) => items,
            LocatedContent::Scalar(_) | LocatedContent::Map(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_the_line_of_its_key_or_of_its_first_token() {
        let root = LocatedNode::root("a: 1\nb:\n- c: 2\n  d: |\n    text\na: 3\n").unwrap();
        let (line, value) = root.field("a").unwrap();
        assert!(value.is("3"));
        assert_eq!(line, 6);
        let (line, list) = root.field("b").unwrap();
        assert_eq!((line, list.items().len()), (2, 1));
        let (line, text) = list.items()[0].field("d").unwrap();
        assert!(text.is("text\n"));
        assert_eq!(line, 4);
        assert!(root.field("c").is_none() && root.items().is_empty());
    }

    #[test]
    fn what_read_refuses_has_no_lines() {
        let nested = |levels| "[".repeat(levels) + &"]".repeat(levels);
        assert!(LocatedNode::root(&nested(MAX_DEPTH)).is_some());
        assert!(LocatedNode::root(&nested(MAX_DEPTH + 1)).is_none());
        assert!(LocatedNode::root("a: [").is_none());
        assert!(LocatedNode::root("").is_none());
    }
}
