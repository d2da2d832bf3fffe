//! What the leader removes: emergency changes and grants that ended more than 30 days ago, and nothing else.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::night::{Night, OSCAR, admin, create, people};
use crate::scene::{Scene, eventually};

fn days_ago(days: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(24 * days)
}

/// A record of a change that was reverted then.
fn reverted(scene: &Scene, name: &str, days: i64) {
    let at = days_ago(days);
    let change = json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "EmergencyChange",
        "metadata": {"name": name, "namespace": scene.ns.name()},
        "spec": {
            "user": "ada", "at": at, "requestUid": name, "operation": "Update",
            "object": {"apiVersion": "apps/v1", "kind": "Deployment",
                "namespace": scene.ns.name(), "name": "myapp"},
            "release": {"name": "myapp", "namespace": scene.ns.name(), "chart": "myapp-1.0.0", "revision": 1},
            "fields": [], "reconcileBy": at,
        },
    });
    // Only the guard may write records.
    let by_guard = |line: &str| scene.kubectl_as(&people().guard, line);
    let created = by_guard("create -o json -f -")
        .stdin(change.to_string())
        .ok();
    let mut created: Value = serde_json::from_str(&created.stdout).unwrap();
    created["status"] = json!({"state": "Reverted", "since": at, "message": "it was undone"});
    by_guard("replace --subresource=status -f -")
        .stdin(created.to_string())
        .ok();
}

/// A grant that expired then. The guard would not let anyone create it.
fn expired(night: &str, name: &str, days: i64) {
    let grant: Value = json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "BreakGlassGrant",
        "metadata": {"name": name},
        "spec": {
            "subjects": {"users": ["ada"]}, "scope": {"namespaces": [night]},
            "requestedBy": OSCAR, "expiresAt": days_ago(days),
        },
    });
    create(&people().oscar, &grant).ok();
}

#[test]
fn what_ended_over_thirty_days_ago_is_removed() {
    let night = Night::new("retention", &json!({}));
    let ns = night.ns().to_owned();
    let grants = ["long-ago", "lately"].map(|name| format!("{ns}-{name}"));
    let night = night.restart_after(|scene| {
        reverted(scene, "long-ago", 31);
        reverted(scene, "lately", 29);
        expired(&ns, &grants[0], 31);
        expired(&ns, &grants[1], 29);
    });
    let names = || -> Vec<String> {
        let changes = night.changes();
        let names = changes
            .iter()
            .map(|change| change["metadata"]["name"].as_str());
        names.map(|name| name.unwrap().to_owned()).collect()
    };
    eventually("the removal of the older change", || {
        (names() == ["lately"]).then_some(())
    });
    let is_there = |grant: &str| {
        let line = format!("get breakglassgrant {grant} --ignore-not-found -o name");
        !admin(&line).ok().stdout.is_empty()
    };
    eventually("the removal of the older grant", || {
        (!is_there(&grants[0])).then_some(())
    });
    assert!(is_there(&grants[1]));
    let removed = |line: &&Value| line["message"] == "garbage-collected expired object";
    assert_eq!(night.guard.log().iter().filter(removed).count(), 2);
}
