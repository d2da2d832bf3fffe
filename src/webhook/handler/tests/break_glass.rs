//! Who has break-glass, what is recorded, and what happens if it cannot be recorded.

use super::*;
use crate::record::alerts::{Alert, AlertDocument};

/// A grant for the emergency account, valid for an hour since recently.
fn grant(more: &Value) -> Value {
    let at = |minutes: i64| jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
    let mut grant = json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "BreakGlassGrant",
        "metadata": {"name": "night", "creationTimestamp": at(-10)},
        "spec": {
            "subjects": {"serviceAccounts": ["ops/emergency"]}, "requestedBy": "ada",
            "reason": "OOM", "ticket": "INC-4711", "expiresAt": at(50),
        },
    });
    for (key, value) in more.as_object().unwrap() {
        grant["spec"][key] = value.clone();
    }
    grant
}

fn asks_for_a_grant() -> Setup {
    Setup {
        rules: json!({"requireGrant": true}),
        ..Setup::default()
    }
}

#[tokio::test]
async fn a_change_is_persisted_before_it_is_answered_and_the_answer_names_its_record() {
    let bench = Setup {
        grants: Ok(json!([grant(&json!({}))])),
        ..asks_for_a_grant()
    }
    .start();
    let response = bench.review(&by_emergency(update(9))).await;
    assert_eq!(response["allowed"], true);
    let kept = bench.kept.lock().clone();
    let kept = &kept[0];
    let by = kept["reconcileBy"].as_str().unwrap();
    assert_eq!(
        response["warnings"][0],
        format!(
            "helm-guard: break-glass change by system:serviceaccount:ops:emergency recorded as \
             web-1a2b (INC-4711); reconcile it with the chart by {}Z",
            &by[..16]
        )
    );
    assert_eq!(kept["user"], "system:serviceaccount:ops:emergency");
    assert_eq!(kept["requestUid"], "u-1");
    assert_eq!(
        (&kept["grant"], &kept["ticket"], &kept["reason"]),
        (&json!("night"), &json!("INC-4711"), &json!("OOM"))
    );
    assert_eq!(kept["operation"], "Update");
    assert_eq!(
        kept["object"],
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web",
            "uid": "o-1"})
    );
    assert_eq!(
        kept["release"],
        json!({"name": "myapp", "namespace": "shop", "chart": "myapp-1.2.0", "revision": 3})
    );
    assert_eq!(
        kept["fields"],
        json!([{"path": ".spec.replicas", "declared": 3, "live": 3, "requested": 9}])
    );
    assert_eq!(
        kept["patch"],
        r#"[{"op":"replace","path":"/spec/replicas","value":9}]"#
    );
    testbed::schema::assert_valid("EmergencyChangeSpec", kept);
    let change = serde_json::from_value(kept.clone()).unwrap();
    let alert = serde_json::to_value(AlertDocument::of(&Alert::break_glass(&change))).unwrap();
    testbed::schema::assert_valid("Alert", &alert);
    for field in ["object", "release", "fields", "user"] {
        let of_change = match field {
            "object" => json!({"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop",
                "name": "web", "uid": "o-1"}),
            field => kept[field].clone(),
        };
        assert_eq!(alert[field], of_change, "{field}");
    }
    let annotations = &response["auditAnnotations"];
    assert_eq!(annotations["emergency-change"], "web-1a2b");
    assert_eq!(annotations["ticket"], "INC-4711");
    assert_eq!(annotations["grant"], "night");
    assert_eq!(annotations["patch"], kept["patch"]);
    let line = bench.audit_lines().remove(0);
    assert_eq!(line["emergency"]["name"], "web-1a2b");
    assert_eq!(line["emergency"]["record"]["ticket"], "INC-4711");
}

#[rstest]
#[case::none(json!([]), "no grant names this identity")]
#[case::revoked(json!([grant(&json!({"revoked": true}))]), "grant night was revoked")]
#[case::expired(
    json!([grant(&json!({"expiresAt": "2026-01-01T00:00:00Z"}))]),
    "grant night expired at 2026-01-01T00:00:00Z"
)]
#[case::for_another_release(
    json!([grant(&json!({"scope": {"releases": [{"namespace": "shop", "name": "db"}]}}))]),
    "grant night is only for shop/db"
)]
#[tokio::test]
async fn without_a_covering_grant_break_glass_does_not_apply(
    #[case] grants: Value,
    #[case] says: &str,
) {
    let mut bench = Setup {
        grants: Ok(grants),
        ..asks_for_a_grant()
    }
    .start();
    let response = bench.review(&by_emergency(update(9))).await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    let why = "Not a break-glass change by system:serviceaccount:ops:emergency: ";
    assert!(message.contains(&format!("{why}{says}")), "{message}");
    assert_eq!(response["auditAnnotations"]["break-glass-refused"], says);
    assert_eq!(bench.announcer.queued(), None);
    assert!(bench.kept.lock().is_empty());
}

#[tokio::test]
async fn grants_that_cannot_be_read_cover_nothing() {
    let bench = Setup {
        grants: Err(()),
        ..asks_for_a_grant()
    }
    .start();
    let response = bench.review(&by_emergency(update(9))).await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("the grants could not be read: 403 Forbidden"),
        "{message}"
    );
}

#[tokio::test]
async fn if_no_grant_is_required_unreadable_grants_block_nothing() {
    let bench = Setup {
        grants: Err(()),
        ..Setup::default()
    }
    .start();
    let response = bench.review(&by_emergency(update(9))).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(bench.kept.lock().len(), 1);
}

#[tokio::test]
async fn without_a_grant_nothing_is_denied_from_the_index() {
    let bench = Setup {
        fresh: Fresh::Fails,
        ..asks_for_a_grant()
    }
    .start();
    let response = bench.review(&by_emergency(update(9))).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(
        response["auditAnnotations"]["reason"],
        "read-through-failed"
    );
    assert!(bench.kept.lock().is_empty());
}

#[tokio::test]
async fn in_warn_mode_an_identity_without_a_grant_is_warned() {
    let bench = Setup {
        mode: Mode::Warn,
        ..asks_for_a_grant()
    }
    .start();
    let response = bench.review(&by_emergency(update(9))).await;
    assert_eq!(response["auditAnnotations"]["verdict"], "warned");
    assert!(bench.kept.lock().is_empty());
}

#[rstest]
#[case::allow("Allow", PersistError::Late, true)]
#[case::deny("Deny", PersistError::Late, false)]
#[case::allow_where_the_kind_is_not_installed("Allow", PersistError::NotInstalled, true)]
#[case::deny_where_the_kind_is_not_installed("Deny", PersistError::NotInstalled, false)]
#[case::too_many("Deny", PersistError::Full { scope: LimitScope::Identity, limit: 4_000 }, false)]
#[tokio::test]
async fn the_policy_decides_whether_an_unrecordable_change_is_allowed(
    #[case] on_failure: &str,
    #[case] error: PersistError,
    #[case] allowed: bool,
) {
    let mut bench = Setup {
        rules: json!({"onRecordFailure": on_failure}),
        keep: Err(error.clone()),
        ..Setup::default()
    }
    .start();
    let response = bench.review(&by_emergency(update(9))).await;
    assert_eq!(response["allowed"], allowed);
    let annotations = &response["auditAnnotations"];
    assert_eq!(annotations["emergency-change-failed"], error.to_string());
    assert!(
        annotations["patch"]
            .as_str()
            .unwrap()
            .contains("/spec/replicas")
    );
    let line = bench.audit_lines().remove(0);
    assert_eq!(line["emergency"]["notKept"], error.to_string());
    assert_eq!(line["emergency"]["record"]["requestUid"], "u-1");
    assert_eq!(line["patch"][0]["value"], 9);
    assert_eq!(bench.announcer.queued().is_some(), allowed);
    if !allowed {
        let message = response["status"]["message"].as_str().unwrap();
        assert!(message.contains("could not be recorded"), "{message}");
        assert!(message.contains(&error.to_string()), "{message}");
    }
}

#[tokio::test]
async fn the_record_redacts_the_values_of_a_secret() {
    let bench = Setup {
        declared: SECRET,
        ..Setup::default()
    }
    .start();
    let secret = |value: &str| json!({"metadata": {"name": "web"}, "data": {"password": value}});
    let mut request = by_emergency(update(3));
    request["kind"] = json!({"group": "", "version": "v1", "kind": "Secret"});
    request["resource"] = json!({"group": "", "version": "v1", "resource": "secrets"});
    request["oldObject"] = secret("aHVudGVyMg==");
    request["object"] = secret("aHVudGVyMw==");
    assert_eq!(bench.review(&request).await["allowed"], true);
    let kept = bench.kept.lock()[0].to_string();
    assert!(kept.contains("<redacted "), "{kept}");
    assert!(!kept.contains("aHVudGVy"), "{kept}");
}

#[tokio::test]
async fn a_grant_is_reviewed_at_its_own_path() {
    let bench = Setup::default().start();
    let request = json!({
        "uid": "u-1", "operation": "CREATE", "name": "night",
        "kind": {"group": "helm-guard.dev", "version": "v1alpha1", "kind": "BreakGlassGrant"},
        "userInfo": {"username": "eve"}, "object": grant(&json!({})),
    });
    let call = |body: String| {
        http::Request::post("/grants?timeout=3s")
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap()
    };
    let (status, body) = bench.call(call(review_of(&request))).await;
    assert_eq!(status, StatusCode::OK);
    let review: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(review["response"]["uid"], "u-1");
    assert_eq!(review["response"]["allowed"], false);
    assert_eq!(
        review["response"]["status"]["message"],
        r#"spec.requestedBy: must be the requesting user, "eve""#
    );
    assert_eq!(bench.call(call("{}".to_owned())).await.0, 400);
}

/// Posts to the path of the entry for actions of emergency identities.
async fn shift(bench: &Bench, mut request: Value) -> Value {
    request["uid"] = json!("u-9");
    let call = http::Request::post("/emergencies?timeout=3s")
        .header("content-type", "application/json")
        .body(Body::from(review_of(&request)))
        .unwrap();
    let (status, body) = bench.call(call).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let review: Value = serde_json::from_str(&body).unwrap();
    review["response"].clone()
}

#[rstest]
#[case::a_create(json!({"operation": "CREATE", "name": "", "object": {"metadata": {"name": "made-up"}},
    "kind": {"group": "", "version": "v1", "kind": "Secret"},
    "resource": {"group": "", "version": "v1", "resource": "secrets"}}), "made-up")]
#[case::of_a_collection(json!({"operation": "DELETE", "name": "", "object": null,
    "oldObject": {"metadata": {"name": "one-of-many"}},
    "kind": {"group": "", "version": "v1", "kind": "Pod"},
    "resource": {"group": "", "version": "v1", "resource": "pods"}}), "one-of-many")]
#[case::exec(json!({"operation": "CONNECT", "name": "web-0", "subResource": "exec",
    "object": {"kind": "PodExecOptions", "command": ["sh"]},
    "kind": {"group": "", "version": "v1", "kind": "PodExecOptions"},
    "resource": {"group": "", "version": "v1", "resource": "pods"}}), "web-0")]
#[case::a_violation(update(9), "web")]
#[tokio::test]
async fn every_action_of_an_emergency_identity_is_recorded_and_allowed(
    #[case] request: Value,
    #[case] name: &str,
) {
    let bench = Setup {
        grants: Ok(json!([grant(&json!({}))])),
        ..asks_for_a_grant()
    }
    .start();
    let response = shift(&bench, by_emergency(request.clone())).await;
    let expected = json!({"uid": "u-9", "allowed": true, "auditAnnotations": {}});
    assert_eq!(response, expected);
    assert!(bench.kept.lock().is_empty());
    let line = &bench.audit_lines()[0];
    assert_eq!(line["reason"], "emergency-identity");
    assert_eq!(line["message"], "made by an emergency identity");
    assert_eq!(line["user"], "system:serviceaccount:ops:emergency");
    assert_eq!(line["object"]["name"], name);
    assert_eq!(line["operation"], request["operation"]);
    assert_eq!(line["grants"], json!(["night"]));
    let log = line.to_string();
    assert!(!log.contains("command"), "{log}");
}

#[tokio::test]
async fn dry_runs_and_other_users_are_not_recorded() {
    let bench = Setup::default().start();
    let mut dry_run = by_emergency(update(9));
    dry_run["dryRun"] = json!(true);
    assert_eq!(shift(&bench, dry_run).await["allowed"], true);
    assert_eq!(shift(&bench, update(9)).await["allowed"], true);
    assert!(bench.audit_lines().is_empty());
}

#[tokio::test]
async fn actions_are_recorded_even_if_the_grants_cannot_be_read() {
    let bench = Setup {
        grants: Err(()),
        ..asks_for_a_grant()
    }
    .start();
    assert_eq!(
        shift(&bench, by_emergency(update(9))).await["allowed"],
        true
    );
    let line = &bench.audit_lines()[0];
    assert_eq!(line["reason"], "emergency-identity");
    assert!(line.get("grants").is_none());
}

#[tokio::test]
async fn the_number_of_grants_in_force_is_limited() {
    let many: Vec<Value> = (0..32).map(|_| grant(&json!({}))).collect();
    let bench = Setup {
        grants: Ok(Value::Array(many)),
        ..Setup::default()
    }
    .start();
    let asks = |user: &str| {
        let request = json!({
            "uid": "u-1", "operation": "CREATE", "name": "night",
            "kind": {"group": "helm-guard.dev", "version": "v1alpha1", "kind": "BreakGlassGrant"},
            "userInfo": {"username": user}, "object": grant(&json!({"requestedBy": user})),
        });
        http::Request::post("/grants?timeout=3s")
            .header("content-type", "application/json")
            .body(Body::from(review_of(&request)))
            .unwrap()
    };
    let (_, body) = bench.call(asks("ada")).await;
    assert!(body.contains("has 32 grants in force"), "{body}");
    let (_, body) = bench.call(asks("bob")).await;
    assert!(!body.contains("grants in force"), "{body}");
}
