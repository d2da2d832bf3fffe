//! Builds a value from the parser's events, without recursion: the nesting of a document is data
//! here, never the depth of the call stack.

use std::{borrow::Cow, collections::HashMap};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError};
use serde_json::{Map, Value};

use super::{
    Allowance, Fault, MAX_DEPTH, YamlError,
    scalar::{Scalar, Tag, resolve},
};

/// Reads the first document of a text.
///
/// Go accepts a continuation line of a quoted scalar at any column, the parser only right of the
/// surrounding block. Leading spaces are insignificant there, so more are inserted until the parser
/// accepts the line; each attempt costs the text again.
pub(super) fn compose(document: &str, allowance: &Allowance) -> Result<Value, YamlError> {
    let mut text = Cow::Borrowed(document);
    loop {
        match pass(&text, allowance) {
            Ok(value) => return Ok(value),
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Outdented { at, column, line }) => {
                allowance
                    .spend(text.len())
                    .map_err(|fault| YamlError { fault, line })?;
                text.to_mut().insert_str(at, &" ".repeat(column + 1));
            }
        }
    }
}

/// Why parsing stopped early.
enum Stop {
    Error(YamlError),
    /// A line of a quoted scalar starts too far left for the parser.
    Outdented {
        /// The byte offset of the line's first character.
        at: usize,
        /// A column within the block around the scalar.
        column: usize,
        line: usize,
    },
}

fn pass(text: &str, allowance: &Allowance) -> Result<Value, Stop> {
    let options = granit_parser::options! {
        emit_comments: false,
    };
    let mut composer = Composer {
        allowance,
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
    };
    let mut column = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| stop(&error, column, text))?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        column = span.start.col();
        composer.take(event).map_err(|fault| {
            let line = span.start.line();
            Stop::Error(YamlError { fault, line })
        })?;
    }
    Ok(composer.root.unwrap_or(Value::Null))
}

fn stop(error: &ScanError, column: usize, text: &str) -> Stop {
    let line = error.marker().line();
    let fault = match error.kind() {
        ErrorKind::InvalidQuotedScalarIndent => {
            match error
                .marker()
                .byte_offset()
                .filter(|at| text.is_char_boundary(*at))
            {
                Some(at) => return Stop::Outdented { at, column, line },
                None => Fault::Syntax,
            }
        }
        ErrorKind::UnknownAnchor => Fault::Alias,
        _ => Fault::Syntax,
    };
    Stop::Error(YamlError { fault, line })
}

/// A complete node. Scalars keep Go's type, because each type is printed differently as a key.
#[derive(Clone)]
enum YamlNode {
    Scalar(Scalar),
    Collection(Value),
}

/// An unfinished collection.
struct OpenCollection {
    /// The parser's number for its anchor; 0 for none.
    anchor: usize,
    /// The remaining allowance at its start.
    before: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Value>),
    Map {
        entries: Map<String, Value>,
        /// The key of the next value.
        key: Option<PendingKey>,
    },
}

enum PendingKey {
    Text(String),
    Merge,
}

/// The value of an alias.
struct Anchored {
    node: YamlNode,
    cost: usize,
}

struct Composer<'a> {
    allowance: &'a Allowance,
    open: Vec<OpenCollection>,
    anchors: HashMap<usize, Anchored>,
    root: Option<Value>,
}

impl Composer<'_> {
    fn take(&mut self, event: Event<'_>) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let tag = tag.as_deref().map(Tag::of);
                if plain
                    && text == "<<"
                    && matches!(tag, None | Some(Tag::Merge))
                    && let Some(key @ None) = self.key_slot()
                {
                    *key = Some(PendingKey::Merge);
                    return Ok(());
                }
                let before = self.allowance.left();
                self.allowance.value(text.len())?;
                let node = YamlNode::Scalar(resolve(text, plain, tag)?);
                self.complete(node, anchor, before)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(anchor, OpenKind::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.begin(
                anchor,
                OpenKind::Map {
                    entries: Map::new(),
                    key: None,
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let anchored = self.anchors.get(&anchor).ok_or(Fault::Alias)?;
                self.allowance.alias(anchored.cost)?;
                let node = anchored.node.clone();
                self.place(node)
            }
            _ => Ok(()),
        }
    }

    /// The pending key of the open map, if there is one.
    fn key_slot(&mut self) -> Option<&mut Option<PendingKey>> {
        match &mut self.open.last_mut()?.kind {
            OpenKind::Map { key, .. } => Some(key),
            OpenKind::List(_) => None,
        }
    }

    fn begin(&mut self, anchor: usize, kind: OpenKind) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::TooMuch);
        }
        let before = self.allowance.left();
        self.allowance.value(0)?;
        self.open.push(OpenCollection {
            anchor,
            before,
            kind,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else {
            return Err(Fault::Syntax);
        };
        let value = match open.kind {
            OpenKind::List(items) => Value::Array(items),
            OpenKind::Map { entries, .. } => Value::Object(entries),
        };
        self.complete(YamlNode::Collection(value), open.anchor, open.before)
    }

    /// Finishes a node: stores it if it is anchored, and adds it to its parent. The stored copy
    /// costs as much as the node.
    fn complete(&mut self, node: YamlNode, anchor: usize, before: usize) -> Result<(), Fault> {
        if anchor != 0 {
            let cost = before.saturating_sub(self.allowance.left());
            self.allowance.spend(cost)?;
            let node = node.clone();
            self.anchors.insert(anchor, Anchored { node, cost });
        }
        self.place(node)
    }

    fn place(&mut self, node: YamlNode) -> Result<(), Fault> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(json(node)?);
            return Ok(());
        };
        match &mut open.kind {
            OpenKind::List(items) => items.push(json(node)?),
            OpenKind::Map { entries, key } => match key.take() {
                None => *key = Some(PendingKey::Text(key_text(node)?)),
                Some(PendingKey::Text(text)) => {
                    entries.insert(text, json(node)?);
                }
                Some(PendingKey::Merge) => merge(json(node)?, entries)?,
            },
        }
        Ok(())
    }
}

fn json(node: YamlNode) -> Result<Value, Fault> {
    match node {
        YamlNode::Scalar(scalar) => scalar.into_json().ok_or(Fault::NotFinite),
        YamlNode::Collection(value) => Ok(value),
    }
}

fn key_text(node: YamlNode) -> Result<String, Fault> {
    match node {
        YamlNode::Scalar(scalar) => scalar.into_key().ok_or(Fault::Key),
        YamlNode::Collection(_) => Err(Fault::Key),
    }
}

/// Merges at the position of the key, over existing entries. Of several objects, the first is
/// merged last, so that it wins (`decoder.merge` of go-yaml v2).
fn merge(value: Value, into: &mut Map<String, Value>) -> Result<(), Fault> {
    let maps = match value {
        Value::Array(items) => items,
        map => vec![map],
    };
    for map in maps.into_iter().rev() {
        match map {
            Value::Object(map) => into.extend(map),
            _ => return Err(Fault::Merge),
        }
    }
    Ok(())
}
