//! A registration that others changed, and what is put right.

use super::*;

#[rstest]
#[case::foreign_label("/metadata/labels/team", json!("ops"))]
#[case::foreign_annotation("/metadata/annotations/seen", json!("by a controller"))]
#[case::server_fields("/metadata/generation", json!(7))]
#[case::exclusion_by_a_platform(
    "/webhooks/0/namespaceSelector/matchExpressions",
    json!([{"key": "control-plane", "operator": "NotIn", "values": ["true"]}])
)]
fn what_others_add_is_no_difference(#[case] path: &str, #[case] value: Value) {
    let live = typed(changed(json(&by_service()), path, value));
    let wanted = configuration(&by_service(), &BTreeSet::new());
    let (wanted, _) = foreign::with_tolerated(&live, wanted, &ForeignRequirements::default());
    assert_eq!(drift::difference(&live, &wanted), None);
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
#[case::namespaces_that_an_older_guard_left_out(
    "/webhooks/0/namespaceSelector/matchExpressions",
    json!([{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]),
    "the namespace selector"
)]
#[case::every_namespace_is_left_out(
    "/webhooks/0/namespaceSelector/matchExpressions",
    json!([{"key": "nowhere", "operator": "Exists"}]),
    "the namespace selector"
)]
#[case::every_namespace_by_a_known_key(
    "/webhooks/1/namespaceSelector/matchExpressions",
    json!([{"key": "control-plane", "operator": "Exists"}]),
    "the namespace selector"
)]
#[case::some_namespaces_are_left_out(
    "/webhooks/0/namespaceSelector/matchExpressions",
    json!([{"key": "team", "operator": "NotIn", "values": ["shop"]}]),
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
        look(&client, &by_service()).await.unwrap().written,
        Written::Replaced(what)
    );
    assert_eq!(
        look(&client, &by_service()).await.unwrap().written,
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
            "/webhooks/0/namespaceSelector/matchExpressions",
            json!([exclusion]),
        ),
        ("/webhooks/0/failurePolicy", json!("Fail")),
    ] {
        live = changed(live, path, value);
    }
    store.lock().put(live);
    let ensured = look(&client, &by_service()).await.unwrap();
    let expected = "objects.helm-guard.dev only covers namespaces where control-plane NotIn (true)";
    assert_eq!(ensured.foreign, [expected]);
    let live = store.lock().object.clone().unwrap();
    assert_eq!(live.pointer("/metadata/labels/team"), Some(&json!("ops")));
    let added = live.pointer("/webhooks/0/namespaceSelector/matchExpressions/0");
    assert_eq!(added, Some(&exclusion));
    assert_eq!(
        live.pointer("/webhooks/0/failurePolicy"),
        Some(&json!("Ignore"))
    );
}

fn with_mandate(mandate: Mandate) -> Registration {
    Registration {
        mandate,
        ..by_service()
    }
}

/// A difference that is not an address: calls still come.
fn with_another_policy() -> Value {
    changed(
        json(&by_service()),
        "/webhooks/0/failurePolicy",
        json!("Fail"),
    )
}

#[rstest]
#[case::it_leads(Mandate::UnlessNewer, None, Written::Replaced("the rules"))]
#[case::another_leads(Mandate::WhatIsMissing, None, Written::Left("the rules"))]
#[case::a_newer_one_wrote_it(
    Mandate::UnlessNewer,
    Some("99.0.0"),
    Written::Left("labels and annotations")
)]
#[case::a_newer_one_wrote_it_long_ago(
    Mandate::Everything,
    Some("99.0.0"),
    Written::Replaced("labels and annotations")
)]
#[tokio::test]
async fn a_difference_is_corrected_by_the_replica_that_leads(
    #[case] mandate: Mandate,
    #[case] writer: Option<&str>,
    #[case] expected: Written,
) {
    let (client, store) = api();
    let mut live = with_another_policy();
    if let Some(version) = writer {
        live["metadata"]["annotations"][WRITTEN_BY] = json!(version);
    }
    store.lock().put(live.clone());
    let ensured = look(&client, &with_mandate(mandate)).await.unwrap();
    assert_eq!((ensured.written, ensured.missed), (expected, None));
    let policy = |object: &Value| object["webhooks"][0]["failurePolicy"].clone();
    let is_left = matches!(expected, Written::Left(_));
    let now = store.lock().object.clone().unwrap();
    assert_eq!(policy(&now) == policy(&live), is_left);
}

#[tokio::test]
async fn a_replica_that_does_not_lead_creates_what_is_missing() {
    let (client, store) = api();
    let follower = with_mandate(Mandate::WhatIsMissing);
    let ensured = look(&client, &follower).await.unwrap();
    assert_eq!(ensured.written, Written::Created);
    assert!(store.lock().object.is_some());
}

#[tokio::test]
async fn a_replica_that_does_not_lead_says_that_calls_go_elsewhere() {
    let (client, store) = api();
    store.lock().put(json(&by_url()));
    let follower = with_mandate(Mandate::WhatIsMissing);
    let ensured = look(&client, &follower).await.unwrap();
    assert!(matches!(ensured.written, Written::Left(_)));
    let missed = ensured.missed.unwrap();
    assert_eq!(
        missed,
        "another address is registered: another replica is the leader"
    );
    assert_eq!(
        store.lock().object.clone().unwrap()["webhooks"],
        json(&by_url())["webhooks"]
    );
}

fn of_installation(registration: Registration, namespace: &str) -> Registration {
    Registration {
        installation: Some(Installation::new(namespace.to_owned())),
        ..registration
    }
}

#[rstest]
#[case::it_runs(by_url(), Takeover::Never, Written::Left("the address"))]
#[case::the_same_address(
    by_service(),
    Takeover::Never,
    Written::Replaced("labels and annotations")
)]
#[case::it_is_to_be_replaced(
    by_url(),
    Takeover::Forced,
    Written::Replaced("labels and annotations")
)]
#[tokio::test]
async fn the_registration_of_another_installation_is_left_alone(
    #[case] others: Registration,
    #[case] takeover: Takeover,
    #[case] expected: Written,
) {
    let (client, store) = api();
    let theirs = json(&of_installation(others, "ops"));
    store.lock().put(theirs.clone());
    let ours = Registration {
        takeover,
        ..of_installation(by_service(), "guard")
    };
    let ensured = look(&client, &ours).await.unwrap();
    assert_eq!(ensured.written, expected);
    let now = store.lock().object.clone().unwrap();
    let is_left = expected == Written::Left("the address");
    assert_eq!(now["webhooks"] == theirs["webhooks"] && is_left, is_left);
    let names_it = |missed: String| missed.contains("the installation ops/helm-guard");
    assert_eq!(ensured.missed.is_some_and(names_it), is_left);
    assert_eq!(
        ensured.other.is_some(),
        is_left,
        "what calls do not come to is reported"
    );
}

#[tokio::test]
async fn the_kill_switch_removes_only_the_registration_of_its_own_installation() {
    let (client, store) = api();
    let ours = of_installation(by_service(), "guard");
    let others = OtherInstallations::default();
    store.lock().put(json(&of_installation(by_url(), "ops")));
    let removed = remove(&client, &ours, &others).await.unwrap();
    assert_eq!(removed, Unregistered::NotOurs);
    assert!(store.lock().object.is_some());
    store.lock().put(json(&ours));
    let removed = remove(&client, &ours, &others).await.unwrap();
    assert_eq!(removed, Unregistered::Deleted);
}

#[tokio::test]
async fn a_missing_registration_is_created_and_a_lost_race_is_run_again() {
    let (client, store) = api();
    store.lock().meanwhile = Some(Box::new(|store| {
        store.put(json(&by_url()));
    }));
    // Another guard created it first, with another address: the second attempt replaces it.
    let written = look(&client, &by_service()).await.unwrap().written;
    assert_eq!(written, Written::Replaced("the address"));
    store.lock().object = None;
    assert_eq!(
        look(&client, &by_service()).await.unwrap().written,
        Written::Created
    );
}

#[tokio::test]
async fn a_refusal_is_an_error_that_says_what_was_tried() {
    let (client, store) = api();
    store.lock().refuse = Some(403);
    let error = look(&client, &by_service()).await.unwrap_err().to_string();
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
