//! Requests through subresources, before the index is complete, and for the guard's own release.

use helm_guard_core::guard::KnownBy;

use super::*;

const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","labels":{"app.kubernetes.io/managed-by":"Helm"},"annotations":{"meta.helm.sh/release-name":"myapp"}}}"#;

fn reason(response: &Value) -> &str {
    response["auditAnnotations"]["reason"].as_str().unwrap()
}

fn eviction(options: &Value) -> Value {
    json!({
        "uid": "u-1", "operation": "CREATE", "name": "web", "namespace": "shop",
        "kind": {"group": "policy", "version": "v1", "kind": "Eviction"},
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "subResource": "eviction",
        "userInfo": {"username": "ada", "groups": ["dev"]},
        "object": {"metadata": {"name": "web"}, "deleteOptions": options},
    })
}

fn with_pod() -> Setup {
    Setup {
        declared: POD,
        ..Setup::default()
    }
}

#[tokio::test]
async fn the_eviction_of_a_declared_pod_counts_as_its_deletion() {
    let bench = with_pod().start();
    let response = bench.review(&eviction(&json!({}))).await;
    assert_eq!(
        (response["allowed"].as_bool(), reason(&response)),
        (Some(false), "object-deleted")
    );
    assert_eq!(bench.audit_lines()[0]["object"]["kind"], "Pod");
    let mut other = eviction(&json!({}));
    other["name"] = json!("web-7d9f");
    assert_eq!(reason(&bench.review(&other).await), "not-declared");
}

#[tokio::test]
async fn an_eviction_with_a_dry_run_in_its_delete_options_leaves_no_record() {
    let bench = with_pod().start();
    let response = bench.review(&eviction(&json!({"dryRun": ["All"]}))).await;
    assert_eq!(response["allowed"], false);
    assert_eq!(bench.audit_lines(), Vec::<Value>::new());
}

#[tokio::test]
async fn an_eviction_by_a_break_glass_identity_is_recorded_as_a_deletion_of_the_pod() {
    let bench = with_pod().start();
    let response = bench.review(&by_emergency(eviction(&json!({})))).await;
    assert_eq!(response["auditAnnotations"]["verdict"], "break-glass");
    let kept = bench.kept.lock().clone();
    assert_eq!(kept[0]["operation"], "Delete");
    assert_eq!(kept[0]["object"]["apiVersion"], "v1");
    assert_eq!(kept[0]["object"]["kind"], "Pod");
}

/// A binding overwrites labels and annotations of the Pod that it schedules.
#[rstest]
#[case::the_label(json!({"labels": {"app.kubernetes.io/managed-by": "me"}}), "fields-changed")]
#[case::an_annotation(
    json!({"annotations": {"meta.helm.sh/release-name": "other"}}), "fields-changed"
)]
#[case::as_declared(
    json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}), "nothing-declared-changes"
)]
#[case::undeclared(json!({"annotations": {"scheduler": "mine"}}), "nothing-declared-changes")]
#[tokio::test]
async fn a_binding_changes_the_metadata_of_its_pod(
    #[case] mut metadata: Value,
    #[case] expected: &str,
) {
    let bench = with_pod().start();
    let mut binding = eviction(&json!({}));
    binding["subResource"] = json!("binding");
    binding["kind"] = json!({"group": "", "version": "v1", "kind": "Binding"});
    metadata["name"] = json!("web");
    binding["object"] = json!({"metadata": metadata, "target": {"kind": "Node", "name": "a"}});
    assert_eq!(reason(&bench.review(&binding).await), expected);
}

#[rstest]
#[case::deleted("DELETE")]
#[case::updated("UPDATE")]
#[tokio::test]
async fn until_all_records_are_read_nothing_counts_as_undeclared(#[case] operation: &str) {
    let bench = Setup {
        is_complete: false,
        ..Setup::default()
    }
    .start();
    let mut request = with(update(0), "operation", json!(operation));
    // Known declared objects are evaluated.
    assert_eq!(bench.review(&request).await["allowed"], false);
    request["name"] = json!("other");
    let response = bench.review(&request).await;
    assert_eq!(reason(&response), "index-incomplete");
    assert_eq!(response["allowed"], true);
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("not all release records have been read yet"),
        "{warning}"
    );
    assert!(
        bench
            .metrics()
            .contains(r#"verdict="indeterminate",reason="index-incomplete"} 1"#)
    );
}

fn of_own_release(known_by: KnownBy, namespace: &str) -> Setup {
    Setup {
        own: Some(Own {
            namespace: namespace.to_owned(),
            known_by,
        }),
        ..Setup::default()
    }
}

#[rstest]
#[case::its_own("shop", KnownBy::Name("myapp".to_owned()), "own-release")]
#[case::another_release("shop", KnownBy::Name("guard".to_owned()), "fields-changed")]
#[case::without_the_service("shop", KnownBy::Service("guard".to_owned()), "fields-changed")]
#[case::another_chart("shop", KnownBy::Chart, "fields-changed")]
#[case::another_namespace("ops", KnownBy::Name("myapp".to_owned()), "fields-changed")]
#[tokio::test]
async fn only_the_own_release_in_its_own_namespace_is_exempt(
    #[case] namespace: &str,
    #[case] known_by: KnownBy,
    #[case] expected: &str,
) {
    let bench = of_own_release(known_by, namespace).start();
    let response = bench.review(&update(0)).await;
    assert_eq!(reason(&response), expected);
    assert_eq!(response["allowed"], expected == "own-release");
}

#[tokio::test]
async fn the_own_release_is_the_one_declaring_the_service() {
    let service = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"guard"}}"#;
    let bench = Setup {
        declared: service,
        ..of_own_release(KnownBy::Service("guard".to_owned()), "shop")
    }
    .start();
    let mut request = with(update(0), "operation", json!("DELETE"));
    request["kind"] = json!({"group": "", "version": "v1", "kind": "Service"});
    request["name"] = json!("guard");
    assert_eq!(reason(&bench.review(&request).await), "own-release");
}

#[tokio::test]
async fn a_status_write_is_evaluated_only_if_it_removes_the_label() {
    let bench = with_pod().start();
    let pod = |labels: Value, image: &str| {
        json!({"metadata": {"name": "web", "labels": labels}, "spec": {"image": image},
            "status": {"phase": image}})
    };
    let helm = json!({"app.kubernetes.io/managed-by": "Helm"});
    let write = |subresource: &str, new: Value| {
        let mut request = update(0);
        request["kind"] = json!({"group": "", "version": "v1", "kind": "Pod"});
        request["subResource"] = json!(subresource);
        request["oldObject"] = pod(helm.clone(), "old");
        request["object"] = new;
        request
    };
    for subresource in ["status", "approval", "finalize"] {
        let request = write(subresource, pod(json!({}), "old"));
        assert_eq!(
            reason(&bench.review(&request).await),
            "fields-changed",
            "{subresource}"
        );
        let request = write(subresource, pod(helm.clone(), "new"));
        let response = bench.review(&request).await;
        assert_eq!(
            reason(&response),
            "nothing-declared-changes",
            "{subresource}"
        );
    }
}

/// The deletion of namespace `shop`, or of a CRD, with these dependent releases.
async fn deleted(setup: Setup, kind: (&str, &str), holders: &[&str]) -> Value {
    let bench = Setup {
        infrastructure: Infrastructure {
            holders: Ok(holders.iter().map(|name| holder(name, &[])).collect()),
            ..Infrastructure::default()
        },
        ..setup
    }
    .start();
    let (group, kind) = kind;
    let spec = json!({"group": "example.com", "names": {"kind": "Backup"}});
    let review = review_of(&json!({
        "uid": "u-1", "operation": "DELETE", "name": "shop",
        "kind": {"group": group, "version": "v1", "kind": kind},
        "userInfo": {"username": "ada", "groups": ["dev"]},
        "oldObject": {"metadata": {"name": "shop"}, "spec": spec},
    }));
    let post = http::Request::post("/infrastructure")
        .header("content-type", "application/json")
        .body(Body::from(review))
        .unwrap();
    let (_, body) = bench.call(post).await;
    let mut review: Value = serde_json::from_str(&body).unwrap();
    review["response"].take()
}

#[tokio::test]
async fn the_namespace_of_the_guard_may_be_deleted_unless_other_releases_need_it() {
    let own = || of_own_release(KnownBy::Name("guard".to_owned()), "shop");
    let namespace = ("", "Namespace");
    let response = deleted(own(), namespace, &["guard"]).await;
    assert_eq!(reason(&response), "own-release");
    let response = deleted(own(), namespace, &["guard", "web"]).await;
    assert_eq!(reason(&response), "namespace-holds-releases");
    assert_eq!(response["auditAnnotations"]["release"], "shop/web");
    let crd = ("apiextensions.k8s.io", "CustomResourceDefinition");
    let response = deleted(own(), crd, &["guard"]).await;
    assert_eq!(reason(&response), "definition-in-use");
}

#[rstest]
#[case::namespace("", "Namespace")]
#[case::definition("apiextensions.k8s.io", "CustomResourceDefinition")]
#[tokio::test]
async fn until_all_records_are_read_dependents_are_unknown(
    #[case] group: &str,
    #[case] kind: &str,
) {
    let incomplete = || Setup {
        is_complete: false,
        ..Setup::default()
    };
    let response = deleted(incomplete(), (group, kind), &[]).await;
    assert_eq!(
        (response["allowed"].as_bool(), reason(&response)),
        (Some(true), "index-incomplete")
    );
    assert!(response["warnings"][0].is_string());
    let response = deleted(incomplete(), (group, kind), &["web"]).await;
    assert_eq!(response["allowed"], false);
}
