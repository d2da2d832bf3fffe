//! JSON schemas as Kubernetes writes them, reduced to what a [`Table`](super::table::Table) holds.
//!
//! The only reader of the `x-kubernetes-` extensions, for [`super::openapi`] and [`super::crd`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::table::{Type, TypeFields};
use super::{ListKind, MergeKey, order};

/// The parts of a schema that matter; everything else is skipped while reading.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct JsonSchema {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    all_of: Vec<JsonSchema>,
    format: Option<String>,
    pattern: Option<String>,
    default: Option<Value>,
    required: Vec<String>,
    properties: BTreeMap<String, JsonSchema>,
    additional_properties: Option<SchemaOrBool>,
    items: Option<Box<JsonSchema>>,
    #[serde(rename = "x-kubernetes-list-type")]
    list_type: Option<String>,
    #[serde(rename = "x-kubernetes-list-map-keys")]
    list_map_keys: Vec<String>,
    #[serde(rename = "x-kubernetes-map-type")]
    map_type: Option<String>,
    #[serde(rename = "x-kubernetes-int-or-string")]
    int_or_string: bool,
    #[serde(rename = "x-kubernetes-patch-strategy")]
    patch_strategy: Option<String>,
    #[serde(rename = "x-kubernetes-patch-merge-key")]
    patch_merge_key: Option<String>,
    #[serde(rename = "x-kubernetes-embedded-resource")]
    embedded_resource: bool,
    #[serde(rename = "x-kubernetes-group-version-kind")]
    pub(super) kinds: Vec<GroupVersionKind>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum SchemaOrBool {
    Schema(Box<JsonSchema>),
    Bool(#[expect(dead_code, reason = "no schema, so nothing is known")] bool),
}

/// The kinds that have this type.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct GroupVersionKind {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}

/// The type of `metadata` in every whole object.
pub(super) const OBJECT_META: &str = "meta.v1.ObjectMeta";

/// The pattern that controller-gen generates for a `resource.Quantity`, up to the suffixes.
const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(";

/// Gathers types from schemas. Inline objects become types of their own, named by their place.
#[derive(Default)]
pub(super) struct Reduction {
    pub(super) types: BTreeMap<String, TypeFields>,
}

/// The referenced schemas, by full name.
pub(super) type Definitions = BTreeMap<String, JsonSchema>;

impl Reduction {
    /// Reduces an object type to `types[name]`.
    pub(super) fn define(&mut self, name: &str, schema: &JsonSchema, definitions: &Definitions) {
        let mut fields = TypeFields::new();
        for (field, schema) in &schema.properties {
            let ty = match self.reduce(&format!("{name}.{field}"), schema, definitions) {
                Type::List(ListKind::Keyed(keys), item) => {
                    Type::List(order::keyed(name, field, keys), item)
                }
                ty => ty,
            };
            fields.insert(field.clone(), ty);
        }
        if schema.embedded_resource {
            fields.insert("metadata".to_owned(), Type::Named(OBJECT_META.to_owned()));
        }
        self.types.insert(name.to_owned(), fields);
    }

    /// The type of the schema at `name`.
    fn reduce(&mut self, name: &str, schema: &JsonSchema, definitions: &Definitions) -> Type {
        let ty = self.reduce_value(name, schema, definitions);
        if schema.is_atomic_map(definitions) {
            Type::Atomic(Box::new(ty))
        } else {
            ty
        }
    }

    fn reduce_value(&mut self, name: &str, schema: &JsonSchema, definitions: &Definitions) -> Type {
        if let Some(reference) = schema.reference() {
            return match reference {
                _ if reference.ends_with(".api.resource.Quantity") => Type::Quantity,
                _ => Type::Named(short_name(reference).to_owned()),
            };
        }
        if schema.format.as_deref() == Some("byte") {
            return Type::Bytes;
        }
        if schema.is_quantity() {
            return Type::Quantity;
        }
        if schema.int_or_string {
            return Type::IntOrString;
        }
        if let Some(items) = &schema.items {
            let kind = list_kind(schema, items.resolve(definitions));
            let item = self.reduce(&format!("{name}[]"), items, definitions);
            return Type::List(kind, Box::new(item));
        }
        if !schema.properties.is_empty() || schema.embedded_resource {
            let name = self.free_name(name);
            self.define(&name, schema, definitions);
            return Type::Named(name);
        }
        if let Some(SchemaOrBool::Schema(values)) = &schema.additional_properties {
            let value = self.reduce(&format!("{name}{{}}"), values, definitions);
            return Type::Map(Box::new(value));
        }
        Type::Plain
    }

    /// Two places have the same name if a field's own name contains a dot.
    fn free_name(&self, name: &str) -> String {
        let mut name = name.to_owned();
        while self.types.contains_key(&name) {
            name.push('\'');
        }
        name
    }
}

impl JsonSchema {
    /// The full name of the referenced definition; with a default, the reference is in `allOf`.
    fn reference(&self) -> Option<&str> {
        let reference = match (&self.reference, self.all_of.as_slice()) {
            (Some(reference), _) => reference,
            (None, [one]) => one.reference.as_ref()?,
            _ => return None,
        };
        reference.strip_prefix("#/components/schemas/")
    }

    fn resolve<'s>(&'s self, definitions: &'s Definitions) -> &'s Self {
        self.reference()
            .and_then(|name| definitions.get(name))
            .unwrap_or(self)
    }

    /// A field may override its type: a volume's `claimRef` is granular.
    fn is_atomic_map(&self, definitions: &Definitions) -> bool {
        let map_type = self.map_type.as_ref();
        let map_type = map_type.or_else(|| self.resolve(definitions).map_type.as_ref());
        map_type.is_some_and(|map_type| map_type == "atomic")
    }

    /// controller-gen writes the pattern next to the type; a value validation in `allOf` or `anyOf`
    /// never has it.
    fn is_quantity(&self) -> bool {
        self.pattern
            .as_deref()
            .is_some_and(|pattern| pattern.starts_with(QUANTITY_PATTERN))
    }
}

/// `io.k8s.api.core.v1.PodSpec` is `core.v1.PodSpec`.
pub(super) fn short_name(full: &str) -> &str {
    full.rmatch_indices('.')
        .nth(2)
        .and_then(|(dot, _)| full.get(dot + 1..))
        .unwrap_or(full)
}

/// Server-side apply and strategic merge may disagree on a list. Items match if one of the two
/// matches them. The keys of server-side apply are more specific (`containerPort` *and* `protocol`)
/// and take precedence: what either Helm leaves alone then counts as unchanged.
fn list_kind(list: &JsonSchema, item: &JsonSchema) -> ListKind {
    let merges = list
        .patch_strategy
        .as_deref()
        .is_some_and(|strategy| strategy.split(',').any(|word| word == "merge"));
    let keys: &[String] = match (list.list_type.as_deref(), &list.patch_merge_key) {
        (Some("map"), _) => &list.list_map_keys,
        (_, Some(key)) if merges => std::slice::from_ref(key),
        _ => &[],
    };
    if !keys.is_empty() {
        ListKind::Keyed(keys.iter().map(|key| merge_key(key, item)).collect())
    } else if merges || list.list_type.as_deref() == Some("set") {
        ListKind::Set
    } else {
        ListKind::Atomic
    }
}

/// The default of a required field is the zero value of its Go type: no item ever lacks the field.
fn merge_key(key: &str, item: &JsonSchema) -> MergeKey {
    let default = item
        .properties
        .get(key)
        .filter(|_| !item.required.iter().any(|required| required == key))
        .and_then(|field| field.default.as_ref())
        .map(|default| default.to_string().into());
    MergeKey {
        field: key.into(),
        default,
    }
}
