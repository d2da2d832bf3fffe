//! What happens to a change that stays, is reverted, or cannot be recorded.

use std::time::Duration;

use helm_guard_core::breakglass::resolution;
use serde_json::json;

use super::{
    night::{EMERGENCY_OPS, Night, admin, break_glass_ok, create, made_up_record, people},
    sinks::sinks,
};
use crate::scene::{Screen, eventually, within};

/// Longer than the time after which an unobserved change becomes void.
const SLACK: Duration = Duration::from_secs(60);

#[test]
fn an_unresolved_change_becomes_overdue_and_an_undone_one_reverted() {
    let night = Night::new("overdue", &json!({"reconcileWithin": "4s"}));
    night.raise("2Gi").warned(&["recorded as myapp-"]);
    night.comes_to("Overdue");
    let event = eventually("an event about it", || {
        let events = night.scene.get("events.events.k8s.io");
        let mut events = events["items"].as_array().unwrap().clone().into_iter();
        events.find(|event| event["reason"] == "EmergencyChangeOverdue")
    });
    assert_eq!(event["regarding"]["name"], "myapp");
    assert_eq!(event["type"], "Warning");
    let metrics = night.guard.admin_get("/metrics").body;
    assert!(
        metrics.contains(r#"helm_guard_emergency_changes{state="Overdue"} "#),
        "{metrics}"
    );
    // Anyone may restore declared values.
    night
        .scene
        .kubectl("set resources deploy/myapp --limits memory=128Mi")
        .quiet();
    night.comes_to("Reverted");
}

#[test]
fn a_restarted_guard_resumes_and_announces_nothing_twice() {
    let night = Night::new("restart", &json!({}));
    night.raise("2Gi").warned(&["recorded as myapp-"]);
    night.comes_to("Open");
    let night = night.restart();
    let chart = testbed::shared().chart(&crate::charts::myapp("1.0.0"));
    night
        .scene
        .helm(&format!(
            "upgrade myapp {} --set memory=2Gi",
            chart.display()
        ))
        .ok();
    let settled = night.comes_to("Absorbed");
    assert_eq!(settled["status"]["revision"], 2);
    let night = night.restart();
    within(Duration::from_secs(60), "a guard that leads again", || {
        let mut log = night.guard.log().into_iter();
        log.find(|line| line["message"] == "leading").map(drop)
    });
    let metrics = night.guard.admin_get("/metrics").body;
    assert!(
        !metrics.contains(r#"helm_guard_emergency_changes_settled_total{state="Absorbed"}"#),
        "{metrics}"
    );
    let events = night.scene.get("events.events.k8s.io");
    let events = events["items"].as_array().unwrap().iter();
    let settled = events.filter(|event| event["reason"] == "EmergencyChangeSettled");
    assert_eq!(settled.count(), 1);
}

#[test]
fn the_record_of_an_impersonated_user_names_no_token() {
    let night = Night::new("as", &json!({}));
    let line = format!(
        "-n {} set resources deploy/myapp --limits memory=2Gi --as={EMERGENCY_OPS}",
        night.ns()
    );
    admin(&line).warned(&["recorded as myapp-"]);
    let changes = night.changes();
    assert_eq!(changes[0]["spec"]["user"], EMERGENCY_OPS);
    assert_eq!(changes[0]["spec"].get("credentialId"), None);
    testbed::schema::assert_valid("EmergencyChangeSpec", &changes[0]["spec"]);
}

/// Until the first release, values were JSON text under other names.
#[test]
fn a_record_in_its_former_form_is_followed_to_its_resolution() {
    let night = Night::new("former", &json!({}));
    night.raise("2Gi").warned(&["recorded as myapp-"]);
    let mut record = night.comes_to("Open");
    let name = record["metadata"]["name"].as_str().unwrap().to_owned();
    let guard = testbed::shared().kubectl().cmd(&people().guard);
    guard
        .args(["delete", "emergencychange", &name, "-n", night.ns()])
        .ok();
    let path = record["spec"]["fields"][0]["path"].clone();
    record["metadata"] = json!({"name": "myapp-former", "namespace": night.ns()});
    record["spec"]["fields"] = json!([
        {"path": path, "declared": "\"128Mi\"", "old": "\"128Mi\"", "new": "\"2Gi\""},
    ]);
    record.as_object_mut().unwrap().remove("status");
    create(&people().guard, &record).ok();
    let stored = night.comes_to("Open");
    assert_eq!(stored["spec"]["fields"], record["spec"]["fields"]);
    let values = break_glass_ok(&people().vera, &["changes", "-n", night.ns(), "--values"]);
    assert!(values.contains("memory: \"2Gi\""), "{values}");
    night
        .scene
        .kubectl("set resources deploy/myapp --limits memory=128Mi")
        .quiet();
    night.comes_to("Reverted");
}

/// Another webhook, called at the same time as the guard, that cannot be reached.
fn refuse_updates(namespace: &str) {
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": format!("frozen-{namespace}")},
        "webhooks": [{
            "name": "frozen.example.com", "admissionReviewVersions": ["v1"],
            "sideEffects": "None", "failurePolicy": "Fail",
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": ["apps"], "apiVersions": ["*"], "operations": ["UPDATE"],
                "resources": ["deployments"]}],
        }],
    });
    admin("create -f -").stdin(webhook.to_string()).ok();
}

#[test]
fn a_change_that_another_webhook_denies_becomes_void() {
    let night = Night::new("void", &json!({}));
    refuse_updates(night.ns());
    eventually("a webhook that refuses the change", || {
        let tried = night.raise("2Gi").arg("--dry-run=server").run();
        tried.says("frozen.example.com").then_some(())
    });
    night.raise("2Gi").refused();
    // The guard allowed it. The API server reports the outcome of a request to no webhook.
    assert_eq!(night.changes().len(), 1);
    let change = night.comes_in_time_to("Void", resolution::GRACE.unsigned_abs() + SLACK);
    let message = change["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("it never appeared in the cluster"),
        "{message}"
    );
}

/// A request that failed and is repeated, by the user or by the API server, is one change.
#[test]
fn a_change_that_is_retried_is_one_record_and_one_alert() {
    let channel = sinks();
    let night = Night::with_alerts("retried", &json!({}), &channel.of_each_sort("retried"));
    refuse_updates(night.ns());
    eventually("a webhook that refuses the change", || {
        let tried = night.raise("2Gi").arg("--dry-run=server").run();
        tried.says("frozen.example.com").then_some(())
    });
    for _ in 0..3 {
        night.raise("2Gi").refused();
    }
    eventually("a record whose alert is noted", || {
        let changes = night.changes();
        assert_eq!(changes.len(), 1, "{changes:?}");
        let announced = &changes[0]["status"]["announced"];
        announced
            .as_array()
            .is_some_and(|told| !told.is_empty())
            .then_some(())
    });
    let ns = night.ns();
    channel.await_post("/retried/pagerduty", &["\"trigger\"", ns]);
    assert_eq!(channel.count("/retried/pagerduty", &["\"trigger\"", ns]), 1);
}

/// An admission policy of the cluster denies the record.
fn refuse_records(namespace: &str) {
    let name = format!("no-records-{namespace}");
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["helm-guard.dev"], "apiVersions": ["*"], "operations": ["CREATE"],
                "resources": ["emergencychanges"],
            }]},
            "validations": [{"expression": format!("request.namespace != '{namespace}'"),
                "message": "no records here"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    for object in [policy, binding] {
        admin("create -f -").stdin(object.to_string()).ok();
    }
    let probe = made_up_record(namespace, "probe");
    eventually("a policy that refuses records", || {
        let tried = admin("create --dry-run=server -f -")
            .arg("--as=system:serviceaccount:helm-guard:helm-guard")
            .stdin(probe.to_string())
            .run();
        tried.says("no records here").then_some(())
    });
}

#[test]
fn an_unrecordable_change_is_denied_if_the_policy_requires_a_record() {
    let night = Night::new("lost-deny", &json!({"onRecordFailure": "Deny"}));
    refuse_records(night.ns());
    night
        .raise("2Gi")
        .denied(&["could not be recorded", "no records here"]);
    let line = night.guard.await_log("the audit line", |line| {
        line["target"] == "audit" && line["emergency"].is_object()
    });
    assert_eq!(line["emergency"]["record"]["object"]["name"], "myapp");
    assert_eq!(line["patch"][0]["value"], "2Gi");
}

#[test]
fn an_unrecordable_change_is_recorded_in_the_audit_line() {
    let night = Night::new("lost-allow", &json!({"requireGrant": true}));
    refuse_records(night.ns());
    create(&people().oscar, &night.grant("lost", 600)).ok();
    night
        .raise("2Gi")
        .warned(&["recorded only in the audit log (INC-4711)"]);
    let line = night.guard.await_log("the audit line", |line| {
        line["target"] == "audit" && line["verdict"] == "break-glass"
    });
    assert_eq!(line["emergency"]["record"]["ticket"], "INC-4711");
    assert!(night.changes().is_empty());
}
