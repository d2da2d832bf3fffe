//! Requests to ordinary objects, from their routes to their answers.

use super::*;

#[tokio::test]
async fn a_violation_is_denied_after_the_records_were_read_again() {
    let bench = Setup::default().start();
    let response = bench.review(&update(0)).await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 403);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains(".spec.replicas: declared 3, live 3, requested 0"),
        "{message}"
    );
    assert_eq!(bench.read_throughs(), 1);
    let lines = bench.audit_lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["target"], "audit");
    assert_eq!(lines[0]["verdict"], "denied");
    assert_eq!(
        (&lines[0]["user"], &lines[0]["groups"]),
        (&json!("ada"), &json!(["dev"]))
    );
    assert_eq!(lines[0]["findings"][0]["revisions"], json!([3]));
    assert!(bench.metrics().contains(
        r#"helm_guard_decisions_total{dry_run="false",operation="UPDATE",mode="Deny",verdict="denied",reason="fields-changed"} 1"#
    ));
}

/// A mutating webhook rewrites Helm's request, so that it differs from the manifest.
#[rstest]
#[case::helm_at_work(Phase::Pending, "helm", Ok(true), "in-flight")]
#[case::somebody_who_says_so(Phase::Pending, "helm", Ok(false), "fields-changed")]
#[case::another_manager(Phase::Pending, "kubectl-edit", Ok(true), "fields-changed")]
#[case::no_operation_runs(Phase::Settled, "helm", Ok(true), "fields-changed")]
#[case::nobody_can_say(Phase::Pending, "helm", Err(()), "access-unknown")]
#[tokio::test]
async fn a_rewritten_request_of_helm_is_allowed(
    #[case] phase: Phase,
    #[case] manager: &str,
    #[case] may_write: Result<bool, ()>,
    #[case] reason: &str,
) {
    let bench = Setup {
        phase,
        may_write,
        ..Setup::default()
    }
    .start();
    let request = with(update(0), "options", json!({"fieldManager": manager}));
    let response = bench.review(&request).await;
    assert_eq!(response["auditAnnotations"]["reason"], reason);
    assert_eq!(response["allowed"], reason != "fields-changed");
    assert_eq!(
        response.get("warnings").is_some(),
        reason == "access-unknown"
    );
}

#[tokio::test]
async fn records_newer_than_the_index_count() {
    let bench = Setup {
        fresh: Fresh::Declares(
            r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":5}}"#,
        ),
        ..Setup::default()
    }
    .start();
    let response = bench.review(&update(5)).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response.get("warnings"), None);
    assert_eq!(bench.read_throughs(), 1);
}

#[tokio::test]
async fn a_request_without_a_violation_causes_no_read_and_no_line() {
    let bench = Setup::default().start();
    let mut elsewhere = with(update(0), "namespace", json!("other"));
    assert_eq!(bench.review(&elsewhere).await["allowed"], true);
    elsewhere["operation"] = json!("CREATE");
    assert_eq!(bench.review(&elsewhere).await["allowed"], true);
    let label = json!({"metadata": {"name": "web", "labels": {"a": "b"}}, "spec": {"replicas": 3}});
    let response = bench.review(&with(update(3), "object", label)).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(bench.read_throughs(), 0);
    assert_eq!(bench.audit_lines(), Vec::<Value>::new());
}

#[rstest]
#[case::failed(Fresh::Fails)]
#[case::silent(Fresh::NeverAnswers)]
#[tokio::test(start_paused = true)]
async fn nothing_is_denied_when_the_records_cannot_be_read_again(#[case] fresh: Fresh) {
    let bench = Setup {
        fresh,
        ..Setup::default()
    }
    .start();
    let asked = tokio::time::Instant::now();
    let response = bench.review(&update(0)).await;
    assert!(asked.elapsed().as_millis() <= 2800, "inside the 3 seconds");
    assert_eq!(response["allowed"], true);
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("is allowed without evaluation"),
        "{warning}"
    );
    assert!(
        bench
            .metrics()
            .contains(r#"verdict="indeterminate",reason="read-through-failed"} 1"#)
    );
    // The clock of this test runs ahead of the writing thread.
    bench
        .recorder
        .audit
        .flush(std::time::Duration::from_secs(10));
    assert_eq!(bench.audit_lines()[0]["verdict"], "indeterminate");
}

#[tokio::test]
async fn a_panic_fails_one_request_and_reveals_nothing() {
    let bench = Setup {
        fresh: Fresh::Panics,
        ..Setup::default()
    }
    .start();
    let (status, body) = bench.post(review_of(&update(0))).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!body.contains("hunter2"));
    assert_eq!(bench.review(&update(3)).await["allowed"], true);
    assert!(bench.metrics().contains("helm_guard_panics_total 1"));
    assert!(bench.metrics().contains("helm_guard_requests_in_flight 0"));
}

#[rstest]
#[case::warn(Mode::Warn, "warned", true)]
#[case::audit(Mode::Audit, "audited", false)]
#[tokio::test]
async fn other_modes_allow_a_violation_and_record_it(
    #[case] mode: Mode,
    #[case] decision: &str,
    #[case] warns: bool,
) {
    let bench = Setup {
        mode,
        ..Setup::default()
    }
    .start();
    let response = bench.review(&update(0)).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response.get("warnings").is_some(), warns);
    assert_eq!(response["auditAnnotations"]["verdict"], decision);
    assert_eq!(bench.audit_lines()[0]["verdict"], decision);
}

#[rstest]
#[case::with_fresh_records(Fresh::AsIndexed)]
#[case::with_records_that_cannot_be_read(Fresh::Fails)]
#[tokio::test]
async fn a_break_glass_change_is_allowed_and_records_its_patch(#[case] fresh: Fresh) {
    let mut bench = Setup {
        fresh,
        ..Setup::default()
    }
    .start();
    let response = bench.review(&by_emergency(update(9))).await;
    assert_eq!(response["allowed"], true);
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("break-glass change by system:serviceaccount:ops:emergency recorded"),
        "{warning}"
    );
    let line = bench.audit_lines().remove(0);
    assert_eq!(line["verdict"], "break-glass");
    assert_eq!(line["fieldManager"], "kubectl-edit");
    assert_eq!(
        line["patch"],
        json!([{"op": "replace", "path": "/spec/replicas", "value": 9}])
    );
    assert_eq!(
        line["findings"][0],
        json!({
            "release": {"namespace": "shop", "name": "myapp", "chart": "myapp-1.2.0", "revision": 3},
            "revisions": [3],
            "fields": [{"path": ".spec.replicas", "declared": 3, "live": 3, "requested": 9}],
        })
    );
    let note = bench.announcer.queued().unwrap();
    assert_eq!((note.action, &*note.api_version), ("Update", "apps/v1"));
    assert_eq!(note.uid.as_deref(), Some("o-1"));
    assert!(note.text.contains(".spec.replicas: declared 3"));
    assert!(
        bench
            .metrics()
            .contains(r#"helm_guard_break_glass_total{operation="UPDATE"} 1"#)
    );
}

#[tokio::test]
async fn a_break_glass_identity_without_a_violation_leaves_no_record() {
    let mut bench = Setup::default().start();
    let label = json!({"metadata": {"name": "web", "labels": {"a": "b"}}, "spec": {"replicas": 3}});
    let request = by_emergency(with(update(3), "object", label));
    let response = bench.review(&request).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response.get("warnings"), None);
    assert_eq!(bench.audit_lines(), Vec::<Value>::new());
    assert_eq!(bench.announcer.queued(), None);
}

#[rstest]
#[case::denied(update(0), false)]
#[case::break_glass(by_emergency(update(0)), true)]
#[tokio::test]
async fn a_dry_run_is_answered_and_only_counted(#[case] request: Value, #[case] allowed: bool) {
    let mut bench = Setup::default().start();
    let before = bench.metrics();
    let response = bench.review(&with(request, "dryRun", json!(true))).await;
    assert_eq!(response["allowed"], allowed);
    let after = bench.metrics();
    let but_dry_runs = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::to_owned);
        let is_decision = |line: &String| line.contains("helm_guard_decisions");
        lines.filter(|line| !is_decision(line)).collect()
    };
    assert_eq!(but_dry_runs(&after), but_dry_runs(&before));
    assert!(after.contains(r#"helm_guard_decisions_total{dry_run="true""#));
    assert_eq!(bench.audit_lines(), Vec::<Value>::new());
    assert_eq!(bench.announcer.queued(), None);
}

#[tokio::test]
async fn each_object_of_a_deleted_collection_is_found_by_its_own_name() {
    let bench = Setup::default().start();
    let request = json!({
        "uid": "u-1", "operation": "DELETE", "name": "", "namespace": "shop",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "userInfo": {"username": "ada"}, "object": null,
        "oldObject": {"metadata": {"name": "web"}, "spec": {"replicas": 3}},
    });
    let response = bench.review(&request).await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("helm uninstall myapp -n shop"),
        "{message}"
    );
}

#[rstest]
#[case::of_a_broken_release("broken", "record-unreadable")]
#[case::of_any_other("myapp", "not-declared")]
#[tokio::test]
async fn an_object_of_an_unreadable_record_is_allowed_with_a_warning(
    #[case] release: &str,
    #[case] reason: &str,
) {
    let bench = Setup::default().start();
    let annotations =
        json!({"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "shop"});
    let old = json!({"metadata": {"name": "api", "annotations": annotations}});
    let request = with(with(update(0), "name", json!("api")), "oldObject", old);
    let response = bench.review(&request).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response["auditAnnotations"]["reason"], reason);
    assert_eq!(response.get("warnings").is_some(), release == "broken");
}

fn scale(group: &str, resource: &str) -> Value {
    json!({
        "uid": "u-1", "operation": "UPDATE", "name": "web", "namespace": "shop",
        "kind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
        "resource": {"group": group, "version": "v1", "resource": resource},
        "subResource": "scale", "userInfo": {"username": "ada"},
        "oldObject": {"metadata": {"name": "web"}, "spec": {"replicas": 3}},
        "object": {"metadata": {"name": "web"}, "spec": {}},
    })
}

#[rstest]
#[case::built_in(
    DEPLOYMENT,
    "apps",
    "deployments",
    "Deployment \"web\"",
    ".spec.replicas:"
)]
#[case::custom(ROLLOUT, "example.com", "rollouts", "Rollout \"web\"", ".spec.size:")]
#[tokio::test]
async fn a_scale_request_is_evaluated_as_a_change_of_its_parent(
    #[case] declared: &'static str,
    #[case] group: &str,
    #[case] resource: &str,
    #[case] object: &str,
    #[case] field: &str,
) {
    let bench = Setup {
        declared,
        crd: Ok(Some(ROLLOUT_CRD)),
        ..Setup::default()
    }
    .start();
    let response = bench.review(&scale(group, resource)).await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains(object) && message.contains(field),
        "{message}"
    );
}

#[tokio::test]
async fn a_scale_of_an_unknown_kind_is_allowed_with_a_warning() {
    let bench = Setup {
        declared: ROLLOUT,
        crd: Err(()),
        ..Setup::default()
    }
    .start();
    let response = bench.review(&scale("example.com", "rollouts")).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response["auditAnnotations"]["reason"], "schema-unavailable");
    assert!(response["warnings"][0].is_string());
}

#[tokio::test]
async fn no_secret_value_leaves_the_process() {
    for fresh in [Fresh::AsIndexed, Fresh::Fails] {
        let mut bench = Setup {
            declared: SECRET,
            fresh,
            ..Setup::default()
        }
        .start();
        let secret = |value: &str| {
            json!({"metadata": {"name": "web", "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": format!("{{\"a\":\"{value}\"}}")}},
                "data": {"password": value}})
        };
        let request = json!({
            "uid": "u-1", "operation": "UPDATE", "name": "web", "namespace": "shop",
            "kind": {"group": "", "version": "v1", "kind": "Secret"},
            "resource": {"group": "", "version": "v1", "resource": "secrets"},
            "userInfo": {"username": "ada"},
            "oldObject": secret("aHVudGVyMg=="), "object": secret("aHVudGVyMw=="),
        });
        let mut said = bench.review(&request).await.to_string();
        let broken = bench.review(&by_emergency(request)).await;
        assert_eq!(broken["auditAnnotations"]["verdict"], "break-glass");
        said += &broken.to_string();
        said += &Value::from(bench.audit_lines()).to_string();
        let note = bench.announcer.queued().unwrap();
        said += &note.text;
        said += &bench.metrics();
        assert!(!said.contains("aHVudGVyM"), "{said}");
        assert!(said.contains("<redacted"), "{said}");
    }
}
