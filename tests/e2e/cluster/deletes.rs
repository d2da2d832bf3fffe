//! Deletions of declared objects, with every method of kubectl.

use serde_json::json;
use testbed::HelmVersion;

use crate::{
    charts::{CONFIG_MAP, myapp, single},
    scene::{Scene, Screen},
    world::world,
};

fn scene(stem: &str) -> Scene {
    world();
    Scene::new(stem, HelmVersion::V4)
}

/// Scenarios 50 and 51.
#[test]
fn every_way_to_delete_a_declared_object_is_denied() {
    let scene = scene("delete");
    scene.install("myapp", &myapp("1.0.0"));
    scene.settled("deployment/myapp", 1);
    for line in [
        "delete deployment myapp",
        "delete deployment myapp --dry-run=server",
        "delete deployment myapp --now",
        "delete deployment myapp --grace-period=0 --force",
        "delete deployment myapp --cascade=orphan",
        "delete deployment myapp --cascade=foreground",
        "delete deployment -l app.kubernetes.io/managed-by=Helm",
        "delete deployment --all",
    ] {
        scene
            .kubectl(line)
            .denied(&["Deployment \"myapp\" is declared by Helm release \"myapp\""]);
    }
    assert!(scene.holds("deployment/myapp"));
    assert_eq!(
        scene.at("deployment/myapp", "/metadata/deletionTimestamp"),
        json!(null)
    );
}

/// Scenario 50: each object of a collection is evaluated, although the request names none.
#[test]
fn delete_collection_removes_only_undeclared_objects() {
    let scene = scene("collection");
    scene.install("settings", &single(CONFIG_MAP));
    scene.kubectl("create configmap scratch").ok();
    scene.settled("configmap/settings", 1);
    let path = format!("delete --raw /api/v1/namespaces/{}/configmaps", scene.ns);
    scene
        .kubectl(&path)
        .denied(&["ConfigMap \"settings\" is declared by Helm release \"settings\""]);
    assert!(scene.holds("configmap/settings"));
    // The API server deletes in the order of names, and stops at the denial.
    assert!(!scene.holds("configmap/scratch"));
}

/// Scenario 52.
#[test]
fn a_forced_replace_is_denied_before_anything_is_deleted() {
    let scene = scene("replace");
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    let uid = scene.at("configmap/settings", "/metadata/uid");
    scene
        .kubectl("replace --force -f -")
        .stdin(CONFIG_MAP)
        .denied(&[]);
    assert_eq!(scene.at("configmap/settings", "/metadata/uid"), uid);
}

/// Scenario 51: an object that is being deleted may lose its finalizers, but not change otherwise.
#[test]
fn an_object_being_deleted_may_only_lose_its_finalizers() {
    let scene = scene("finalizers");
    scene.install("settings", &single(CONFIG_MAP));
    let finalizer = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    scene
        .patch("configmap/settings", "merge", &finalizer)
        .quiet();
    scene.oncall("delete configmap settings --wait=false").ok();
    scene
        .patch(
            "configmap/settings",
            "merge",
            &json!({"data": {"colour": "red"}}),
        )
        .denied(&[".data.colour"]);
    let none = json!({"metadata": {"finalizers": null}});
    scene.patch("configmap/settings", "merge", &none).quiet();
    assert!(!scene.holds("configmap/settings"));
}
