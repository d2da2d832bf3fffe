//! Whether a kind has a field at all, by the API server's `OpenAPI` document of its group.
//!
//! No release declares a misspelled path, so without this check explain would call a change of it allowed.

use helm_guard_core::{
    compare::path::{FieldPath, Step},
    text::suggest::nearest,
};
use http::Request;
use kube::Client;
use serde_json::Value;

use crate::cli::resource::KnownResource;

/// Deeper than references of real documents go.
const MAX_REFERENCES: usize = 32;

/// Whether a kind has a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FieldCheck {
    /// It has, or anything may be there.
    Exists,
    /// It has not.
    Missing {
        /// The path of the object that has no such field.
        parent: String,
        /// The field that is missing.
        field: String,
        /// A field of that object with a similar name.
        suggestion: Option<String>,
    },
    /// The document cannot be read.
    Unknown,
}

/// Asks the API server.
pub(super) async fn check(
    client: &Client,
    resource: &KnownResource,
    path: &FieldPath,
) -> FieldCheck {
    let group = match resource.group.as_str() {
        "" => format!("api/{}", resource.version),
        group => format!("apis/{group}/{}", resource.version),
    };
    let Ok(request) = Request::get(format!("/openapi/v3/{group}")).body(Vec::new()) else {
        return FieldCheck::Unknown;
    };
    let Ok(text) = client.request_text(request).await else {
        return FieldCheck::Unknown;
    };
    let Ok(document) = serde_json::from_str::<Value>(&text) else {
        return FieldCheck::Unknown;
    };
    in_document(&document, resource, path)
}

fn in_document(document: &Value, resource: &KnownResource, path: &FieldPath) -> FieldCheck {
    let schemas = document
        .pointer("/components/schemas")
        .and_then(Value::as_object);
    let is_kind = |schema: &&Value| {
        let kinds = schema.get("x-kubernetes-group-version-kind");
        let kinds = kinds.and_then(Value::as_array);
        kinds.into_iter().flatten().any(|kind| {
            let is =
                |field: &str, wanted: &str| kind.get(field).and_then(Value::as_str) == Some(wanted);
            is("group", &resource.group)
                && is("version", &resource.version)
                && is("kind", &resource.kind)
        })
    };
    let Some(mut schema) = schemas.and_then(|schemas| schemas.values().find(is_kind)) else {
        return FieldCheck::Unknown;
    };
    let mut parent = FieldPath::root();
    for step in path.steps() {
        let Some(resolved) = resolve(document, schema) else {
            return FieldCheck::Unknown;
        };
        let next = match step {
            Step::Field(name) => match field(resolved, name) {
                FieldSchema::Schema(next) => next,
                FieldSchema::Anything => return FieldCheck::Exists,
                FieldSchema::Missing => {
                    let known = resolved.get("properties").and_then(Value::as_object);
                    let known = known.into_iter().flat_map(|known| known.keys());
                    let suggestion = nearest(name, known.map(String::as_str));
                    return FieldCheck::Missing {
                        parent: parent.to_string(),
                        field: name.clone(),
                        suggestion: suggestion.map(str::to_owned),
                    };
                }
            },
            Step::Item(_) | Step::Index(_) | Step::Value(_) => match resolved.get("items") {
                Some(items) => items,
                None if is_open(resolved) => return FieldCheck::Exists,
                None => {
                    return FieldCheck::Missing {
                        parent: parent.to_string(),
                        field: "a list item".to_owned(),
                        suggestion: None,
                    };
                }
            },
        };
        schema = next;
        parent = parent.join(step.clone());
    }
    FieldCheck::Exists
}

enum FieldSchema<'s> {
    Schema(&'s Value),
    Anything,
    Missing,
}

fn field<'s>(schema: &'s Value, name: &str) -> FieldSchema<'s> {
    if let Some(found) = schema.get("properties").and_then(|known| known.get(name)) {
        return FieldSchema::Schema(found);
    }
    match schema.get("additionalProperties") {
        Some(Value::Object(_)) => schema
            .get("additionalProperties")
            .map_or(FieldSchema::Anything, FieldSchema::Schema),
        Some(Value::Bool(true)) => FieldSchema::Anything,
        _ if is_open(schema) => FieldSchema::Anything,
        _ => FieldSchema::Missing,
    }
}

/// Whether anything may be in it: what the document does not describe, too.
fn is_open(schema: &Value) -> bool {
    let is_described = ["properties", "additionalProperties", "items"]
        .iter()
        .any(|field| schema.get(field).is_some());
    let has_preserved =
        schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let is_scalar = schema
        .get("type")
        .and_then(Value::as_str)
        .is_some_and(|name| matches!(name, "string" | "integer" | "number" | "boolean"));
    has_preserved || !is_described && !is_scalar
}

/// The schema itself, behind its references.
fn resolve<'d>(document: &'d Value, schema: &'d Value) -> Option<&'d Value> {
    let mut schema = schema;
    for _ in 0..MAX_REFERENCES {
        let reference = schema
            .get("$ref")
            .or_else(|| schema.pointer("/allOf/0/$ref"))
            .and_then(Value::as_str);
        let Some(reference) = reference else {
            return Some(schema);
        };
        schema = document.pointer(reference.strip_prefix('#')?)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({"components": {"schemas": {
            "Deployment": {
                "x-kubernetes-group-version-kind": [{"group": "apps", "version": "v1", "kind": "Deployment"}],
                "properties": {
                    "metadata": {"properties": {"labels": {"additionalProperties": {"type": "string"}}}},
                    "spec": {"allOf": [{"$ref": "#/components/schemas/Spec"}]},
                },
            },
            "Spec": {"properties": {
                "replicas": {"type": "integer"},
                "containers": {"items": {"properties": {"image": {"type": "string"}}}},
                "extra": {"x-kubernetes-preserve-unknown-fields": true},
            }},
        }}})
    }

    #[rstest]
    #[case::field(".spec.replicas", None)]
    #[case::label(".metadata.labels[\"a/b\"]", None)]
    #[case::item(".spec.containers[name=web].image", None)]
    #[case::anything(".spec.extra.more.of.it", None)]
    #[case::misspelled(".spec.replica", Some((".spec", "replica", Some("replicas"))))]
    #[case::in_an_item(".spec.containers[0].img", Some((".spec.containers[0]", "img", Some("image"))))]
    #[case::below_a_number(".spec.replicas.count", Some((".spec.replicas", "count", None)))]
    #[case::item_of_no_list(".spec.replicas[0]", Some((".spec.replicas", "a list item", None)))]
    fn a_field_that_the_kind_does_not_have_is_missing(
        #[case] path: &str,
        #[case] expected: Option<(&str, &str, Option<&str>)>,
    ) {
        let resource = KnownResource::named("apps", "v1", "Deployment");
        let found = in_document(&document(), &resource, &path.parse().unwrap());
        let expected = expected.map_or(FieldCheck::Exists, |(parent, field, suggestion)| {
            FieldCheck::Missing {
                parent: parent.to_owned(),
                field: field.to_owned(),
                suggestion: suggestion.map(str::to_owned),
            }
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn an_unknown_kind_is_not_a_wrong_path() {
        let resource = KnownResource::named("example.com", "v1", "Other");
        let found = in_document(&document(), &resource, &".spec.x".parse().unwrap());
        assert_eq!(found, FieldCheck::Unknown);
    }
}
