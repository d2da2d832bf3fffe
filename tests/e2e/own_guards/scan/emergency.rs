//! **Emergency**: an open `EmergencyChange` in the cluster explains a difference.

use std::path::{Path, PathBuf};

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{HelmVersion, Invocation, shared};

use super::unguarded::Unguarded;
use crate::deployed;

/// The account of the guard: admission policies let nobody else write the records of emergencies.
fn guard() -> PathBuf {
    deployed::install();
    shared()
        .service_account("helm-guard", "helm-guard")
        .unwrap()
}

/// An `EmergencyChange` of an object of the release.
fn change(unguarded: &Unguarded, object: &Value, made: &Value) -> Value {
    let ns = unguarded.scene.ns.name();
    let mut spec = json!({
        "user": "oncall@example.com", "at": "2026-01-01T00:00:00Z", "requestUid": "u",
        "object": object,
        "release": {"namespace": ns, "name": "myapp", "chart": "myapp-1.0.0", "revision": 3},
        "reconcileBy": "2030-01-01T00:00:00Z",
    });
    spec["object"]["namespace"] = json!(ns);
    let fields = made.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(fields);
    json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "EmergencyChange",
        "metadata": {"name": "myapp-1a2b", "namespace": ns}, "spec": spec,
    })
}

fn create(unguarded: &Unguarded, guard: &Path, change: &Value) -> Invocation {
    let scene = &unguarded.scene;
    scene
        .kubectl_as(guard, "create -f -")
        .stdin(change.to_string())
}

#[rstest]
fn an_open_emergency_change_explains_the_value_that_it_set(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let guard = guard();
    let unguarded = Unguarded::new("scan-emergency", version);
    let scene = &unguarded.scene;
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "myapp"});
    let made = json!({
        "operation": "Scale",
        "fields": [{"path": ".spec.replicas", "declared": 3, "live": 3, "requested": 7}],
    });
    create(&unguarded, &guard, &change(&unguarded, &deployment, &made)).ok();
    assert_eq!(unguarded.found(), [""; 0]);

    scene.kubectl("scale deployment/myapp --replicas=7").ok();
    let of = |class: &str| {
        let consequence = unguarded.either("Reverted", "Blocks");
        [format!(
            "{class} Deployment/myapp .spec.replicas by kubectl: {consequence}"
        )]
    };
    assert_eq!(unguarded.found(), of("Emergency"));
    assert_eq!(
        unguarded.finding()["emergencyChange"],
        format!("{}/myapp-1a2b", scene.ns)
    );
    // It explains no other value.
    scene.kubectl("scale deployment/myapp --replicas=8").ok();
    assert_eq!(unguarded.found(), of("Changed"));
    scene.kubectl("scale deployment/myapp --replicas=7").ok();
    unguarded.confirm(&of("Emergency"));

    // Once it is resolved, it explains nothing.
    scene.kubectl("scale deployment/myapp --replicas=7").ok();
    let mut resolved = scene.get("emergencychange/myapp-1a2b");
    resolved["status"] = json!({"state": "Reverted"});
    scene
        .kubectl_as(&guard, "replace --subresource=status -f -")
        .stdin(resolved.to_string())
        .ok();
    unguarded.confirm(&of("Changed"));
    unguarded.repair();
}

#[rstest]
fn an_open_emergency_change_explains_the_object_that_it_deleted(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let guard = guard();
    let unguarded = Unguarded::new("scan-deleted", version);
    let service = json!({"apiVersion": "v1", "kind": "Service", "name": "myapp"});
    let made = json!({"operation": "Delete"});
    create(&unguarded, &guard, &change(&unguarded, &service, &made)).ok();
    unguarded.scene.kubectl("delete service myapp").ok();
    unguarded.confirm(&["Emergency Service/myapp: Recreated"]);
}
