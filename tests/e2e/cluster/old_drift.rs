//! Story 4: three weeks of edits from before the guard was installed.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::HelmVersion;

use super::slip::force_conflicts;
use crate::{
    charts::myapp,
    scene::{Scene, Screen, note},
    world::world,
};

const MEMORY: &str = "/spec/template/spec/containers/0/resources/limits/memory";

fn memory(limit: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [
        {"name": "server", "resources": {"limits": {"memory": limit}}},
    ]}}}})
}

/// Scenarios 46, 47 and 48.
#[rstest]
fn old_drift_blocks_nothing_else_and_may_be_corrected_but_not_get_worse(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("drift", version);
    scene.install("myapp", &myapp("1.0.0"));
    scene.drift("deployment/myapp", "strategic", &memory("512Mi"));
    scene.settled("deployment/myapp", 1);

    scene
        .kubectl("annotate deployment/myapp team=checkout")
        .quiet();
    scene.kubectl("rollout restart deployment/myapp").quiet();
    scene
        .patch("deployment/myapp", "strategic", &memory("1Gi"))
        .denied(&[
            ".spec.template.spec.containers[name=server].resources.limits.memory: \
             declared \"128Mi\", live \"512Mi\", requested \"1Gi\"",
        ]);
    assert_eq!(scene.at("deployment/myapp", MEMORY), "512Mi");
    scene
        .patch("deployment/myapp", "strategic", &memory("128Mi"))
        .quiet();
    assert_eq!(scene.at("deployment/myapp", MEMORY), "128Mi");
}

#[rstest]
fn a_rollback_over_drift_is_allowed_and_converges(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("converge", version);
    let chart = scene.install("myapp", &myapp("1.0.0"));
    let chart = chart.display();
    scene
        .helm(&format!(
            "upgrade myapp {chart} --set memory=256Mi,colour=red"
        ))
        .ok();
    scene.drift("deployment/myapp", "strategic", &memory("512Mi"));
    scene
        .helm("rollback myapp 1")
        .args(force_conflicts(version))
        .ok();
    assert_eq!(scene.at("deployment/myapp", MEMORY), "128Mi");
    assert_eq!(scene.at("configmap/myapp", "/data/colour"), "blue");
    scene.settled("deployment/myapp", 3);
    scene
        .patch("deployment/myapp", "strategic", &memory("256Mi"))
        .denied(&["(revision 3, ", "declared \"128Mi\", live \"128Mi\""]);
    scene
        .patch("configmap/myapp", "merge", &note("fine"))
        .quiet();
}
