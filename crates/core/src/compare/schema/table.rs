//! Types by name: the form that is reduced, printed and compared before it is compiled into a
//! [`Schema`].
//!
//! Invariant: a type contains other types only by name, so that cycles (`JSONSchemaProps`) need no
//! special case and every type prints as a few lines.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{ListKind, Node, NodeId, ResourceScope, Schema, SchemaError};

/// Named types, and the kinds that have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The fields of each object type, by the type's name.
    pub types: BTreeMap<String, TypeFields>,
    /// By group, version and kind.
    pub kinds: BTreeMap<KindName, KindInVersion>,
}

/// The known fields of an object.
pub(crate) type TypeFields = BTreeMap<String, Type>;

/// A kind in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KindName {
    /// The API group, empty for the core group.
    pub group: String,
    /// The API version: `v1`.
    pub version: String,
    /// The kind, as in a manifest: `Deployment`.
    pub kind: String,
}

/// What is known about a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindInVersion {
    /// Whether it lives in a namespace.
    pub scope: ResourceScope,
    /// The name of its type.
    pub ty: String,
}

/// What is known about a value, with objects by name: see [`Node`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Nothing.
    Plain,
    /// A `resource.Quantity`.
    Quantity,
    /// Base64 of bytes.
    Bytes,
    /// A number or a string.
    IntOrString,
    /// An atomic value, with everything in it.
    Atomic(Box<Type>),
    /// An object of this type.
    Named(String),
    /// An object with any keys.
    Map(Box<Type>),
    /// A list whose items are matched in this way.
    List(ListKind, Box<Type>),
}

/// A table's types as a schema, with the node of each type.
pub struct Compiled {
    /// The types; equal ones share a node.
    pub schema: Schema,
    /// The node of each type.
    pub nodes: BTreeMap<String, NodeId>,
}

impl Table {
    /// Drops what needs no special comparison: fields that are compared as plain JSON, types with
    /// only such fields, and all types that are unreachable from `roots`. The roots themselves
    /// stay.
    #[must_use]
    pub fn prune(mut self, roots: &[&str]) -> Self {
        let useful = self.useful(roots);
        self.types = std::mem::take(&mut self.types)
            .into_iter()
            .filter(|(name, _)| useful.contains(name))
            .map(|(name, fields)| (name, prune_fields(fields, &useful)))
            .collect();
        let reached = self.reached(roots);
        self.types.retain(|name, _| reached.contains(name));
        self
    }

    /// The least set of types that need a special comparison, directly or through another type of
    /// the set. A cycle without one is not in it.
    fn useful(&self, roots: &[&str]) -> BTreeSet<String> {
        let mut useful: BTreeSet<String> = roots.iter().map(|root| (*root).to_owned()).collect();
        loop {
            let more: Vec<String> = self
                .types
                .iter()
                .filter(|(name, _)| !useful.contains(*name))
                .filter(|(_, fields)| fields.values().any(|ty| ty.is_useful(&useful)))
                .map(|(name, _)| name.clone())
                .collect();
            if more.is_empty() {
                return useful;
            }
            useful.extend(more);
        }
    }

    fn reached(&self, roots: &[&str]) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut ahead: Vec<String> = roots.iter().map(|root| (*root).to_owned()).collect();
        while let Some(name) = ahead.pop() {
            if let Some(fields) = self.types.get(&name)
                && reached.insert(name)
            {
                ahead.extend(fields.values().filter_map(Type::named).map(str::to_owned));
            }
        }
        reached
    }

    /// Fails unless every named type exists.
    pub fn check(&self) -> Result<(), SchemaError> {
        let kinds = self.kinds.values().map(|kind| kind.ty.as_str());
        let fields = self.types.values().flat_map(BTreeMap::values);
        match kinds
            .chain(fields.filter_map(Type::named))
            .find(|name| !self.types.contains_key(*name))
        {
            None => Ok(()),
            Some(name) => Err(SchemaError::Undefined { name: name.into() }),
        }
    }

    /// The schema of these types. An undefined name is [`Node::Plain`].
    pub fn compile(&self) -> Compiled {
        let twins = Twins::of(&self.types);
        let mut arena = Arena::default();
        for name in twins.types.keys() {
            arena.reserve(name);
        }
        for (name, fields) in &twins.types {
            arena.define(name, fields);
        }
        let nodes = self
            .types
            .keys()
            .filter_map(|name| Some((name.clone(), arena.named(twins.resolve(name))?)))
            .collect();
        Compiled {
            schema: Schema::new(arena.nodes),
            nodes,
        }
    }
}

fn prune_fields(fields: TypeFields, useful: &BTreeSet<String>) -> TypeFields {
    fields
        .into_iter()
        .map(|(field, ty)| (field, ty.prune(useful)))
        .filter(|(_, ty)| *ty != Type::Plain)
        .collect()
}

impl Type {
    fn is_useful(&self, useful: &BTreeSet<String>) -> bool {
        match self {
            Self::Plain => false,
            Self::Named(name) => useful.contains(name),
            Self::List(ListKind::Atomic, value) => value.is_useful(useful),
            // A map of anything must be known as a map: the API server drops an empty one.
            Self::Map(_)
            | Self::Quantity
            | Self::Bytes
            | Self::IntOrString
            | Self::Atomic(_)
            | Self::List(..) => true,
        }
    }

    fn prune(self, useful: &BTreeSet<String>) -> Self {
        if !self.is_useful(useful) {
            return Self::Plain;
        }
        match self {
            Self::Map(value) => Self::Map(Box::new(value.prune(useful))),
            Self::Atomic(value) => Self::Atomic(Box::new(value.prune(useful))),
            Self::List(kind, item) => Self::List(kind, Box::new(item.prune(useful))),
            leaf => leaf,
        }
    }

    /// The one type that this names, through lists and maps.
    fn named(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::Map(inner) | Self::Atomic(inner) | Self::List(_, inner) => inner.named(),
            _ => None,
        }
    }

    fn rename(&mut self, names: &BTreeMap<String, String>) {
        match self {
            Self::Named(name) => {
                if let Some(other) = names.get(name) {
                    name.clone_from(other);
                }
            }
            Self::Map(inner) | Self::Atomic(inner) | Self::List(_, inner) => inner.rename(names),
            _ => {}
        }
    }
}

/// Removes duplicate types: the containers and init containers of a custom resource are two types
/// by name and one by content.
struct Twins {
    types: BTreeMap<String, TypeFields>,
    /// From each dropped type to its equal.
    dropped: BTreeMap<String, String>,
}

impl Twins {
    /// Each round unifies types that refer only to equal types.
    fn of(types: &BTreeMap<String, TypeFields>) -> Self {
        let mut types = types.clone();
        let mut dropped = BTreeMap::new();
        loop {
            let mut firsts: HashMap<&TypeFields, &String> = HashMap::new();
            let mut round: BTreeMap<String, String> = BTreeMap::new();
            for (name, fields) in &types {
                let first = *firsts.entry(fields).or_insert(name);
                if first != name {
                    round.insert(name.clone(), first.clone());
                }
            }
            if round.is_empty() {
                return Self { types, dropped };
            }
            types.retain(|name, _| !round.contains_key(name));
            for ty in types.values_mut().flat_map(BTreeMap::values_mut) {
                ty.rename(&round);
            }
            dropped.extend(round);
        }
    }

    /// Its equal may have been dropped in a later round.
    fn resolve<'n>(&'n self, mut name: &'n str) -> &'n str {
        while let Some(other) = self.dropped.get(name) {
            name = other;
        }
        name
    }
}

#[derive(Default)]
struct Arena {
    nodes: Vec<Node>,
    named: HashMap<String, NodeId>,
    shared: HashMap<Node, NodeId>,
}

impl Arena {
    fn named(&self, name: &str) -> Option<NodeId> {
        self.named.get(name).copied()
    }

    fn push(&mut self, node: Node) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        id
    }

    /// Reserves a node for a type before types that refer to it are defined.
    fn reserve(&mut self, name: &str) {
        let id = self.push(Node::Plain);
        self.named.insert(name.to_owned(), id);
    }

    fn define(&mut self, name: &str, fields: &TypeFields) {
        let fields = fields
            .iter()
            .map(|(field, ty)| (field.as_str().into(), self.node_of(ty)))
            .collect();
        let place = self
            .named(name)
            .and_then(|id| self.nodes.get_mut(id.0 as usize));
        if let Some(place) = place {
            *place = Node::Struct(fields);
        }
    }

    fn node_of(&mut self, ty: &Type) -> NodeId {
        let node = match ty {
            Type::Named(name) => match self.named(name) {
                Some(id) => return id,
                None => Node::Plain,
            },
            Type::Plain => Node::Plain,
            Type::Quantity => Node::Quantity,
            Type::Bytes => Node::Bytes,
            Type::IntOrString => Node::IntOrString,
            Type::Atomic(value) => Node::Atomic(self.node_of(value)),
            Type::Map(value) => Node::MapOf(self.node_of(value)),
            Type::List(kind, item) => Node::List {
                kind: kind.clone(),
                item: self.node_of(item),
            },
        };
        if let Some(id) = self.shared.get(&node) {
            return *id;
        }
        let id = self.push(node.clone());
        self.shared.insert(node, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Node, Shape, text};
    use super::Table;

    fn table(text: &str) -> Table {
        text::parse(text).unwrap()
    }

    #[test]
    fn types_without_special_comparison_are_pruned() {
        let all = table(
            "a.Root\n  kept a.Kept\n  empty a.Empty\n  loop a.Loop\n  maps map list a.Empty\n  set set\n\
             a.Kept\n  size quantity\n\
             a.Empty\n  some list\n\
             a.Loop\n  again list a.Loop\n\
             a.Apart\n  size quantity\n",
        );
        let pruned =
            table("a.Root\n  kept a.Kept\n  maps map\n  set set\na.Kept\n  size quantity\n");
        assert_eq!(all.prune(&["a.Root"]), pruned);
    }

    #[test]
    fn a_cycle_with_a_special_type_is_kept() {
        let all = table(
            "a.Props\n  not a.Props\n  properties map a.Props\n  rules set\n  other a.Other\n\
             a.Other\n  props a.Props\n",
        );
        let compiled = all.clone().prune(&["a.Props"]).compile();
        let mut shape = Shape::at(&compiled.schema, compiled.nodes["a.Props"]);
        for _ in 0..100 {
            shape = shape.field("properties").field("any").field("not");
            shape = shape.field("other").field("props");
        }
        assert!(matches!(shape.field("rules").node(), Node::List { .. }));
        assert_eq!(all.clone().prune(&["a.Props"]), all);
    }

    #[test]
    fn twins_share_a_node_however_deep() {
        let compiled = table(
            "a.Root\n  one a.One\n  two a.Two\n\
             a.One\n  inner a.InOne\n  many list map a.InOne\n\
             a.Two\n  inner a.InTwo\n  many list map a.InTwo\n\
             a.InOne\n  size quantity\n\
             a.InTwo\n  size quantity\n",
        )
        .compile();
        let nodes = &compiled.nodes;
        assert_eq!(nodes["a.One"], nodes["a.Two"]);
        assert_eq!(nodes["a.InOne"], nodes["a.InTwo"]);
        assert_eq!(compiled.schema.nodes.len(), 6);
    }

    #[test]
    fn an_undefined_type_is_reported() {
        let table = Table {
            types: table("a.Root\n  one a.Root\n").types,
            ..Table::default()
        };
        assert!(table.check().is_ok());
        let error = text::parse("a.Root\n  one map a.One\n").unwrap_err();
        assert_eq!(error.to_string(), "failed to find the type a.One");
    }
}
