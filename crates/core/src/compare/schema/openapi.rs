//! Kubernetes' own types, from the OpenAPI v3 documents that an API server serves under
//! `/openapi/v3`, one for each group version.
//!
//! This makes the table that [`super::builtin`] reads; at run time no OpenAPI document is fetched.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::json::{Definitions, GroupVersionKind, Reduction, short_name};
use super::table::{KindInVersion, KindName, Table, Type, TypeFields};
use super::{ListKind, ResourceScope, SchemaError};

#[derive(Deserialize)]
struct OpenApiDocument {
    #[serde(default)]
    components: Components,
    #[serde(default)]
    paths: BTreeMap<String, Path>,
}

#[derive(Default, Deserialize)]
struct Components {
    #[serde(default)]
    schemas: Definitions,
}

#[derive(Deserialize)]
struct Path {
    put: Option<Operation>,
}

#[derive(Deserialize)]
struct Operation {
    #[serde(rename = "x-kubernetes-group-version-kind")]
    kind: Option<GroupVersionKind>,
}

/// Lists whose order is irrelevant, which no extension declares: the API server moves the metrics
/// of a `HorizontalPodAutoscaler` when it converts between versions.
const UNORDERED: [(&str, &str); 1] = [("autoscaling.v2.HorizontalPodAutoscalerSpec", "metrics")];

/// The table of all kinds in these documents (JSON texts) whose objects can be updated.
///
/// Without reviews, bindings and other kinds that are only created, and without lists and the kinds
/// of subresources. Fails on a document that is not OpenAPI v3, on documents that define a type
/// differently, and on types that are used but not defined.
pub fn reduce<D: AsRef<str>>(documents: impl IntoIterator<Item = D>) -> Result<Table, SchemaError> {
    let mut table = Table::default();
    for document in documents {
        let document: OpenApiDocument =
            serde_json::from_str(document.as_ref()).map_err(|source| SchemaError::Json {
                what: "an OpenAPI v3 document".to_owned(),
                source,
            })?;
        table.kinds.extend(kinds(&document));
        for (name, fields) in types(&document.components.schemas) {
            match table.types.get(&name) {
                Some(known) if *known != fields => return Err(SchemaError::Conflict { name }),
                Some(_) => {}
                None => {
                    table.types.insert(name, fields);
                }
            }
        }
    }
    table.check()?;

    let roots: Vec<String> = table.kinds.values().map(|kind| kind.ty.clone()).collect();
    for root in &roots {
        if let Some(fields) = table.types.get_mut(root) {
            fields.remove("status");
        }
    }
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    Ok(table.prune(&roots))
}

fn types(definitions: &Definitions) -> BTreeMap<String, TypeFields> {
    let mut reduction = Reduction::default();
    for (name, schema) in definitions {
        reduction.define(short_name(name), schema, definitions);
    }
    for (name, field) in UNORDERED {
        let list = reduction
            .types
            .get_mut(name)
            .and_then(|fields| fields.get_mut(field));
        if let Some(Type::List(kind, _)) = list {
            *kind = ListKind::Unordered;
        }
    }
    reduction.types
}

/// Kinds are those with a PUT path of a single object; the path also has the scope.
fn kinds(document: &OpenApiDocument) -> impl Iterator<Item = (KindName, KindInVersion)> {
    document.paths.iter().filter_map(|(path, operations)| {
        let collection = path.strip_suffix("/{name}")?;
        let gvk = operations.put.as_ref()?.kind.as_ref()?;
        let (full_name, _) = document
            .components
            .schemas
            .iter()
            .find(|(_, schema)| schema.kinds.contains(gvk))?;
        let scope = if collection.contains("/namespaces/{namespace}/") {
            ResourceScope::Namespaced
        } else {
            ResourceScope::Cluster
        };
        let name = KindName {
            group: gvk.group.clone(),
            version: gvk.version.clone(),
            kind: gvk.kind.clone(),
        };
        let ty = short_name(full_name).to_owned();
        Some((name, KindInVersion { scope, ty }))
    })
}

#[cfg(test)]
mod tests;
