use serde_json::{Value, json};

use super::super::{ListKind, Node, ResourceScope, Shape, builtin};
use super::{Conversion, CrdShape};
use rstest::rstest;

fn version(name: &str, spec: &Value) -> Value {
    json!({
        "name": name,
        "served": true,
        "storage": false,
        "schema": {"openAPIV3Schema": {
            "type": "object",
            "description": "A thing.",
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object"},
                "spec": {"type": "object", "properties": spec},
                "status": {"type": "object", "properties": {
                    "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}
                }}
            }
        }},
        "subresources": {"status": {}}
    })
}

fn definition(versions: &[Value]) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.test.dev"},
        "spec": {
            "group": "test.dev",
            "names": {"kind": "Thing", "plural": "things", "listKind": "ThingList"},
            "scope": "Namespaced",
            "versions": versions
        }
    })
}

fn reduced(definition: &Value) -> CrdShape {
    CrdShape::from_json(&definition.to_string()).unwrap()
}

fn with_spec(spec: &Value) -> CrdShape {
    reduced(&definition(&[version("v1", spec)]))
}

/// The shape at a path such as `spec.rules[].ports`.
fn at<'s>(crd: &'s CrdShape, version: &str, path: &str) -> Shape<'s> {
    let root = crd.shape(version).unwrap();
    path.split('.').fold(root, |at, step| {
        let field = at.field(step.trim_end_matches("[]"));
        (0..step.matches("[]").count()).fold(field, |at, _| at.item())
    })
}

fn show(shape: Shape<'_>) -> String {
    match shape.node() {
        Node::List {
            kind: ListKind::Keyed(keys),
            ..
        } => {
            let keys = keys.iter().map(|key| match &key.default {
                None => key.field.to_string(),
                Some(default) => format!("{}={default}", key.field),
            });
            keys.collect::<Vec<_>>().join(",")
        }
        Node::List { kind, .. } => format!("{kind:?}"),
        Node::Struct(_) => "Struct".to_owned(),
        other => format!("{other:?}"),
    }
}

const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

#[rstest]
#[case::keyed(
    json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}),
    "name"
)]
#[case::keyed_with_default(
    json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol", "name"],
        "items": {"type": "object", "properties": {
            "port": {"type": "integer"},
            "protocol": {"type": "string", "default": "TCP"},
            "name": {"type": "string"}}}}),
    "port,protocol=\"TCP\",name"
)]
#[case::set(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}), "Set")]
#[case::atomic(json!({"type": "array", "x-kubernetes-list-type": "atomic", "items": {"type": "string"}}), "Plain")]
#[case::unsaid(json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}), "Plain")]
#[case::atomic_with_amounts_inside(
    json!({"type": "array", "items": {"x-kubernetes-int-or-string": true, "pattern": QUANTITY}}),
    "Atomic"
)]
#[case::quantity(
    json!({"anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": QUANTITY, "x-kubernetes-int-or-string": true}),
    "Quantity"
)]
#[case::quantity_as_string(json!({"type": "string", "pattern": QUANTITY}), "Quantity")]
#[case::int_or_string(
    json!({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true}),
    "IntOrString"
)]
#[case::another_pattern(json!({"type": "string", "pattern": "^[0-9]+(s|m|h)$"}), "Plain")]
#[case::bytes(json!({"type": "string", "format": "byte"}), "Bytes")]
#[case::anything(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}), "Plain")]
#[case::known_beside_unknown(
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"ca": {"type": "string", "format": "byte"}}}),
    "Struct"
)]
#[case::any_map(json!({"type": "object", "additionalProperties": true}), "Plain")]
fn fields(#[case] schema: Value, #[case] expected: &str) {
    let crd = with_spec(&json!({"at": schema}));
    assert_eq!(show(at(&crd, "v1", "spec.at")), expected);
}

#[test]
fn keyed_lists_nest() {
    let crd = with_spec(&json!({"groups": {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "properties": {
            "name": {"type": "string"},
            "limits": {"type": "object", "additionalProperties": {"type": "string", "pattern": QUANTITY}},
            "rules": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "properties": {
                    "id": {"type": "integer", "default": 0},
                    "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}
                }}
            }
        }}
    }}));
    let show = |path| show(at(&crd, "v1", path));
    assert_eq!(show("spec.groups"), "name");
    assert_eq!(show("spec.groups[].limits.cpu"), "Quantity");
    assert_eq!(show("spec.groups[].rules"), "id=0");
    assert_eq!(show("spec.groups[].rules[].tags"), "Set");
    assert_eq!(show("spec.groups[].name"), "Plain");
}

#[test]
fn metadata_is_that_of_every_object() {
    let template = json!({
        "type": "object",
        "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true
    });
    let crd = with_spec(&json!({"template": template}));
    let config_map = builtin::builtin().lookup("", "v1", "ConfigMap").unwrap();
    for field in ["finalizers", "ownerReferences", "labels"] {
        // Two arenas number the node of a map's values differently.
        let sort = |shown: String| shown.split('(').next().map(str::to_owned);
        let expected = sort(show(config_map.field("metadata").field(field)));
        for metadata in ["metadata", "spec.template.metadata"] {
            let path = format!("{metadata}.{field}");
            assert_eq!(sort(show(at(&crd, "v1", &path))), expected, "{path}");
        }
    }
}

#[test]
fn a_field_with_a_dot_is_not_a_path() {
    let bytes = json!({"type": "string", "format": "byte"});
    let set =
        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
    let object = |at: &Value| json!({"type": "object", "properties": {"at": at}});
    let crd = with_spec(&json!({
        "a": {"type": "object", "properties": {"b": object(&bytes)}},
        "a.b": object(&set)
    }));
    let spec = crd.shape("v1").unwrap().field("spec");
    assert_eq!(show(spec.field("a").field("b").field("at")), "Bytes");
    assert_eq!(show(spec.field("a.b").field("at")), "Set");
}

#[test]
fn status_counts_only_where_it_is_no_subresource() {
    let mut plain = version("v2", &json!({}));
    plain["subresources"] = json!({});
    let crd = reduced(&definition(&[version("v1", &json!({})), plain]));
    assert_eq!(show(at(&crd, "v1", "status.tags")), "Plain");
    assert_eq!(show(at(&crd, "v2", "status.tags")), "Set");
}

#[test]
fn every_version_has_its_own_shape_and_like_versions_share_one() {
    let set =
        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
    let tags = json!({"tags": set, "old": set});
    let mut unserved = version("v1alpha1", &json!({"tags": {"type": "array", "items": {}}}));
    unserved["served"] = json!(false);
    let crd = reduced(&definition(&[
        unserved,
        version("v1beta1", &tags),
        version("v1", &tags),
    ]));

    assert_eq!(show(at(&crd, "v1alpha1", "spec.tags")), "Plain");
    assert_eq!(show(at(&crd, "v1beta1", "spec.tags")), "Set");
    assert_eq!(show(at(&crd, "v1", "spec.old")), "Set");
    assert!(crd.shape("v2").is_none());
    let served: Vec<_> = crd
        .versions
        .iter()
        .map(|v| (v.name.as_str(), v.served))
        .collect();
    assert_eq!(
        served,
        [("v1alpha1", false), ("v1beta1", true), ("v1", true)]
    );
    assert_eq!(crd.versions[1].root, crd.versions[2].root);
    assert_ne!(crd.versions[0].root, crd.versions[1].root);
}

#[test]
fn a_version_without_a_schema_still_has_metadata() {
    let crd = reduced(&definition(&[
        json!({"name": "v1", "served": true, "storage": true}),
    ]));
    assert_eq!(show(at(&crd, "v1", "metadata.finalizers")), "Set");
    assert_eq!(show(at(&crd, "v1", "spec.any")), "Plain");
}

#[test]
fn the_definition_names_the_resource() {
    let mut definition = definition(&[version("v1", &json!({}))]);
    let crd = reduced(&definition);
    assert_eq!(crd.group, "test.dev");
    assert_eq!(crd.kind, "Thing");
    assert_eq!(crd.plural, "things");
    assert_eq!(crd.scope, ResourceScope::Namespaced);
    assert_eq!(crd.conversion, Conversion::None);
    assert_eq!(crd.versions[0].spec_replicas_path, None);

    definition["spec"]["scope"] = json!("Cluster");
    definition["spec"]["conversion"] =
        json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"]}});
    definition["spec"]["versions"][0]["subresources"]["scale"] =
        json!({"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"});
    let crd = reduced(&definition);
    assert_eq!(crd.scope, ResourceScope::Cluster);
    assert_eq!(crd.conversion, Conversion::Webhook);
    assert_eq!(
        crd.versions[0].spec_replicas_path.as_deref(),
        Some(".spec.size")
    );
}

#[rstest]
#[case::not_json("{")]
#[case::another_kind(r#"{"kind": "ConfigMap", "data": {}}"#)]
#[case::another_scope(&definition(&[]).to_string().replace("Namespaced", "Galactic"))]
#[case::a_schema_that_is_none(
    &definition(&[json!({"name": "v1", "served": true, "schema": {"openAPIV3Schema": {"properties": 1}}})]).to_string()
)]
fn an_invalid_crd_is_an_error(#[case] text: &str) {
    let error = CrdShape::from_json(text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to read a CustomResourceDefinition"
    );
}

#[test]
fn a_schema_of_any_depth_is_read_or_rejected() {
    let mut schema = json!({"type": "string", "format": "byte"});
    for _ in 0..200 {
        schema = json!({"type": "object", "properties": {"in": schema}});
    }
    let definition = definition(&[version("v1", &json!({"at": schema}))]);
    assert!(CrdShape::from_json(&definition.to_string()).is_err());
}

#[rstest]
#[case::a_map(
    json!({"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}}),
    true
)]
#[case::an_object(
    json!({"type": "object", "x-kubernetes-map-type": "atomic", "properties": {
        "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}}}),
    true
)]
#[case::anything(
    json!({"type": "object", "x-kubernetes-map-type": "atomic", "x-kubernetes-preserve-unknown-fields": true}),
    true
)]
#[case::granular(
    json!({"type": "object", "x-kubernetes-map-type": "granular", "additionalProperties": {"type": "string"}}),
    false
)]
#[case::unsaid(json!({"type": "object", "additionalProperties": {"type": "string"}}), false)]
fn an_object_is_one_value_where_its_definition_says_so(
    #[case] schema: Value,
    #[case] expected: bool,
) {
    let crd = with_spec(&json!({"at": schema, "list": {"type": "array", "items": schema}}));
    assert_eq!(at(&crd, "v1", "spec.at").is_atomic(), expected);
    assert_eq!(at(&crd, "v1", "spec.list[]").is_atomic(), expected);
}

#[test]
fn the_lists_of_a_pod_spec_in_a_custom_resource_are_those_of_a_pod() {
    let by_name = json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "properties": {"name": {"type": "string"}}},
    });
    let crd = with_spec(&json!({"initContainers": by_name, "env": by_name, "containers": by_name}));
    let kind = |field: &str| show(at(&crd, "v1", &format!("spec.{field}")));
    assert!(kind("initContainers").starts_with("Sequence"));
    assert!(kind("env").starts_with("Variables"));
    assert_eq!(kind("containers"), "name");
}
