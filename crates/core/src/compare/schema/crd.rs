//! A custom resource's types, from its `CustomResourceDefinition`.
//!
//! Only list types, merge keys, quantities and base64 stay: a CRD of some hundred kilobytes becomes
//! a few dozen nodes. All versions are in one arena, so equal versions share their nodes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::json::{Definitions, JsonSchema, OBJECT_META, Reduction};
use super::table::{Table, Type, TypeFields};
use super::{ListKind, MergeKey, NodeId, ResourceScope, Schema, SchemaError, Shape};

/// What the comparison needs to know about a custom resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrdShape {
    /// The API group.
    pub group: String,
    /// As in `kind` of its objects.
    pub kind: String,
    /// The resource, as in a path.
    pub plural: String,
    /// Whether it lives in a namespace.
    pub scope: ResourceScope,
    /// How one version is converted to another.
    pub conversion: Conversion,
    /// All versions, in the order of the CRD.
    pub versions: Vec<CrdVersion>,
    schema: Schema,
}

/// `spec.conversion.strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Conversion {
    /// Only `apiVersion` changes: a field is at the same path in every version.
    #[default]
    None,
    /// A webhook converts: one version says nothing about another.
    Webhook,
}

/// One version of a custom resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrdVersion {
    /// Its name, such as `v1alpha1`.
    pub name: String,
    /// Whether the API server serves it.
    pub served: bool,
    /// The path of the replicas in the `scale` subresource, such as `.spec.replicas`; `None` if
    /// this version has no such subresource.
    pub spec_replicas_path: Option<String>,
    root: Option<NodeId>,
}

impl CrdShape {
    /// Reduces a CRD, `apiextensions.k8s.io/v1`, from its JSON text.
    pub fn from_json(definition: &str) -> Result<Self, SchemaError> {
        let Definition { spec } =
            serde_json::from_str(definition).map_err(|source| SchemaError::Json {
                what: "a CustomResourceDefinition".to_owned(),
                source,
            })?;
        let roots: Vec<&str> = spec.versions.iter().map(|v| v.name.as_str()).collect();
        let table = Table {
            types: types(&spec.versions),
            kinds: BTreeMap::new(),
        };
        let compiled = table.prune(&roots).compile();
        let versions = spec
            .versions
            .into_iter()
            .map(|version| CrdVersion {
                root: compiled.nodes.get(&version.name).copied(),
                served: version.served,
                spec_replicas_path: version.subresources.scale.map(|s| s.spec_replicas_path),
                name: version.name,
            })
            .collect();
        Ok(Self {
            group: spec.group,
            kind: spec.names.kind,
            plural: spec.names.plural,
            scope: spec.scope.into(),
            conversion: spec.conversion.strategy,
            versions,
            schema: compiled.schema,
        })
    }

    /// The shape of the objects of a version; `None` if there is no such version.
    pub fn shape(&self, version: &str) -> Option<Shape<'_>> {
        let version = self.versions.iter().find(|v| v.name == version)?;
        Some(
            version
                .root
                .map_or_else(Shape::plain, |root| Shape::at(&self.schema, root)),
        )
    }
}

#[derive(Deserialize)]
struct Definition {
    spec: CrdSpec,
}

#[derive(Deserialize)]
struct CrdSpec {
    group: String,
    names: CrdNames,
    scope: ScopeName,
    #[serde(default)]
    conversion: ConversionSpec,
    versions: Vec<CrdVersionSpec>,
}

#[derive(Deserialize)]
struct CrdNames {
    kind: String,
    plural: String,
}

#[derive(Deserialize)]
enum ScopeName {
    Namespaced,
    Cluster,
}

impl From<ScopeName> for ResourceScope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Namespaced => Self::Namespaced,
            ScopeName::Cluster => Self::Cluster,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConversionSpec {
    strategy: Conversion,
}

#[derive(Deserialize)]
struct CrdVersionSpec {
    name: String,
    served: bool,
    #[serde(default)]
    schema: Validation,
    #[serde(default)]
    subresources: Subresources,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Validation {
    #[serde(rename = "openAPIV3Schema")]
    root: JsonSchema,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Subresources {
    status: Option<serde::de::IgnoredAny>,
    scale: Option<Scale>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scale {
    spec_replicas_path: String,
}

/// The types of all versions; the root of each has the version's name.
fn types(versions: &[CrdVersionSpec]) -> BTreeMap<String, TypeFields> {
    // A structural schema has no references.
    let definitions = Definitions::new();
    let mut reduction = Reduction::default();
    for version in versions {
        reduction.define(&version.name, &version.schema.root, &definitions);
        if let Some(fields) = reduction.types.get_mut(&version.name) {
            fields.insert("metadata".to_owned(), Type::Named(OBJECT_META.to_owned()));
            // Without the subresource, the status is written like any other field.
            if version.subresources.status.is_some() {
                fields.remove("status");
            }
        }
    }
    reduction
        .types
        .insert(OBJECT_META.to_owned(), object_meta());
    reduction.types
}

/// The API server serves `metadata` as its own type, whatever a CRD says about it.
fn object_meta() -> TypeFields {
    let list = |kind| Type::List(kind, Box::new(Type::Plain));
    let map = || Type::Map(Box::new(Type::Plain));
    let uid = MergeKey {
        field: "uid".into(),
        default: None,
    };
    TypeFields::from([
        ("annotations".to_owned(), map()),
        ("finalizers".to_owned(), list(ListKind::Set)),
        ("labels".to_owned(), map()),
        (
            "ownerReferences".to_owned(),
            list(ListKind::Keyed(vec![uid])),
        ),
    ])
}

#[cfg(test)]
mod tests;
