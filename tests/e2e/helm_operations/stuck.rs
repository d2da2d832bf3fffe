//! Releases stuck in a pending state, and how to recover them.

use rstest::rstest;
use testbed::HelmVersion;

use super::steps::{
    assert_unhindered, force_conflicts, foreign_colour_is_denied, paint, settings, status,
};
use crate::{
    scene::{Scene, Screen, record_name},
    world::world,
};

/// Scenarios 21 and 26: a pending release allows nothing else, and has two active revisions.
#[rstest]
#[case::upgrade("pending-upgrade", true)]
#[case::rollback("pending-rollback", true)]
#[case::upgrade_with_deleted_record("pending-upgrade", false)]
#[case::rollback_with_deleted_record("pending-rollback", false)]
fn a_release_stuck_in_an_upgrade_is_guarded_and_can_be_recovered(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
    #[case] stuck: &str,
    #[case] by_rollback: bool,
) {
    world();
    let scene = Scene::new(stuck, version);
    let chart = scene.install("settings", &settings());
    let upgrade = format!("upgrade settings {}", chart.display());
    scene.helm(&format!("{upgrade} --set colour=green")).ok();
    scene.set_status("settings", 1, "deployed");
    scene.set_status("settings", 2, stuck);
    foreign_colour_is_denied(&scene, 2);
    scene
        .kubectl("delete configmap settings")
        .denied(&["(revisions 2, 1, "]);
    for colour in ["blue", "green"] {
        paint(&scene, colour).quiet();
    }
    let output = scene.helm(&upgrade).refused();
    assert!(output.says("in progress"), "{output:?}");

    let newest = if by_rollback {
        let force = force_conflicts(version);
        scene.helm("rollback settings 1").args(force).ok();
        3
    } else {
        let pending = record_name("settings", 2);
        let delete = format!("delete secret {pending}");
        let instead = format!("helm rollback settings -n {}", scene.ns);
        scene.kubectl(&delete).denied(&[&instead]);
        scene.oncall(&delete).ok();
        let force = force_conflicts(version);
        scene.helm(&upgrade).args(force).ok();
        2
    };
    assert_eq!(status(&scene, "settings", newest), "deployed");
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "blue");
    foreign_colour_is_denied(&scene, newest);
    assert_unhindered(&scene);
}

#[rstest]
fn a_release_stuck_in_its_install_is_guarded_and_can_be_uninstalled(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("pending-install", version);
    let chart = scene.install("settings", &settings());
    scene.set_status("settings", 1, "pending-install");
    foreign_colour_is_denied(&scene, 1);
    scene.kubectl("delete configmap settings").denied(&[]);
    let output = scene
        .helm(&format!("upgrade settings {}", chart.display()))
        .refused();
    assert!(output.says("in progress"), "{output:?}");
    scene.helm("uninstall settings").ok();
    assert!(!scene.holds("configmap/settings"));
    assert_unhindered(&scene);
}

/// The common recipes for a release that is pending forever: both lose the record that the guard uses.
#[rstest]
fn a_release_stuck_in_its_install_keeps_its_record_and_recovers_by_a_rollback(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("only-record", version);
    let chart = scene.install("settings", &settings());
    scene.set_status("settings", 1, "pending-install");
    foreign_colour_is_denied(&scene, 1);
    let record = record_name("settings", 1);
    let way_out = format!("helm rollback settings -n {} 1;", scene.ns);
    scene
        .kubectl(&format!(
            "label secret {record} status=deployed --overwrite"
        ))
        .denied(&[".metadata.labels.status"]);
    scene
        .kubectl(&format!("delete secret {record} --wait=false"))
        .denied(&[&way_out, "helm uninstall settings"]);
    let path = format!("/api/v1/namespaces/{}/secrets/{record}", scene.ns);
    scene
        .kubectl(&format!("delete --raw {path}"))
        .denied(&[&way_out]);
    assert!(scene.holds(&format!("secret/{record}")));
    let upgrade = format!("upgrade settings {}", chart.display());
    assert!(scene.helm(&upgrade).refused().says("in progress"));
    scene
        .helm("rollback settings 1")
        .args(force_conflicts(version))
        .ok();
    foreign_colour_is_denied(&scene, 2);
    scene.helm(&upgrade).ok();
    assert_unhindered(&scene);
}

/// Without its record the release does not exist; the next install adopts its object.
#[rstest]
fn a_release_without_its_pending_install_record_may_be_installed_again(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("forgotten", version);
    let chart = scene.install("settings", &settings());
    scene.set_status("settings", 1, "pending-install");
    let pending = record_name("settings", 1);
    scene.oncall(&format!("delete secret {pending}")).ok();
    scene
        .helm(&format!(
            "install settings {} --set colour=green",
            chart.display()
        ))
        .args(force_conflicts(version))
        .ok();
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "green");
    foreign_colour_is_denied(&scene, 1);
    assert_unhindered(&scene);
}

/// Helm prunes the history before it starts, so only the deployed record is left.
#[rstest]
fn with_history_max_1_failures_and_rollbacks_are_allowed(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("one-record", version);
    let refused = "\
{{- if .Values.broken }}
apiVersion: v1
kind: Service
metadata: {name: broken}
spec: {type: NodePort, ports: [{port: 80, nodePort: 1}]}
{{- end }}
";
    let chart = settings()
        .values("colour: blue\nbroken: false\n")
        .template("broken.yaml", refused);
    let chart = scene.install("settings", &chart);
    let upgrade = format!("upgrade settings {} --history-max 1", chart.display());
    for revision in [2, 3] {
        scene
            .helm(&format!("{upgrade} --set colour=green,broken=true"))
            .refused();
        assert_eq!(status(&scene, "settings", revision), "failed");
        foreign_colour_is_denied(&scene, revision);
    }
    scene.helm("rollback settings 1 --history-max 1").ok();
    foreign_colour_is_denied(&scene, 4);
    scene.helm(&format!("{upgrade} --set colour=green")).ok();
    assert!(!scene.holds(&format!("secret/{}", record_name("settings", 3))));
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "green");
    foreign_colour_is_denied(&scene, 5);
    assert_unhindered(&scene);
}

/// A release name with kept history, reused, and rolled back into that history.
#[rstest]
fn a_replaced_release_may_be_rolled_back_to_its_earlier_history(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("replaced", version);
    let chart = scene.install("settings", &settings());
    let chart = chart.display();
    scene.helm("uninstall settings --keep-history").ok();
    assert_eq!(status(&scene, "settings", 1), "uninstalled");
    scene
        .helm(&format!(
            "install settings {chart} --replace --set colour=green"
        ))
        .ok();
    foreign_colour_is_denied(&scene, 2);
    scene.helm("rollback settings 1").ok();
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "blue");
    foreign_colour_is_denied(&scene, 3);
    scene.helm("uninstall settings").ok();
    assert_unhindered(&scene);
}
