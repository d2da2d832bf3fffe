use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::webhook::testing::api::api;

fn by_service() -> Registration {
    Registration {
        endpoint: Endpoint::from_service("helm-guard/helm-guard").unwrap(),
        ca_bundle: Some("PEM".to_owned()),
        own_namespace: Some("helm-guard".to_owned()),
    }
}

fn by_url() -> Registration {
    Registration {
        endpoint: Endpoint::from_url("https://127.0.0.1:8443").unwrap(),
        ca_bundle: Some("PEM".to_owned()),
        own_namespace: None,
    }
}

fn json(registration: &Registration) -> Value {
    serde_json::to_value(configuration(registration)).unwrap()
}

fn typed(value: Value) -> ValidatingWebhookConfiguration {
    serde_json::from_value(value).unwrap()
}

#[rstest]
#[case::service("service", by_service())]
#[case::url("url", by_url())]
fn the_configuration_is_what_it_was(#[case] name: &str, #[case] registration: Registration) {
    insta::assert_snapshot!(
        name,
        serde_json::to_string_pretty(&json(&registration)).unwrap()
    );
}

#[rstest]
#[case::foreign_label("/metadata/labels/team", json!("ops"))]
#[case::foreign_annotation("/metadata/annotations/seen", json!("by a controller"))]
#[case::server_fields("/metadata/generation", json!(7))]
#[case::exclusion_by_a_platform(
    "/webhooks/0/namespaceSelector/matchExpressions/-",
    json!({"key": "control-plane", "operator": "NotIn", "values": ["true"]})
)]
fn what_others_add_is_no_difference(#[case] path: &str, #[case] value: Value) {
    let live = changed(json(&by_service()), path, value);
    assert_eq!(
        drift::difference(&typed(live), &configuration(&by_service())),
        None
    );
}

#[rstest]
#[case::failure_policy("/webhooks/0/failurePolicy", json!("Fail"), "the rules")]
#[case::operations("/webhooks/0/rules/0/operations", json!(["UPDATE"]), "the rules")]
#[case::selector("/webhooks/0/objectSelector/matchLabels", json!({}), "the rules")]
#[case::a_condition("/webhooks/0/matchConditions/0/expression", json!("false"), "the rules")]
#[case::a_condition_of_scale(
    "/webhooks/1/matchConditions",
    json!([{"name": "never", "expression": "false"}]),
    "the rules"
)]
#[case::ca("/webhooks/1/clientConfig/caBundle", json!("T1RIRVI="), "the CA bundle")]
#[case::address("/webhooks/1/clientConfig/service/name", json!("other"), "the address")]
#[case::namespaces(
    "/webhooks/0/namespaceSelector/matchExpressions",
    json!([]),
    "the namespace selector"
)]
#[case::namespace_labels(
    "/webhooks/0/namespaceSelector/matchLabels",
    json!({"no": "namespace"}),
    "the namespace selector"
)]
#[case::renamed("/webhooks/0/name", json!("a.b.c"), "the names of the webhooks")]
#[case::one_only("/webhooks", json!([]), "the number of webhooks")]
#[case::our_label("/metadata/labels", json!({}), "labels and annotations")]
#[tokio::test]
async fn what_was_altered_is_put_right(
    #[case] path: &str,
    #[case] value: Value,
    #[case] what: &'static str,
) {
    let (client, store) = api();
    store.lock().put(changed(json(&by_service()), path, value));
    assert_eq!(
        ensure(&client, &by_service()).await.unwrap(),
        Written::Replaced(what)
    );
    assert_eq!(
        ensure(&client, &by_service()).await.unwrap(),
        Written::Unchanged
    );
}

#[tokio::test]
async fn what_is_put_right_keeps_what_others_added() {
    let (client, store) = api();
    let exclusion = json!({"key": "control-plane", "operator": "NotIn", "values": ["true"]});
    let mut live = json(&by_service());
    for (path, value) in [
        ("/metadata/labels/team", json!("ops")),
        (
            "/webhooks/0/namespaceSelector/matchExpressions/-",
            exclusion.clone(),
        ),
        ("/webhooks/0/failurePolicy", json!("Fail")),
    ] {
        live = changed(live, path, value);
    }
    store.lock().put(live);
    ensure(&client, &by_service()).await.unwrap();
    let live = store.lock().object.clone().unwrap();
    assert_eq!(live.pointer("/metadata/labels/team"), Some(&json!("ops")));
    let added = live.pointer("/webhooks/0/namespaceSelector/matchExpressions/1");
    assert_eq!(added, Some(&exclusion));
    assert_eq!(
        live.pointer("/webhooks/0/failurePolicy"),
        Some(&json!("Ignore"))
    );
}

#[tokio::test]
async fn a_missing_registration_is_created_and_a_lost_race_is_run_again() {
    let (client, store) = api();
    store.lock().meanwhile = Some(Box::new(|store| {
        store.put(json(&by_url()));
    }));
    // Another guard created it first, with another address: the second attempt replaces it.
    let written = ensure(&client, &by_service()).await.unwrap();
    assert_eq!(written, Written::Replaced("the address"));
    store.lock().object = None;
    assert_eq!(
        ensure(&client, &by_service()).await.unwrap(),
        Written::Created
    );
}

#[tokio::test]
async fn a_refusal_is_an_error_that_says_what_was_tried() {
    let (client, store) = api();
    store.lock().refuse = Some(403);
    let error = ensure(&client, &by_service())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("failed to read the ValidatingWebhookConfiguration helm-guard"));
}

#[rstest]
#[case::ours(Some(by_service()), Unregistered::Deleted)]
#[case::anothers_address(Some(by_url()), Unregistered::NotOurs)]
#[case::anothers_ca(
    Some(Registration { ca_bundle: Some("NEWER".to_owned()), ..by_service() }),
    Unregistered::NotOurs
)]
#[case::none(None, Unregistered::Absent)]
#[tokio::test]
async fn only_our_own_registration_is_removed(
    #[case] live: Option<Registration>,
    #[case] expected: Unregistered,
) {
    let (client, store) = api();
    if let Some(live) = &live {
        store.lock().put(json(live));
    }
    assert_eq!(unregister(&client, &by_service()).await.unwrap(), expected);
    let left = store.lock().object.is_some();
    assert_eq!(left, expected == Unregistered::NotOurs);
}

/// Sets what a JSON pointer names; `-` at its end appends.
fn changed(mut object: Value, path: &str, value: Value) -> Value {
    let (parent, last) = path.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => items[last.parse::<usize>().unwrap()] = value,
        _ => parent[last] = value,
    }
    object
}
