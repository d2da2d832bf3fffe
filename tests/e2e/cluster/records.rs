//! Release records as they occur in clusters.

use rstest::rstest;
use serde_json::json;
use testbed::{HelmVersion, shared};

use super::slip::force_conflicts;
use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, record_name},
    world::world,
};

fn assert_guarded(scene: &Scene, revision: u32) {
    scene.settled("configmap/settings", revision);
    scene
        .patch(
            "configmap/settings",
            "merge",
            &json!({"data": {"colour": "red"}}),
        )
        .denied(&[&format!("(revision {revision}, chart single-1.0.0)")]);
}

/// Scenario 11.
#[rstest]
fn a_release_recorded_in_config_maps_is_guarded(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("configmaps", version);
    let chart = shared().chart(&single(CONFIG_MAP));
    let chart = chart.display();
    let helm = |line: String| scene.helm(&line).env("HELM_DRIVER", "configmap");
    helm(format!("install settings {chart}")).ok();
    assert_guarded(&scene, 1);
    helm(format!("upgrade settings {chart} --set a=b")).ok();
    assert_guarded(&scene, 2);
    helm("rollback settings 1".to_owned()).ok();
    helm("uninstall settings".to_owned()).ok();
    assert!(!scene.holds("configmap/settings"));
}

/// Scenarios 12 and 13, for valid records. Both Helms wrote such records.
#[rstest]
fn an_uncompressed_record_is_read(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("plain", version);
    let chart = scene.install("settings", &single(CONFIG_MAP));
    scene.rewrite_record("settings", 1, |body| {
        body["info"]["description"] = "plain".into();
    });
    assert_guarded(&scene, 1);
    scene
        .helm(&format!("upgrade settings {}", chart.display()))
        .ok();
    assert_guarded(&scene, 2);
}

/// Scenario 14.
#[test]
fn custom_and_missing_record_labels_change_nothing() {
    world();
    let scene = Scene::new("labels", HelmVersion::V4);
    let chart = shared().chart(&single(CONFIG_MAP));
    scene
        .helm(&format!(
            "install settings {} --labels team=checkout",
            chart.display()
        ))
        .ok();
    let record = record_name("settings", 1);
    scene
        .kubectl(&format!("label secret {record} createdAt-"))
        .ok();
    assert_guarded(&scene, 1);
}

/// Scenario 37.
#[rstest]
fn a_release_with_history_max_1_is_guarded(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("pruned", version);
    let chart = scene.install("settings", &single(CONFIG_MAP));
    let chart = chart.display();
    for _ in 0..3 {
        scene
            .helm(&format!("upgrade settings {chart} --history-max 1"))
            .ok();
    }
    assert!(!scene.holds(&format!("secret/{}", record_name("settings", 2))));
    assert_guarded(&scene, 4);
}

/// Scenario 29.
#[rstest]
fn an_uninstalled_release_with_history_is_not_guarded_until_its_name_is_reused(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("history", version);
    let chart = scene.install("settings", &single(CONFIG_MAP));
    assert_guarded(&scene, 1);
    scene.helm("uninstall settings --keep-history").ok();
    assert!(!scene.holds("configmap/settings"));
    scene
        .helm(&format!("install settings {} --replace", chart.display()))
        .ok();
    assert_guarded(&scene, 2);
}

/// Scenario 21: Helm updates the status of the old revision before the new one, so for a moment none is
/// deployed.
#[test]
fn the_pending_revision_counts_while_no_revision_is_deployed() {
    world();
    let scene = Scene::new("in-transit", HelmVersion::V4);
    scene.install("settings", &single(CONFIG_MAP));
    let green = shared().chart(&single(&CONFIG_MAP.replace("blue", "green")));
    let upgrade = format!("upgrade settings {}", green.display());
    scene
        .helm(&upgrade)
        .args(force_conflicts(HelmVersion::V4))
        .ok();
    scene.set_status("settings", 2, "pending-upgrade");
    assert_eq!(scene.record("settings", 1)["info"]["status"], "superseded");
    scene.settled("configmap/settings", 2);
    let set = |colour: &str| {
        let patch = json!({"data": {"colour": colour}});
        scene.patch("configmap/settings", "merge", &patch)
    };
    set("red").denied(&["(revisions 2, 1, "]);
    set("green").quiet();
}

/// Scenario 28.
#[test]
fn during_an_uninstall_objects_may_be_deleted_but_not_changed() {
    world();
    let scene = Scene::new("uninstalling", HelmVersion::V4);
    let other = CONFIG_MAP.replace("settings", "other");
    scene.install("settings", &single(&format!("{CONFIG_MAP}---\n{other}")));
    assert_guarded(&scene, 1);
    scene.set_status("settings", 1, "uninstalling");
    scene
        .patch(
            "configmap/settings",
            "merge",
            &json!({"data": {"colour": "red"}}),
        )
        .denied(&[]);
    scene.kubectl("delete configmap settings").quiet();
    scene.set_status("settings", 1, "deployed");
    scene.settled("configmap/other", 1);
    scene.kubectl("delete configmap other").denied(&[]);
}

#[test]
fn a_release_reinstalled_under_a_new_name_is_guarded_under_it() {
    world();
    let scene = Scene::new("renamed", HelmVersion::V3);
    let chart = scene.install("before", &single(CONFIG_MAP));
    scene.helm("uninstall before").ok();
    scene
        .helm(&format!("install after {}", chart.display()))
        .ok();
    scene.settled("configmap/settings", 1);
    scene
        .kubectl("delete configmap settings")
        .denied(&["declared by Helm release \"after\""]);
}
