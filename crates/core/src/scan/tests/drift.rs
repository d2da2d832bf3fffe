//! One object and one manifest.

use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    compare::{Json, rules::EmptyListPolicy, schema::builtin::builtin},
    scan::{KindFacts, drift},
};

fn declared() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [
            {"name": "web", "image": "web:1", "resources": {"limits": {"cpu": "1000m"}}},
        ]}}},
    })
}

#[rstest]
#[case::nothing("/metadata/uid", json!("u-1"), &[])]
#[case::respelled("/spec/template/spec/containers/0/resources/limits/cpu", json!("1"), &[])]
#[case::undeclared("/spec/paused", json!(true), &[])]
#[case::value("/spec/replicas", json!(5), &[".spec.replicas"])]
#[case::removed("/metadata/labels", json!({}), &[".metadata.labels.app"])]
#[case::in_an_item(
    "/spec/template/spec/containers/0/image",
    json!("web:2"),
    &[".spec.template.spec.containers[name=web].image"]
)]
#[case::item_gone(
    "/spec/template/spec/containers/0/name",
    json!("other"),
    &[".spec.template.spec.containers[name=web]"]
)]
fn drift_is_what_the_webhook_would_call_a_change(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] expected: &[&str],
) {
    let declared = declared();
    let mut live = declared.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    live.pointer_mut(parent).unwrap()[key] = value;
    let (declared, live) = (declared.to_string(), live.to_string());
    let kind = KindFacts {
        shape: builtin().lookup("apps", "v1", "Deployment").unwrap(),
        empties: EmptyListPolicy::Dropped,
    };
    let found = drift(Json::of(&declared), Json::of(&live), kind);
    let paths: Vec<String> = found.iter().map(|found| found.path.to_string()).collect();
    assert_eq!(paths, expected);
}

/// The API server omits them from built-in kinds, and nothing tells which: `replicas: 0` is never absent.
#[rstest]
#[case::nothing_declared(json!({"paused": false, "template": {"spec": {"hostNetwork": false}}}), json!({}), 0)]
#[case::empty_map(json!({"template": {"metadata": {"annotations": {}}}}), json!({"template": {"metadata": {}}}), 0)]
#[case::another_value(json!({"paused": false}), json!({"paused": true}), 1)]
#[case::struct_that_is_a_choice(
    json!({"template": {"spec": {"volumes": [{"name": "a", "emptyDir": {}}]}}}),
    json!({"template": {"spec": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}}),
    1
)]
fn an_empty_value_that_is_absent_is_no_drift(
    #[case] declared: Value,
    #[case] live: Value,
    #[case] expected: usize,
) {
    let [declared, live] = [declared, live].map(|spec| json!({"spec": spec}).to_string());
    let kind = KindFacts {
        shape: builtin().lookup("apps", "v1", "Deployment").unwrap(),
        empties: EmptyListPolicy::Dropped,
    };
    let found = drift(Json::of(&declared), Json::of(&live), kind);
    assert_eq!(found.len(), expected, "{found:?}");
}
