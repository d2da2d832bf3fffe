//! Ways to write: conflicts of server-side apply, replacing, taking ownership, switching between the Helm
//! versions.

use rstest::rstest;
use serde_json::json;
use testbed::{Chart, HelmVersion, shared};

use super::steps::{
    assert_unhindered, force_conflicts, foreign_colour_is_denied, paint, settings, status,
};
use crate::{
    charts::myapp,
    scene::{Scene, Screen},
    world::world,
};

#[test]
fn the_api_server_reports_conflicts_and_forcing_them_is_allowed() {
    world();
    let scene = Scene::new("conflict", HelmVersion::V4);
    let chart = scene.install("settings", &settings());
    let drift = json!({"data": {"colour": "red"}});
    scene.drift("configmap/settings", "merge", &drift);
    let upgrade = format!("upgrade settings {} --set colour=green", chart.display());
    let output = scene.helm(&upgrade).refused();
    assert!(output.says("conflict"), "{output:?}");
    assert!(!output.says("helm-guard"), "{output:?}");
    assert_eq!(status(&scene, "settings", 2), "failed");
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "red");
    foreign_colour_is_denied(&scene, 2);

    scene.helm(&upgrade).arg("--force-conflicts").ok();
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "green");
    foreign_colour_is_denied(&scene, 3);
    assert_unhindered(&scene);
}

#[rstest]
fn fields_applied_by_others_do_not_conflict_and_survive(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("other-fields", version);
    let chart = scene.install("settings", &settings());
    let chart = chart.display();
    let other =
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {more: yes-1}}";
    let apply = "apply --server-side --field-manager=other -f -";
    scene.kubectl(apply).stdin(other).quiet();
    scene
        .helm(&format!("upgrade settings {chart} --set colour=green"))
        .ok();
    scene.helm("rollback settings 1").ok();
    let data = json!({"colour": "blue", "more": "yes-1"});
    assert_eq!(scene.at("configmap/settings", "/data"), data);
    foreign_colour_is_denied(&scene, 3);
    assert_unhindered(&scene);
}

/// Scenario 18, with a complete application and with drift in declared fields.
#[rstest]
#[case::helm3(HelmVersion::V3, "", "--force")]
#[case::helm4(
    HelmVersion::V4,
    "--server-side=false",
    "--force-replace --server-side=false"
)]
fn a_replacing_upgrade_undoes_all_drift(
    #[case] version: HelmVersion,
    #[case] install: &str,
    #[case] upgrade: &str,
) {
    world();
    let scene = Scene::new("replace", version);
    let chart = shared().chart(&myapp("1.0.0"));
    let chart = chart.display();
    scene.helm(&format!("install myapp {chart} {install}")).ok();
    let drift = json!({"spec": {"replicas": 1, "template": {"spec": {"containers": [
        {"name": "server", "image": "nginx:9"},
        {"name": "helper", "image": "helper"},
    ]}}}});
    scene.drift("deployment/myapp", "strategic", &drift);
    scene
        .helm(&format!(
            "upgrade myapp {chart} {upgrade} --set colour=green"
        ))
        .ok();
    let containers = scene.at("deployment/myapp", "/spec/template/spec/containers");
    assert_eq!(containers.as_array().map(Vec::len), Some(1), "{containers}");
    assert_eq!(containers[0]["image"], "nginx:2.0.0");
    assert_eq!(scene.at("deployment/myapp", "/spec/replicas"), 3);
    scene.settled("deployment/myapp", 2);
    scene
        .kubectl("set image deployment/myapp server=nginx:9")
        .denied(&["declared \"nginx:2.0.0\""]);
    assert_unhindered(&scene);
}

/// Two releases that both claim one object, as after a takeover.
#[rstest]
fn an_object_of_two_releases_may_have_either_value_and_no_third(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("two-claims", version);
    let chart = scene.install("old", &settings());
    let chart = chart.display();
    scene
        .helm(&format!(
            "install new {chart} --take-ownership --set colour=red"
        ))
        .args(force_conflicts(version))
        .ok();
    scene.settled("configmap/settings", 1);
    paint(&scene, "foreign").denied(&["release \"new\"", "release \"old\""]);
    paint(&scene, "blue").quiet();
    paint(&scene, "red").quiet();
    paint(&scene, "foreign").denied(&[]);
    // Each continues with its own values.
    scene
        .helm(&format!(
            "upgrade new {chart} --take-ownership --set colour=green"
        ))
        .args(force_conflicts(version))
        .ok();
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "green");
    paint(&scene, "red").denied(&[]);
    // Only the new owner declares the object once the old one's history ends.
    scene.oncall("delete secret sh.helm.release.v1.old.v1").ok();
    scene.helm("uninstall new").ok();
    assert!(!scene.holds("configmap/settings"));
    assert_unhindered(&scene);
}

/// Scenario 17, and back again: the managed fields change owners at each step.
#[test]
fn a_release_may_move_to_server_side_apply_and_back_over_drift() {
    world();
    let scene = Scene::new("there-and-back", HelmVersion::V3);
    let application = |version: &str| -> Chart { myapp(version) };
    let chart = scene.install("myapp", &application("1.0.0"));
    let chart = chart.display();
    let helm4 = |line: &str| {
        let helm = shared().helm(HelmVersion::V4).cmd(shared().alice());
        helm.args(["-n", scene.ns.name()])
            .args(line.split_whitespace())
    };
    let drift = json!({"spec": {"replicas": 1}});
    let foreign = || {
        scene
            .kubectl("set image deployment/myapp server=foreign:1")
            .denied(&["declared "])
    };
    scene.drift("deployment/myapp", "merge", &drift);
    helm4(&format!(
        "upgrade myapp {chart} --server-side=true --force-conflicts --set image=nginx:2.1.0"
    ))
    .ok();
    assert_eq!(scene.record("myapp", 2)["apply_method"], "ssa");
    assert_eq!(scene.at("deployment/myapp", "/spec/replicas"), 3);
    foreign();

    scene.drift("deployment/myapp", "merge", &drift);
    scene
        .helm(&format!("upgrade myapp {chart} --set image=nginx:2.2.0"))
        .ok();
    assert_eq!(scene.at("deployment/myapp", "/spec/replicas"), 3);
    foreign();
    helm4("rollback myapp 2 --server-side=true --force-conflicts").ok();
    scene.helm("rollback myapp 1").ok();
    foreign();
    helm4("uninstall myapp").ok();
    assert_unhindered(&scene);
}
