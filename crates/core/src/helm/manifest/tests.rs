//! What a manifest declares.

mod bounds;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::yaml::Fault;

fn release() -> ReleaseName {
    ReleaseName {
        namespace: "apps".into(),
        name: "web".into(),
    }
}

fn read(manifest: &str) -> Manifest {
    parse(manifest, &release())
}

/// The only object of a manifest without problems, and its JSON.
fn only(manifest: &str) -> (DeclaredObject, Value) {
    let mut found = read(manifest);
    assert_eq!(found.problems, []);
    let object = found.objects.pop().unwrap();
    assert_eq!(found.objects, []);
    let json = serde_json::from_str(&object.json).unwrap();
    (object, json)
}

fn names(manifest: &Manifest) -> Vec<String> {
    manifest
        .objects
        .iter()
        .map(|object| format!("{}/{}", object.kind, object.name))
        .collect()
}

const TWO: &str = "---
# Source: shop/templates/deploy.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: front
  namespace: elsewhere
spec:
  replicas: 0003
---
# Source: shop/templates/service.yaml
apiVersion: v1
kind: Service
metadata: {name: front}
";

#[test]
fn an_object_is_declared_with_its_identity_and_where_it_stands() {
    let found = read(TWO);
    assert_eq!(found.problems, []);
    let [deployment, service] = &found.objects[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (
            &*deployment.group,
            &*deployment.version,
            &*deployment.kind,
            &*deployment.name
        ),
        ("apps", "v1", "Deployment", "front")
    );
    assert_eq!(deployment.namespace.as_deref(), Some("elsewhere"));
    assert_eq!(
        deployment.source.as_deref(),
        Some("shop/templates/deploy.yaml")
    );
    assert_eq!((&*service.group, &*service.version), ("", "v1"));
    assert_eq!(service.namespace, None);
    assert_eq!((deployment.line, service.line), (2, 11));
}

#[test]
fn the_json_is_compact_sorted_and_owned_by_the_release() {
    let (object, _) =
        only("kind: A\napiVersion: v1\nspec: {b: 010, a: yes}\nmetadata: {name: x}\n");
    assert_eq!(
        &*object.json,
        concat!(
            r#"{"apiVersion":"v1","kind":"A","metadata":{"#,
            r#""annotations":{"meta.helm.sh/release-name":"web","meta.helm.sh/release-namespace":"apps"},"#,
            r#""labels":{"app.kubernetes.io/managed-by":"Helm"},"name":"x"},"spec":{"a":true,"b":8}}"#
        )
    );
}

#[test]
fn ownership_is_forced_over_what_the_chart_says() {
    let (_, json) = only(
        "apiVersion: v1\nkind: A\nmetadata:\n  name: x\n  labels: {app.kubernetes.io/managed-by: me, a: b}\n  annotations: {meta.helm.sh/release-name: other}\n",
    );
    assert_eq!(
        json["metadata"]["labels"],
        json!({"app.kubernetes.io/managed-by": "Helm", "a": "b"})
    );
    assert_eq!(
        json["metadata"]["annotations"]["meta.helm.sh/release-name"],
        "web"
    );
}

#[test]
fn server_owned_metadata_is_not_declared() {
    let (object, json) = only(
        "apiVersion: v1\nkind: A\nmetadata: {name: x, namespace: shop, creationTimestamp: null, uid: u, resourceVersion: '1', generation: 2, managedFields: [], selfLink: s, deletionTimestamp: t, finalizers: [f]}\nstatus: {ready: true}\n",
    );
    assert_eq!(object.namespace.as_deref(), Some("shop"));
    let mut metadata = json["metadata"].as_object().unwrap().clone();
    metadata.retain(|key, _| key != "labels" && key != "annotations");
    assert_eq!(
        Value::Object(metadata),
        json!({"name": "x", "finalizers": ["f"]})
    );
    assert_eq!(json.get("status"), None);
}

#[rstest]
#[case::map_values("spec: {a: ~, b: {c: null, d: 1}}", json!({"b": {"d": 1}}))]
#[case::inside_lists("spec: {a: [{b: null, c: 1}, null]}", json!({"a": [{"c": 1}, null]}))]
#[case::empties_stay("spec: {a: {}, b: [], c: '', d: {e: ~}}", json!({"a": {}, "b": [], "c": "", "d": {}}))]
fn null_fields_are_dropped_and_empty_ones_stay(#[case] spec: &str, #[case] expected: Value) {
    let (_, json) = only(&format!(
        "apiVersion: v1\nkind: A\nmetadata: {{name: x}}\n{spec}\n"
    ));
    assert_eq!(json["spec"], expected);
}

#[rstest]
#[case::folded("stringData: {a: foo}", json!({"a": "Zm9v"}))]
#[case::string_data_wins("data: {a: YmFy, b: YmFy}\nstringData: {a: foo}", json!({"a": "Zm9v", "b": "YmFy"}))]
#[case::null_is_empty("data: {a: null}\nstringData: {b: null}", json!({"a": "", "b": ""}))]
#[case::over_a_null_map("data: null\nstringData: {a: foo}", json!({"a": "Zm9v"}))]
#[case::nothing_to_fold("stringData: {}", Value::Null)]
fn string_data_of_a_secret_is_merged_into_data(#[case] body: &str, #[case] expected: Value) {
    let (_, json) = only(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: x}}\n{body}\n"
    ));
    assert_eq!(json.get("data").cloned().unwrap_or_default(), expected);
    assert_eq!(json.get("stringData"), None);
}

#[test]
fn only_core_secrets_have_string_data() {
    let (_, json) = only(
        "apiVersion: example.com/v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: foo}\n",
    );
    assert_eq!(json["stringData"], json!({"a": "foo"}));
}

#[test]
fn a_null_in_a_config_map_is_an_empty_value() {
    let (_, json) =
        only("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: , b: c}\n");
    assert_eq!(json["data"], json!({"a": "", "b": "c"}));
}

/// Go decodes a null into the zero value of a map's values.
#[rstest]
#[case::labels("metadata: {name: x, labels: {a: , b: c}}", "/metadata/labels/a")]
#[case::annotations("metadata: {name: x, annotations: {a: ~}}", "/metadata/annotations/a")]
#[case::of_a_template(
    "metadata: {name: x}\nspec: {template: {metadata: {labels: {a: null}}}}",
    "/spec/template/metadata/labels/a"
)]
#[case::of_a_template_in_a_list(
    "metadata: {name: x}\nspec: {volumeClaimTemplates: [{metadata: {annotations: {a: null}}}]}",
    "/spec/volumeClaimTemplates/0/metadata/annotations/a"
)]
fn a_null_label_or_annotation_is_an_empty_one(#[case] body: &str, #[case] pointer: &str) {
    let (_, json) = only(&format!("apiVersion: apps/v1\nkind: A\n{body}\n"));
    assert_eq!(json.pointer(pointer), Some(&json!("")), "{json}");
}

#[rstest]
#[case("extensions/v1beta1", "Ingress", "networking.k8s.io", "v1beta1")]
#[case("extensions/v1beta1", "Deployment", "apps", "v1beta1")]
#[case("apps/v1beta2", "Deployment", "apps", "v1beta2")]
#[case("extensions/v1beta1", "Widget", "extensions", "v1beta1")]
fn an_object_is_declared_in_the_group_where_its_kind_lives_now(
    #[case] api_version: &str,
    #[case] kind: &str,
    #[case] group: &str,
    #[case] version: &str,
) {
    let (object, _) = only(&format!(
        "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x}}\n"
    ));
    assert_eq!((&*object.group, &*object.version), (group, version));
}

#[rstest]
#[case::keep("{helm.sh/resource-policy: keep}", true)]
#[case::any_other_value("{helm.sh/resource-policy: delete}", true)]
#[case::none("{}", false)]
fn any_resource_policy_keeps_an_object(#[case] annotations: &str, #[case] keep: bool) {
    let (object, _) = only(&format!(
        "apiVersion: v1\nkind: A\nmetadata: {{name: x, annotations: {annotations}}}\n"
    ));
    assert_eq!(object.keep, keep);
}

#[test]
fn lists_are_expanded_however_deep() {
    let found = read(
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMapList\n  items:\n  - metadata: {name: a}\n  - metadata: {name: b}\n- {apiVersion: v1, kind: Pod, metadata: {name: c}}\n- {apiVersion: v1, kind: List, items: []}\n- {apiVersion: v1, kind: List, items: null}\n",
    );
    assert_eq!(found.problems, []);
    assert_eq!(names(&found), ["ConfigMap/a", "ConfigMap/b", "Pod/c"]);
    assert_eq!(found.objects[0].version, "v1");
}

#[test]
fn a_kind_that_ends_in_list_without_items_is_an_object() {
    let (object, _) = only("apiVersion: example.com/v1\nkind: AllowList\nmetadata: {name: x}\n");
    assert_eq!(object.kind, "AllowList");
}

#[test]
fn hooks_are_not_declared() {
    let found =
        read("apiVersion: v1\nkind: Pod\nmetadata: {name: x, annotations: {helm.sh/hook: test}}\n");
    assert_eq!(found, Manifest::default());
}

#[test]
fn the_last_of_two_documents_for_one_object_counts() {
    let object = |namespace: &str, value: u8| {
        format!(
            "---\napiVersion: v1\nkind: A\nmetadata: {{name: x, namespace: {namespace}}}\nspec: {value}\n"
        )
    };
    let found = read(&[object("apps", 1), object("other", 2), object("''", 3)].concat());
    let seen: Vec<_> = found
        .objects
        .iter()
        .map(|o| (o.line, o.namespace.as_deref()))
        .collect();
    assert_eq!(seen, [(7, Some("other")), (12, None)]);
}

#[rstest]
#[case::not_yaml("a: b: c", DocumentError::Yaml(YamlError { fault: Fault::Syntax, line: 1 }))]
#[case::a_null_key("~: x", DocumentError::Yaml(YamlError { fault: Fault::Key, line: 1 }))]
#[case::infinite("a: .inf", DocumentError::Yaml(YamlError { fault: Fault::NotFinite, line: 1 }))]
#[case::a_scalar("hello", DocumentError::NotAnObject)]
#[case::a_list("- 1", DocumentError::NotAnObject)]
#[case::no_version("kind: A\nmetadata: {name: x}", DocumentError::Field("apiVersion"))]
#[case::odd_version(
    "apiVersion: a/b/c\nkind: A\nmetadata: {name: x}",
    DocumentError::Field("apiVersion")
)]
#[case::no_kind("apiVersion: v1\nmetadata: {name: x}", DocumentError::Field("kind"))]
#[case::no_metadata("apiVersion: v1\nkind: A", DocumentError::Field("metadata"))]
#[case::no_name(
    "apiVersion: v1\nkind: A\nmetadata: {generateName: x-}",
    DocumentError::Field("metadata.name")
)]
#[case::a_number_for_a_name(
    "apiVersion: v1\nkind: A\nmetadata: {name: 12}",
    DocumentError::Field("metadata.name")
)]
#[case::items_that_are_none("apiVersion: v1\nkind: List\nitems: {}", DocumentError::Items)]
fn a_bad_document_is_a_problem_and_its_neighbors_are_declared(
    #[case] bad: &str,
    #[case] expected: DocumentError,
) {
    let found = read(
        &format!("{TWO}---\n# Source: shop/templates/bad.yaml\n{bad}\n{TWO}").replace("front", "f"),
    );
    assert_eq!(names(&found), ["Deployment/f", "Service/f"]);
    let [problem] = &found.problems[..] else {
        panic!("{:?}", found.problems);
    };
    assert_eq!(problem.source.as_deref(), Some("shop/templates/bad.yaml"));
    assert_eq!(problem.line, 16);
    let mut error = problem.error;
    if let DocumentError::Yaml(yaml) = &mut error {
        yaml.line -= 1; // the source comment
    }
    assert_eq!(error, expected);
}

#[test]
fn an_error_shows_nothing_of_the_document() {
    for secret in [
        "a: &x hunter2\nb: *hunter2",
        "p: !!int hunter2",
        "hunter2: \"a",
        "{hunter2: ]",
    ] {
        let found = read(secret);
        let error = found.problems[0].error;
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_rejected(
        parts in prop::collection::vec(
            prop_oneof![
                Just("---"), Just("\n"), Just("  "), Just("- "), Just("a: "), Just("{"), Just("}"),
                Just("["), Just("]"), Just("&x "), Just("*x"), Just("|\n"), Just("\""), Just("'"),
                Just("# Source: "), Just("apiVersion: v1\nkind: A\nmetadata: {name: x}\n"),
                Just("items:\n"), Just("<<: "), Just("!!binary "), Just("1e999"), Just("\u{feff}"),
                Just("? "), Just("\t"), Just("\r\n"), Just("é"),
            ],
            0..40,
        ),
        any in any::<String>(),
    ) {
        read(&parts.concat());
        read(&any);
    }

    #[test]
    fn every_document_of_a_manifest_is_found(names in prop::collection::hash_set("[a-z]{1,8}", 0..8)) {
        let documents: Vec<_> = names
            .iter()
            .map(|name| format!("---\n# Source: c/{name}\napiVersion: v1\nkind: A\nmetadata:\n  name: \"{name}\"\n"))
            .collect();
        let found = read(&documents.concat());
        prop_assert_eq!(found.problems, []);
        prop_assert!(found.objects.iter().map(|object| &object.name).eq(names.iter()));
    }
}
