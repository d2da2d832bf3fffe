//! Story 5: an upgrade that is killed half-way, or fails half-way.

use rstest::rstest;
use testbed::HelmVersion;

use super::slip::force_conflicts;
use crate::{
    charts::myapp,
    scene::{Scene, Screen, eventually},
    world::world,
};

const IMAGE: &str = "/spec/template/spec/containers/0/image";

fn set_image(scene: &Scene, image: &str) -> testbed::Invocation {
    scene.kubectl(&format!("set image deployment/myapp server={image}"))
}

/// Scenarios 21, 23 and 26: a pending release allows nothing else, however long it stays pending.
#[rstest]
fn after_a_killed_upgrade_only_the_values_of_both_revisions_are_allowed(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("killed", version);
    let chart = scene.install("myapp", &myapp("1.0.0"));
    let chart = chart.display();
    // No load balancer ever appears, so Helm waits after it has sent everything.
    let mut helm = scene
        .helm(&format!(
            "upgrade myapp {chart} --wait --set image=nginx:2.1.0,serviceType=LoadBalancer"
        ))
        .spawn();
    eventually("the new image, sent by Helm", || {
        (scene.at("deployment/myapp", IMAGE) == "nginx:2.1.0").then_some(())
    });
    helm.kill().unwrap();
    helm.wait().unwrap();
    assert_eq!(
        scene.record("myapp", 2)["info"]["status"],
        "pending-upgrade"
    );

    set_image(&scene, "nginx:2.0.0").quiet();
    set_image(&scene, "nginx:2.1.0").quiet();
    set_image(&scene, "nginx:9").denied(&[
        "(revisions 2, 1, chart myapp-1.0.0):",
        "live \"nginx:2.1.0\", requested \"nginx:9\"",
    ]);
    scene.kubectl("delete deployment/myapp").denied(&[]);
    scene
        .helm("rollback myapp 1")
        .args(force_conflicts(version))
        .ok();
    assert_eq!(scene.at("deployment/myapp", IMAGE), "nginx:2.0.0");
    scene
        .helm(&format!("upgrade myapp {chart} --set image=nginx:2.2.0"))
        .ok();
    assert_eq!(scene.at("deployment/myapp", IMAGE), "nginx:2.2.0");
}

/// Scenario 23.
#[rstest]
fn after_a_failed_upgrade_only_the_values_of_both_revisions_are_allowed(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("failed", version);
    let chart = scene.install("myapp", &myapp("1.0.0"));
    let chart = chart.display();
    scene
        .helm(&format!(
            "upgrade myapp {chart} --set image=nginx:2.1.0,broken=true"
        ))
        .refused();
    assert_eq!(scene.record("myapp", 2)["info"]["status"], "failed");
    assert_eq!(scene.at("deployment/myapp", IMAGE), "nginx:2.1.0");
    scene.settled("deployment/myapp", 2);
    set_image(&scene, "nginx:9").denied(&["(revisions 2, 1, "]);
    set_image(&scene, "nginx:2.0.0").quiet();
    set_image(&scene, "nginx:2.1.0").quiet();
    scene
        .helm(&format!("upgrade myapp {chart} --set image=nginx:2.2.0"))
        .args(force_conflicts(version))
        .ok();
    assert_eq!(scene.at("deployment/myapp", IMAGE), "nginx:2.2.0");
}

/// Scenario 24.
#[rstest]
#[case::helm3(HelmVersion::V3, "--atomic")]
#[case::helm4(HelmVersion::V4, "--rollback-on-failure")]
fn the_rollback_of_a_failed_upgrade_is_allowed(#[case] version: HelmVersion, #[case] flag: &str) {
    world();
    let scene = Scene::new("atomic", version);
    let chart = scene.install("myapp", &myapp("1.0.0"));
    let chart = chart.display();
    let output = scene
        .helm(&format!(
            "upgrade myapp {chart} {flag} --timeout=90s --set image=nginx:2.1.0,broken=true,extra=true"
        ))
        .refused();
    assert!(!output.says("helm-guard"), "{output:?}");
    assert!(output.says("rolled back"), "{output:?}");
    assert_eq!(scene.at("deployment/myapp", IMAGE), "nginx:2.0.0");
    assert_eq!(scene.record("myapp", 3)["info"]["status"], "deployed");
    assert!(!scene.holds("configmap/myapp-extra"));
}
