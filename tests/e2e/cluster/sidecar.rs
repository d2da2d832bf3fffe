//! Story 2: a service mesh adds a container, which survives the next upgrade.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::HelmVersion;

use crate::{
    charts::myapp,
    scene::{Scene, Screen},
    world::world,
};

fn containers(scene: &Scene) -> Vec<(Value, Value)> {
    let containers = scene.at("deployment/myapp", "/spec/template/spec/containers");
    let containers = containers.as_array().unwrap().iter();
    containers
        .map(|container| (container["name"].clone(), container["image"].clone()))
        .collect()
}

#[rstest]
fn a_sidecar_may_be_added_and_survives_an_upgrade(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("sidecar", version);
    let chart = scene.install("myapp", &myapp("1.0.0"));
    let sidecar = json!({"spec": {"template": {"spec": {
        "containers": [{"name": "proxy", "image": "envoy:1"}],
        "volumes": [{"name": "certs", "emptyDir": {}}],
    }}}});
    scene
        .patch("deployment/myapp", "strategic", &sidecar)
        .quiet();
    let chart = chart.display();
    scene
        .helm(&format!("upgrade myapp {chart} --set image=nginx:2.1.0"))
        .ok();
    let expected = [
        (json!("server"), json!("nginx:2.1.0")),
        (json!("proxy"), json!("envoy:1")),
    ];
    let mut found = containers(&scene);
    found.sort_by_key(|(name, _)| name != "server");
    assert_eq!(found, expected);
    scene.settled("deployment/myapp", 2);
    scene
        .kubectl("set image deployment/myapp server=nginx:9")
        .denied(&[
            "Deployment \"myapp\" is declared by Helm release \"myapp\"",
            "(revision 2, chart myapp-1.0.0):",
            ".spec.template.spec.containers[name=server].image: \
             declared \"nginx:2.1.0\", live \"nginx:2.1.0\", requested \"nginx:9\"",
            "run: helm upgrade myapp <chart>",
        ]);
    scene
        .kubectl("set image deployment/myapp proxy=envoy:2")
        .quiet();
    let mut found = containers(&scene);
    found.sort_by_key(|(name, _)| name != "server");
    assert_eq!(found[0].1, "nginx:2.1.0");
    assert_eq!(found[1].1, "envoy:2");
}
