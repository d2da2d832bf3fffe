//! Requests whose review is too large, or has no memory left.

use super::*;
use crate::webhook::intake::IntakeLimits;

/// A review as Go writes it: the objects come after everything else about the request, and before
/// `dryRun`. Its padding makes it too large to be evaluated.
fn too_large(head: &str, is_dry_run: bool) -> String {
    let pad = "<".repeat(MAX_BODY_BYTES);
    let object = r#"{"metadata":{"name":"web"},"spec":{"replicas":3}}"#;
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u-1",{head},
        "object":{{"pad":"{pad}"}},"oldObject":{object},"dryRun":{is_dry_run},"options":{{}}}}}}"#
    )
}

/// The part before the objects.
fn head(operation: &str, resource: &str, user: &str) -> String {
    let (group, kind) = match resource {
        "deployments" => ("apps", "Deployment"),
        "secrets" => ("", "Secret"),
        "configmaps" => ("", "ConfigMap"),
        "customresourcedefinitions" => ("apiextensions.k8s.io", "CustomResourceDefinition"),
        other => panic!("{other} has no kind here"),
    };
    format!(
        r#""kind":{{"group":"{group}","version":"v1","kind":"{kind}"}},
        "resource":{{"group":"{group}","version":"v1","resource":"{resource}"}},
        "name":"web","namespace":"shop","operation":"{operation}",
        "userInfo":{{"username":"{user}","groups":["R\u0026D"]}}"#
    )
}

async fn ask(bench: &Bench, path: &str, review: String) -> Value {
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(review))
        .unwrap();
    let (status, body) = bench.call(request).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let review: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(review["response"]["uid"], "u-1");
    review["response"].clone()
}

fn reason(response: &Value) -> &str {
    response["auditAnnotations"]["reason"].as_str().unwrap()
}

#[rstest]
#[case::deny(Mode::Deny, "denied")]
#[case::warn(Mode::Warn, "warned")]
#[case::audit(Mode::Audit, "audited")]
#[tokio::test]
async fn an_oversized_write_violates_the_declared_object(
    #[case] mode: Mode,
    #[case] decision: &str,
) {
    let bench = Setup {
        mode,
        ..Setup::default()
    }
    .start();
    let review = too_large(&head("UPDATE", "deployments", "ada"), false);
    let response = ask(&bench, "/validate?timeout=3s", review).await;
    assert_eq!(response["allowed"], decision != "denied");
    assert_eq!(reason(&response), "too-large");
    assert_eq!(response["auditAnnotations"]["verdict"], decision);
    assert_eq!(response["auditAnnotations"]["release"], "shop/myapp");
    assert_eq!(response.get("warnings").is_some(), decision == "warned");
    if decision == "denied" {
        assert_eq!(
            response["status"]["message"],
            "
Deployment \"web\" is declared by Helm release \"myapp\" in namespace \"shop\" (revision 3, chart \
             myapp-1.2.0)
The admission review of 32.1 MiB is larger than the 32.0 MiB that helm-guard evaluates: whether the \
             request changes a declared field is unknown
Make the object smaller, or change it through its chart
In an emergency: helm-guard break-glass open -n shop --reason <reason>"
        );
    }
    assert_eq!(bench.read_throughs(), 1);
    let line = &bench.audit_lines()[0];
    assert_eq!(
        (&line["verdict"], &line["groups"]),
        (&json!(decision), &json!(["R&D"]))
    );
    let counter = format!(
        r#"helm_guard_decisions_total{{dry_run="false",operation="UPDATE",mode="{}",verdict="{decision}",reason="too-large"}} 1"#,
        mode.as_str()
    );
    assert!(bench.metrics().contains(&counter));
}

#[rstest]
#[case::created("CREATE", "deployments", "not-judged")]
#[case::declared_by_nobody("UPDATE", "configmaps", "not-declared")]
#[tokio::test]
async fn an_oversized_review_alone_is_not_denied(
    #[case] operation: &str,
    #[case] resource: &str,
    #[case] expected: &str,
) {
    let bench = Setup::default().start();
    let review = too_large(&head(operation, resource, "ada"), false);
    let response = ask(&bench, "/validate", review).await;
    assert_eq!(
        (response["allowed"].as_bool(), reason(&response)),
        (Some(true), expected)
    );
}

#[tokio::test]
async fn an_oversized_deletion_is_evaluated_by_name() {
    let bench = Setup::default().start();
    let review = too_large(&head("DELETE", "deployments", "ada"), false);
    assert_eq!(
        reason(&ask(&bench, "/validate", review).await),
        "object-deleted"
    );
    let uninstalling = Setup {
        phase: Phase::Uninstalling,
        ..Setup::default()
    }
    .start();
    let review = too_large(&head("DELETE", "deployments", "ada"), false);
    assert_eq!(
        reason(&ask(&uninstalling, "/validate", review).await),
        "uninstalling"
    );
}

#[tokio::test]
async fn deleting_a_collection_of_oversized_objects_is_denied() {
    let bench = Setup::default().start();
    let head = head("DELETE", "deployments", "ada").replace(r#""name":"web","#, "");
    let response = ask(&bench, "/validate", too_large(&head, false)).await;
    assert_eq!(
        (response["allowed"].as_bool(), reason(&response)),
        (Some(false), "too-large")
    );
}

#[tokio::test]
async fn an_oversized_dry_run_leaves_no_record() {
    let bench = Setup::default().start();
    let review = too_large(&head("UPDATE", "deployments", "ada"), true);
    assert_eq!(ask(&bench, "/validate", review).await["allowed"], false);
    assert_eq!(bench.audit_lines(), Vec::<Value>::new());
}

#[tokio::test]
async fn an_oversized_break_glass_change_is_allowed_and_recorded() {
    let bench = Setup::default().start();
    let user = "system:serviceaccount:ops:emergency";
    let review = too_large(&head("UPDATE", "deployments", user), false);
    let response = ask(&bench, "/validate", review).await;
    assert_eq!(response["auditAnnotations"]["verdict"], "break-glass");
    let kept = bench.kept.lock().clone();
    assert_eq!(
        (kept[0]["operation"].as_str(), &kept[0]["object"]["name"]),
        (Some("Update"), &json!("web"))
    );
}

#[rstest]
#[case::record("UPDATE", "sh.helm.release.v1.myapp.v3", "too-large", false)]
#[case::record_deleted("DELETE", "sh.helm.release.v1.myapp.v3", "too-large", false)]
#[case::new_record("CREATE", "sh.helm.release.v1.myapp.v4", "not-judged", true)]
#[case::no_record("UPDATE", "settings", "not-judged", true)]
#[tokio::test]
async fn an_oversized_edit_of_a_record_is_denied(
    #[case] operation: &str,
    #[case] name: &str,
    #[case] expected: &str,
    #[case] allowed: bool,
) {
    let bench = Setup::default().start();
    let head = head(operation, "secrets", "ada")
        .replace(r#""name":"web""#, &format!(r#""name":"{name}""#));
    let response = ask(&bench, "/infrastructure", too_large(&head, false)).await;
    assert_eq!(
        (response["allowed"].as_bool(), reason(&response)),
        (Some(allowed), expected)
    );
}

#[tokio::test]
async fn an_oversized_deletion_of_a_crd_is_denied() {
    let bench = Setup::default().start();
    let head = head("DELETE", "customresourcedefinitions", "ada");
    let response = ask(&bench, "/infrastructure", too_large(&head, false)).await;
    assert_eq!(
        (response["allowed"].as_bool(), reason(&response)),
        (Some(false), "too-large")
    );
}

#[tokio::test(start_paused = true)]
async fn without_memory_a_write_is_denied_and_should_be_retried() {
    let none = IntakeLimits {
        small: 0,
        small_together: 0,
        large_together: 0,
        ..IntakeLimits::default()
    };
    let bench = Setup {
        intake: Intake::new(none),
        ..Setup::default()
    }
    .start();
    let review = format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u-1",{},
        "object":{{"pad":"{}"}},"oldObject":{{}},"dryRun":false}}}}"#,
        head("UPDATE", "deployments", "ada"),
        "<".repeat(100_000)
    );
    let response = ask(&bench, "/validate?timeout=3s", review).await;
    assert_eq!(
        (response["allowed"].as_bool(), reason(&response)),
        (Some(false), "over-budget")
    );
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("Try again in a moment"), "{message}");
}

/// The entry for grants fails closed anyway, and an unreadable policy is denied.
#[rstest]
#[case::grant("/grants", 64 << 10)]
#[case::policy("/policies", 512 << 10)]
#[tokio::test]
async fn an_object_of_the_guards_own_kinds_must_be_small(#[case] path: &str, #[case] limit: usize) {
    let bench = Setup::default().start();
    let review = too_large(&head("CREATE", "configmaps", "ada"), false);
    let response = ask(&bench, path, review).await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("larger than the {limit} bytes")),
        "{message}"
    );
}
