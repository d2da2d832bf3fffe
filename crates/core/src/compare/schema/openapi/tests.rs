use super::super::text;
use super::reduce;
use rstest::rstest;

/// A document of group `test.dev/v1` with the kind `Thing`, whose spec has these properties.
fn document(properties: &str) -> String {
    format!(
        r##"{{
  "openapi": "3.0.0",
  "paths": {{
    "/apis/test.dev/v1/": {{"get": {{}}}},
    "/apis/test.dev/v1/namespaces/{{namespace}}/things": {{
      "post": {{"x-kubernetes-group-version-kind": {{"group": "test.dev", "version": "v1", "kind": "Thing"}}}}
    }},
    "/apis/test.dev/v1/namespaces/{{namespace}}/things/{{name}}": {{
      "put": {{"x-kubernetes-group-version-kind": {{"group": "test.dev", "version": "v1", "kind": "Thing"}}}}
    }},
    "/apis/test.dev/v1/namespaces/{{namespace}}/things/{{name}}/scale": {{
      "put": {{"x-kubernetes-group-version-kind": {{"group": "autoscaling", "version": "v1", "kind": "Scale"}}}}
    }},
    "/apis/test.dev/v1/reviews": {{
      "post": {{"x-kubernetes-group-version-kind": {{"group": "test.dev", "version": "v1", "kind": "Review"}}}}
    }}
  }},
  "components": {{"schemas": {{
    "io.k8s.api.test.v1.Thing": {{
      "type": "object",
      "properties": {{
        "spec": {{"allOf": [{{"$ref": "#/components/schemas/io.k8s.api.test.v1.Spec"}}], "default": {{}}}},
        "status": {{"$ref": "#/components/schemas/io.k8s.api.test.v1.Status"}}
      }},
      "x-kubernetes-group-version-kind": [{{"group": "test.dev", "version": "v1", "kind": "Thing"}}]
    }},
    "io.k8s.api.test.v1.Review": {{
      "x-kubernetes-group-version-kind": [{{"group": "test.dev", "version": "v1", "kind": "Review"}}]
    }},
    "io.k8s.api.test.v1.Scale": {{
      "x-kubernetes-group-version-kind": [{{"group": "autoscaling", "version": "v1", "kind": "Scale"}}]
    }},
    "io.k8s.api.test.v1.Status": {{"properties": {{
      "conditions": {{"type": "array", "items": {{}}, "x-kubernetes-list-type": "set"}}
    }}}},
    "io.k8s.api.test.v1.Port": {{"required": ["port"], "properties": {{
      "port": {{"type": "integer", "default": 0}},
      "protocol": {{"type": "string", "default": "TCP"}},
      "family": {{"type": "string"}}
    }}}},
    "io.k8s.api.test.v1.Amount": {{"properties": {{
      "size": {{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"}}
    }}}},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {{"oneOf": [{{"type": "string"}}, {{"type": "number"}}]}},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {{"format": "int-or-string"}},
    "io.k8s.api.test.v1.Spec": {{"properties": {{{properties}}}}}
  }}}}
}}"##
    )
}

const PORTS: &str = r##""type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.test.v1.Port"}], "default": {}}"##;

/// The type of the only property, `at`, in the table.
fn reduced(property: &str) -> String {
    let table = reduce([document(&format!(r#""at": {{{property}}}"#))]).unwrap();
    let printed = text::print(&table);
    printed
        .lines()
        .find_map(|line| line.strip_prefix("  at "))
        .unwrap_or_default()
        .to_owned()
}

#[rstest]
#[case::map_keys(
    r#""x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"]"#,
    "keyed(port)"
)]
#[case::defaults(
    r#""x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol", "family", "other"]"#,
    "keyed(port,protocol=\"TCP\",family,other)"
)]
#[case::apply_keys_before_merge_key(
    r#""x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
       "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "port""#,
    "keyed(port,protocol=\"TCP\")"
)]
#[case::merge_key_beside_atomic(
    r#""x-kubernetes-list-type": "atomic",
       "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "port""#,
    "keyed(port)"
)]
#[case::merge_key_alone(
    r#""x-kubernetes-patch-strategy": "merge,retainKeys", "x-kubernetes-patch-merge-key": "port""#,
    "keyed(port)"
)]
#[case::merge_without_key(r#""x-kubernetes-patch-strategy": "merge""#, "set")]
#[case::set(r#""x-kubernetes-list-type": "set""#, "set")]
#[case::set_that_merges(
    r#""x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge""#,
    "set"
)]
#[case::replaced(
    r#""x-kubernetes-patch-strategy": "replace", "x-kubernetes-patch-merge-key": "port""#,
    ""
)]
#[case::atomic(r#""x-kubernetes-list-type": "atomic""#, "")]
#[case::unsaid(r#""description": "ports""#, "")]
fn lists(#[case] extensions: &str, #[case] expected: &str) {
    assert_eq!(reduced(&format!("{PORTS}, {extensions}")), expected);
}

const AMOUNT: &str = r##""$ref": "#/components/schemas/io.k8s.api.test.v1.Amount""##;
const QUANTITY: &str =
    r##""$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity""##;

#[rstest]
#[case::quantity(QUANTITY.to_owned(), "quantity")]
#[case::quantities(format!(r#""additionalProperties": {{{QUANTITY}}}"#), "map quantity")]
#[case::named(AMOUNT.to_owned(), "test.v1.Amount")]
#[case::atomic_list_of_something(format!(r#""items": {{{AMOUNT}}}"#), "list test.v1.Amount")]
#[case::bytes(r#""type": "string", "format": "byte""#.to_owned(), "bytes")]
#[case::maps_of_maps(
    r#""additionalProperties": {"additionalProperties": {"format": "byte"}}"#.to_owned(),
    "map map bytes"
)]
#[case::in_place(
    format!(r#""items": {{"properties": {{"in": {{{QUANTITY}}}}}}}"#),
    "list test.v1.Spec.at[]"
)]
#[case::int_or_string(r##""$ref": "#/components/schemas/io.k8s.apimachinery.pkg.util.intstr.IntOrString""##.to_owned(), "")]
#[case::any_map(r#""additionalProperties": true"#.to_owned(), "")]
#[case::text(r#""type": "string""#.to_owned(), "")]
fn values(#[case] property: String, #[case] expected: &str) {
    assert_eq!(reduced(&property), expected);
}

#[test]
fn only_what_can_be_updated_is_a_kind_and_status_is_left_out() {
    let table = reduce([document(r#""at": {"format": "byte"}"#)]).unwrap();
    assert_eq!(
        text::print(&table).lines().skip(2).collect::<Vec<_>>(),
        [
            "kind test.dev/v1 Thing Namespaced test.v1.Thing",
            "test.v1.Spec",
            "  at bytes",
            "test.v1.Thing",
            "  spec test.v1.Spec",
        ]
    );
}

#[test]
fn documents_that_share_types_are_one_table() {
    let one = document(r#""at": {"format": "byte"}"#);
    let cluster = one
        .replace("test.dev", "other.dev")
        .replace("/namespaces/{namespace}", "");
    let table = reduce([&one, &cluster]).unwrap();
    let kinds: Vec<_> = table.kinds.keys().map(|name| name.group.as_str()).collect();
    assert_eq!(kinds, ["other.dev", "test.dev"]);
    assert_eq!(table, reduce([&cluster, &one]).unwrap());
}

#[rstest]
#[case::two_definitions(
    vec![document(r#""at": {"format": "byte"}"#), document("")],
    "failed to merge types: test.v1.Spec has two definitions"
)]
#[case::undefined(
    vec![document(r##""at": {"$ref": "#/components/schemas/io.k8s.api.test.v1.None"}"##)],
    "failed to find the type test.v1.None"
)]
#[case::not_json(vec!["{".to_owned()], "failed to read an OpenAPI v3 document")]
fn fails(#[case] documents: Vec<String>, #[case] message: &str) {
    assert_eq!(reduce(documents).unwrap_err().to_string(), message);
}
