//! Lists: adding, removing and reordering items.

use serde_json::{Value, json};
use testbed::HelmVersion;

use crate::{
    charts::{myapp, single, widgets_crd},
    scene::{Scene, Screen, established, eventually},
    world::world,
};

fn scene(stem: &str) -> Scene {
    world();
    Scene::new(stem, HelmVersion::V4)
}

/// A JSON patch on the first container.
fn container(op: &str, path: &str, value: &Value) -> Value {
    json!([{"op": op, "path": format!("/spec/template/spec/containers/0/{path}"), "value": value}])
}

/// Scenarios 42 and 43.
#[test]
fn keyed_lists_and_maps_may_gain_items_but_not_lose_declared_ones() {
    let scene = scene("items");
    scene.install("myapp", &myapp("1.0.0"));
    let patch = |what: &str, patch: &Value| scene.patch(what, "json", patch);
    let env = json!({"name": "EXTRA", "value": "1"});
    patch("deployment/myapp", &container("add", "env/-", &env)).quiet();
    let port = json!({"containerPort": 9090, "name": "metrics"});
    patch("deployment/myapp", &container("add", "ports/-", &port)).quiet();
    let label = json!([{"op": "add", "path": "/metadata/labels/team", "value": "checkout"}]);
    patch("deployment/myapp", &label).quiet();
    let key = json!([{"op": "add", "path": "/data/extra", "value": "1"}]);
    patch("configmap/myapp", &key).quiet();

    scene.settled("deployment/myapp", 1);
    let gone = |path: &str| json!([{"op": "remove", "path": path}]);
    let containers = "/spec/template/spec/containers/0";
    for (what, path, field) in [
        (
            "deployment/myapp",
            format!("{containers}/env/1"),
            ".spec.template.spec.containers[name=server].env[name=MODE]",
        ),
        (
            "deployment/myapp",
            format!("{containers}/args/1"),
            ".spec.template.spec.containers[name=server].args",
        ),
        (
            "deployment/myapp",
            "/spec/template/metadata/labels/app.kubernetes.io~1managed-by".to_owned(),
            ".spec.template.metadata.labels",
        ),
        ("configmap/myapp", "/data/colour".to_owned(), ".data.colour"),
    ] {
        patch(what, &gone(&path)).denied(&[field]);
    }
    patch("configmap/myapp", &gone("/data/extra")).quiet();
}

/// Scenario 45.
#[test]
fn keyed_lists_may_be_reordered_and_atomic_ones_may_not() {
    let scene = scene("order");
    scene.install("myapp", &myapp("1.0.0"));
    scene.settled("deployment/myapp", 1);
    let pointer = "/spec/template/spec/containers/0/env";
    let mut env = scene.at("deployment/myapp", pointer);
    env.as_array_mut().unwrap().reverse();
    let patch = |patch: &Value| scene.patch("deployment/myapp", "json", patch);
    patch(&container("replace", "env", &env)).quiet();
    assert_eq!(scene.at("deployment/myapp", pointer), env);
    let args = json!(["--port=8080", "--verbose"]);
    patch(&container("replace", "args", &args))
        .denied(&[".spec.template.spec.containers[name=server].args"]);
}

/// Scenario 44.
#[test]
fn a_toleration_may_be_added_only_if_none_is_declared() {
    let scene = scene("tolerations");
    let manifest = |name: &str, more: &str| {
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      {more}
      containers: [{{name: server, image: nginx}}]
"
        )
    };
    let declared = "tolerations: [{key: spot, operator: Exists}]";
    let chart = single(&manifest("free", "")).template("b.yaml", &manifest("tied", declared));
    scene.install("tolerations", &chart);
    scene.settled("deployment/tied", 1);
    let toleration = json!({"key": "gpu", "operator": "Exists"});
    let some = json!({"spec": {"template": {"spec": {"tolerations": [toleration]}}}});
    scene.patch("deployment/free", "merge", &some).quiet();
    let more = json!([{
        "op": "add", "path": "/spec/template/spec/tolerations/-", "value": toleration,
    }]);
    scene
        .patch("deployment/tied", "json", &more)
        .denied(&[".spec.template.spec.tolerations"]);
}

#[test]
fn the_crd_decides_the_list_types_of_a_custom_resource() {
    let scene = scene("custom-lists");
    let group = format!("{}.example.com", scene.ns);
    scene.kubectl("create -f -").stdin(widgets_crd(&group)).ok();
    established(&[&format!("widgets.{group}")]);
    let manifest = format!(
        "apiVersion: {group}/v1
kind: Widget
metadata: {{name: one}}
spec:
  size: 2
  parts: [{{name: bolt, weight: 3}}, {{name: nut, weight: 1}}]
  tags: [small, round]
"
    );
    eventually("an API server that serves the new kind", || {
        scene
            .kubectl("create --dry-run=server -f -")
            .stdin(manifest.as_str())
            .run()
            .status
            .success()
            .then_some(())
    });
    scene.install("widgets", &single(&manifest));
    let widget = format!("widgets.{group}/one");
    scene.settled(&widget, 1);
    let patch = |path: &str, value: Value| {
        let patch = json!([{"op": "replace", "path": path, "value": value}]);
        scene.patch(&widget, "json", &patch)
    };
    let (bolt, nut) = (
        json!({"name": "bolt", "weight": 3}),
        json!({"name": "nut", "weight": 1}),
    );
    let screw = json!({"name": "screw"});
    patch("/spec/parts", json!([nut, bolt, screw])).quiet();
    patch("/spec/parts", json!([nut])).denied(&[".spec.parts[name=bolt]"]);
    patch("/spec/tags", json!(["round", "small"])).denied(&[".spec.tags"]);
    scene
        .kubectl(&format!("scale --replicas=5 {widget}"))
        .denied(&[".spec.size: declared 2, live 2, requested 5"]);
    let delete = format!("delete customresourcedefinition widgets.{group}");
    scene
        .kubectl(&delete)
        .denied(&["has instances that Helm releases declare", "Widget \"one\""]);
    scene.helm("uninstall widgets").ok();
    scene.kubectl(&delete).quiet();
}
