//! What the walk must know about a kind's fields: which lists have merge keys or are sets, which
//! values are quantities or base64. Everything else is compared as plain JSON.
//!
//! A [`Schema`] is an arena of nodes: it contains only types that lead to special comparisons, so a
//! `ConfigMap` needs none and a pod template a few dozen.
//!
//! Types are first gathered by name in a [`table::Table`], from the OpenAPI documents of an API
//! server ([`openapi`]), their text form ([`text`]) or a CRD ([`crd`]), and then compiled. Those of
//! Kubernetes itself are [`builtin`].

pub mod builtin;
pub mod crd;
mod json;
pub mod openapi;
mod order;
pub mod table;
pub mod text;

use thiserror::Error;

use super::path::Step;

/// A node of a [`Schema`], by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// What is known about a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// Nothing: objects compare key by key, lists as atomic, scalars by value.
    Plain,
    /// A `resource.Quantity`: `1000m` equals `1`.
    Quantity,
    /// Base64 of bytes: line breaks do not count.
    Bytes,
    /// A number, or a string with another meaning than the number (`IntOrString`).
    IntOrString,
    /// An atomic object, one value to the API with everything in it: undeclared keys may not be added
    /// to it. A [`Shape`] never stops here, but at the node inside.
    Atomic(NodeId),
    /// An object whose named fields are known; the others are `Plain`.
    Struct(Vec<(Box<str>, NodeId)>),
    /// An object with any keys and one type of value.
    MapOf(NodeId),
    /// A list, and how two versions of it are compared.
    List {
        /// How items are matched.
        kind: ListKind,
        /// The type of an item.
        item: NodeId,
    },
}

/// How the items of a list are matched with those in another version of the list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// By position; the list is one value.
    Atomic,
    /// One value, but the order is irrelevant (HPA metrics, which the API server reorders).
    Unordered,
    /// By their values.
    Set,
    /// By the values of these fields; a key that an item lacks has the default given here, as JSON
    /// text (`protocol` defaults to `"TCP"`).
    Keyed(Vec<MergeKey>),
    /// As `Keyed`, and the order is significant too: see [`order`].
    Sequence(Vec<MergeKey>),
    /// As `Keyed`, and the last item with a key counts: variables, which may refer to those before them.
    Variables(Vec<MergeKey>),
}

impl ListKind {
    /// The merge keys by which items are matched, if there are any.
    pub fn keys(&self) -> Option<&[MergeKey]> {
        match self {
            Self::Keyed(keys) | Self::Sequence(keys) | Self::Variables(keys) => Some(keys),
            Self::Atomic | Self::Unordered | Self::Set => None,
        }
    }
}

/// One merge key of a keyed list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MergeKey {
    /// The field's name.
    pub field: Box<str>,
    /// The value, as JSON text, of an item that lacks the field.
    pub default: Option<Box<str>>,
}

/// Why types could not be read.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// Not JSON, or not of the expected form.
    #[error("failed to read {what}")]
    Json {
        /// The type of document.
        what: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// Two documents define a type of this name differently.
    #[error("failed to merge types: {name} has two definitions")]
    Conflict {
        /// The type.
        name: String,
    },
    /// A type is used but not defined.
    #[error("failed to find the type {name}")]
    Undefined {
        /// The type.
        name: String,
    },
    /// A line of the text form is invalid.
    #[error("failed to read line {line} of the table: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The error.
        reason: &'static str,
    },
}

/// Whether a kind's objects are in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceScope {
    /// Objects have a namespace.
    Namespaced,
    /// Objects have none; Helm ignores one in the manifest.
    Cluster,
}

/// The types of one or more kinds, in one arena.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    nodes: Vec<Node>,
}

impl Schema {
    /// A schema of these nodes; a [`NodeId`] is an index into them.
    pub fn new(nodes: Vec<Node>) -> Self {
        Self { nodes }
    }

    /// The node at `id`; [`Node::Plain`] for an id of another schema.
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::Plain)
    }
}

/// A place in a schema: what is known about the current value of the walk.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'s> {
    schema: &'s Schema,
    node: Option<NodeId>,
    is_atomic: bool,
}

static NOTHING: Schema = Schema { nodes: Vec::new() };

impl<'s> Shape<'s> {
    /// Nothing is known: lists are atomic.
    pub fn plain() -> Self {
        Self {
            schema: &NOTHING,
            node: None,
            is_atomic: false,
        }
    }

    /// The type at `node`.
    pub fn at(schema: &'s Schema, node: NodeId) -> Self {
        Self {
            schema,
            node: None,
            is_atomic: false,
        }
        .to(Some(node))
    }

    /// One step down. Everything below an atomic value is atomic.
    fn to(self, node: Option<NodeId>) -> Self {
        match node.map(|id| self.schema.node(id)) {
            Some(Node::Atomic(inner)) => Self {
                node: Some(*inner),
                is_atomic: true,
                ..self
            },
            _ => Self { node, ..self },
        }
    }

    /// Whether this is an atomic object, or part of one.
    pub(crate) fn is_atomic(self) -> bool {
        self.is_atomic
    }

    /// The merge keys of a keyed list.
    pub(crate) fn keys(self) -> Option<&'s [MergeKey]> {
        match self.node() {
            Node::List { kind, .. } => kind.keys(),
            _ => None,
        }
    }

    /// What is known here.
    pub fn node(self) -> &'s Node {
        self.node.map_or(&Node::Plain, |id| self.schema.node(id))
    }

    /// The shape of an object's field.
    #[must_use]
    pub fn field(self, name: &str) -> Self {
        let node = match self.node() {
            Node::Struct(fields) => fields
                .iter()
                .find(|(field, _)| &**field == name)
                .map(|(_, id)| *id),
            Node::MapOf(value) => Some(*value),
            _ => None,
        };
        self.to(node)
    }

    /// One step of a path down.
    #[must_use]
    pub fn step(self, step: &Step) -> Self {
        match step {
            Step::Field(name) => self.field(name),
            Step::Item(_) | Step::Value(_) | Step::Index(_) => self.item(),
        }
    }

    /// The shape of a list's items.
    #[must_use]
    pub fn item(self) -> Self {
        let node = match self.node() {
            Node::List { item, .. } => Some(*item),
            _ => None,
        };
        self.to(node)
    }
}
