//! Story 1: a new colleague scales a Deployment to zero.

use rstest::rstest;
use testbed::HelmVersion;

use crate::{
    charts::myapp,
    scene::{Scene, Screen},
    world::{RUNBOOK, world},
};

/// Scenario 53.
#[rstest]
fn scaling_to_zero_is_denied_with_the_message_of_the_story(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("slip", version);
    let chart = scene.install("myapp", &myapp("1.2.0"));
    for image in ["nginx:2.0.1", "nginx:2.0.2"] {
        let chart = chart.display();
        scene
            .helm(&format!("upgrade myapp {chart} --set image={image}"))
            .ok();
    }
    scene.settled("deployment/myapp", 3);
    let output = scene
        .kubectl("scale --replicas=0 deployment/myapp")
        .denied(&[]);
    let ns = &scene.ns;
    let expected = format!(
        "Error from server (Forbidden): admission webhook \"scale.helm-guard.dev\" denied the request: \n\
         Deployment \"myapp\" is declared by Helm release \"myapp\" in namespace \"{ns}\" (revision 3, chart myapp-1.2.0):\n  \
         .spec.replicas: declared 3, live 3, requested 0\n\
         Change the chart or its values and run: helm upgrade myapp <chart> -n {ns}\n\
         In an emergency: {RUNBOOK}, or helm-guard break-glass open -n {ns} --reason <reason>\n"
    );
    assert_eq!(output.stderr, expected);
    assert_eq!(scene.at("deployment/myapp", "/spec/replicas"), 3);
}

#[rstest]
fn a_rollback_restores_a_deployment_scaled_to_zero(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("site-down", version);
    scene.install("myapp", &myapp("1.2.0"));
    scene
        .oncall("scale --replicas=0 deployment/myapp")
        .warned(&["break-glass change by oncall@example.com recorded"]);
    assert_eq!(scene.at("deployment/myapp", "/spec/replicas"), 0);
    scene
        .helm("rollback myapp 1")
        .args(force_conflicts(version))
        .ok();
    assert_eq!(scene.at("deployment/myapp", "/spec/replicas"), 3);
}

/// Helm 4 uses server-side apply, in which a field that somebody else wrote is a conflict.
pub fn force_conflicts(version: HelmVersion) -> &'static [&'static str] {
    match version {
        HelmVersion::V3 => &[],
        HelmVersion::V4 => &["--force-conflicts"],
    }
}

#[rstest]
fn scaling_to_the_declared_or_undeclared_replicas_is_allowed() {
    world();
    let scene = Scene::new("scale", HelmVersion::V4);
    scene.install("myapp", &myapp("1.2.0"));
    drift_replicas(&scene, 1);
    scene.kubectl("scale --replicas=3 deployment/myapp").quiet();
    scene.kubectl("create deployment free --image=nginx").ok();
    scene.kubectl("scale --replicas=4 deployment/free").quiet();
}

fn drift_replicas(scene: &Scene, replicas: u32) {
    scene
        .oncall(&format!("scale --replicas={replicas} deployment/myapp"))
        .ok();
}
