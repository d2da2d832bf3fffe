//! Foreign requirements in the registration, on a real API server: they are removed, or they stay and are
//! reported.

use serde_json::{Value, json};
use testbed::{Guard, HelmVersion};

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

const REGISTRATION: &str = "validatingwebhookconfiguration/helm-guard";
const NAMESPACES: &str = "/webhooks/0/namespaceSelector/matchExpressions";
const GAUGE: &str = "helm_guard_registration_foreign_requirements";

/// A requirement that AKS adds to every webhook, or one that nobody should add.
fn exclusion(key: &str) -> Value {
    json!({"key": key, "operator": "NotIn", "values": ["none"]})
}

/// Appends a requirement, as a controller or a user does.
fn add(scene: &Scene, path: &str, item: &Value) {
    let mut all = scene.at(REGISTRATION, path);
    match all.as_array_mut() {
        Some(items) => items.push(item.clone()),
        None => all = json!([item]),
    }
    let edit = json!([{"op": "add", "path": path, "value": all}]);
    scene.patch(REGISTRATION, "json", &edit).ok();
}

fn timeout(scene: &Scene) -> Value {
    scene.at(REGISTRATION, "/webhooks/0/timeoutSeconds")
}

/// A change that the guard corrects in either mode.
fn edit_timeout(scene: &Scene) {
    let edit = json!([{"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 1}]);
    scene.patch(REGISTRATION, "json", &edit).ok();
    eventually("a corrected timeout", || {
        (timeout(scene) == 3).then_some(())
    });
}

/// Waits until the gauge has this value.
fn reported(guard: &Guard, number: usize) {
    let line = format!("{GAUGE} {number}");
    eventually("the number of foreign requirements", || {
        let metrics = guard.admin_get("/metrics").body;
        metrics.lines().any(|found| found == line).then_some(())
    });
}

fn denies(scene: &Scene) {
    let red = json!({"data": {"colour": "red"}});
    let output = scene.patch("configmap/settings", "merge", &red);
    output.denied(&[".data.colour"]);
}

#[test]
fn foreign_requirements_stay_and_are_reported() {
    let turn = Turn::take();
    let scene = Scene::new("reported", HelmVersion::V4);
    scene.install("settings", &single(CONFIG_MAP));
    let config = Turn::config("Deny").args(["--foreign-requirements", "report"]);
    let guard = turn.start(config);
    scene.settled("configmap/settings", 1);
    reported(&guard, 0);

    add(&scene, NAMESPACES, &exclusion("team"));
    let condition = json!({"name": "not-by-me", "expression": "request.userInfo.username != 'me'"});
    add(&scene, "/webhooks/1/matchConditions", &condition);
    reported(&guard, 2);
    let readiness = guard.admin_get("/readyz");
    assert_eq!(readiness.status, 200);
    for text in [
        "only covers namespaces where team NotIn (none)",
        "\"not-by-me\"",
    ] {
        assert!(readiness.body.contains(text), "{readiness:?}");
    }
    guard.await_log("a warning", |line| {
        line["message"] == "keeping requirements that others added to the registration"
    });

    // The guard corrects the rest, and they stay.
    edit_timeout(&scene);
    let namespaces = scene.at(REGISTRATION, NAMESPACES);
    assert_eq!(namespaces, json!([exclusion("team")]));
    let conditions = scene.at(REGISTRATION, "/webhooks/1/matchConditions");
    assert!(conditions.as_array().unwrap().contains(&condition));
    let corrections = guard.log().into_iter();
    let corrections =
        corrections.filter(|line| line["message"] == "corrected the webhook registration");
    assert_eq!(corrections.count(), 1, "only the timeout was corrected");
    denies(&scene);
    assert!(guard.stop().is_some_and(|status| status.success()));
}

#[test]
fn without_tolerated_labels_the_exclusions_of_a_platform_are_removed() {
    let turn = Turn::take();
    let scene = Scene::new("not-tolerated", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let tolerating = turn.guard("Deny");
    scene.settled("configmap/settings", 1);
    add(&scene, NAMESPACES, &exclusion("control-plane"));
    reported(&tolerating, 1);
    edit_timeout(&scene);
    let namespaces = scene.at(REGISTRATION, NAMESPACES);
    assert_eq!(namespaces, json!([exclusion("control-plane")]));
    assert!(tolerating.stop().is_some_and(|status| status.success()));

    let guard = turn.start(Turn::config("Deny").args(["--tolerate-namespace-requirements="]));
    let is_removed = || (scene.at(REGISTRATION, NAMESPACES) == Value::Null).then_some(());
    eventually("a removed exclusion", is_removed);
    add(&scene, NAMESPACES, &exclusion("control-plane"));
    eventually("an exclusion that is removed again", is_removed);
    reported(&guard, 0);
    denies(&scene);
    assert!(guard.stop().is_some_and(|status| status.success()));
}
