//! What is known about the built-in kinds of Kubernetes, without a cluster.
//!
//! The knowledge is `builtin.txt`, generated from the OpenAPI documents of one Kubernetes release.
//! It serves clusters of other releases too: the list types of a served version do not change, and
//! a field that this release does not have is [`Node::Plain`](super::Node::Plain).

use std::sync::LazyLock;

use super::table::Table;
use super::{NodeId, ResourceScope, Schema, Shape, text};

static BUILTIN: LazyLock<Builtin> =
    // The text is part of the program and a test parses it: the empty table is never used.
    LazyLock::new(|| Builtin::new(&text::parse(TEXT).unwrap_or_default()));

/// The generated table; a test compares it with a live API server.
pub const TEXT: &str = include_str!("builtin.txt");

/// The built-in kinds.
pub fn builtin() -> &'static Builtin {
    &BUILTIN
}

/// Kinds and their types; from [`builtin`].
pub struct Builtin {
    schema: Schema,
    /// Sorted by group, kind, version.
    kinds: Vec<BuiltinKind>,
}

struct BuiltinKind {
    group: Box<str>,
    kind: Box<str>,
    version: Box<str>,
    scope: ResourceScope,
    node: Option<NodeId>,
}

impl Builtin {
    fn new(table: &Table) -> Self {
        let compiled = table.compile();
        let mut kinds: Vec<BuiltinKind> = table
            .kinds
            .iter()
            .map(|(name, kind)| BuiltinKind {
                group: name.group.as_str().into(),
                kind: name.kind.as_str().into(),
                version: name.version.as_str().into(),
                scope: kind.scope,
                node: compiled.nodes.get(&kind.ty).copied(),
            })
            .collect();
        kinds.sort_by(|a, b| (&a.group, &a.kind, &a.version).cmp(&(&b.group, &b.kind, &b.version)));
        Self {
            schema: compiled.schema,
            kinds,
        }
    }

    /// The shape of a kind's objects in a version; the core group is empty. `None` if Kubernetes
    /// has no such kind, or the table's release does not have this version of it.
    pub fn lookup(&self, group: &str, version: &str, kind: &str) -> Option<Shape<'_>> {
        let entry = self
            .versions(group, kind)
            .iter()
            .find(|entry| &*entry.version == version)?;
        Some(
            entry
                .node
                .map_or_else(Shape::plain, |node| Shape::at(&self.schema, node)),
        )
    }

    /// Whether a kind lives in a namespace, in any version.
    pub fn scope(&self, group: &str, kind: &str) -> Option<ResourceScope> {
        let entry = self.versions(group, kind).first()?;
        Some(entry.scope)
    }

    /// Whether Kubernetes itself has kinds in this group. The kinds of any other group come from
    /// custom resource definitions or aggregated API servers.
    pub fn knows_group(&self, group: &str) -> bool {
        self.kinds
            .binary_search_by(|entry| {
                // Any entry of the group is enough.
                (*entry.group).cmp(group)
            })
            .is_ok()
    }

    /// The kind of a built-in resource that has a `scale` subresource with the replicas at
    /// `.spec.replicas`: `deployments` of `apps` is `Deployment`.
    pub fn scalable(&self, resource: &str, group: &str) -> Option<&'static str> {
        match (group, resource) {
            ("apps", "deployments") => Some("Deployment"),
            ("apps", "statefulsets") => Some("StatefulSet"),
            ("apps", "replicasets") => Some("ReplicaSet"),
            ("", "replicationcontrollers") => Some("ReplicationController"),
            _ => None,
        }
    }

    fn versions(&self, group: &str, kind: &str) -> &[BuiltinKind] {
        let from = |at: &BuiltinKind| (&*at.group, &*at.kind) < (group, kind);
        let to = |at: &BuiltinKind| (&*at.group, &*at.kind) <= (group, kind);
        let start = self.kinds.partition_point(from);
        let end = self.kinds.partition_point(to);
        self.kinds.get(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
