//! Lists with merge keys whose order matters: only Helm may change it.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::HelmVersion;

use super::steps::assert_unhindered;
use crate::{
    charts::single,
    scene::{Scene, Screen},
    world::world,
};

/// Values: `image`; `turned`, which reorders both lists.
const STEPS: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
        {{- if .Values.turned }}
        - {name: migrate, image: migrate:1}
        - {name: fetch, image: fetch:1}
        {{- else }}
        - {name: fetch, image: fetch:1}
        - {name: migrate, image: migrate:1}
        {{- end }}
      containers:
        - name: server
          image: '{{ .Values.image }}'
          env:
            {{- if .Values.turned }}
            - {name: URL, value: 'http://$(HOST)'}
            - {name: HOST, value: web}
            {{- else }}
            - {name: HOST, value: web}
            - {name: URL, value: 'http://$(HOST)'}
            {{- end }}
";

const INIT: &str = "/spec/template/spec/initContainers";
const ENV: &str = "/spec/template/spec/containers/0/env";

fn names(scene: &Scene, list: &str) -> Vec<String> {
    let items = scene.at("deployment/web", list);
    let items = items.as_array().unwrap().iter();
    items
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}

fn replace(scene: &Scene, list: &str, items: &Value) -> testbed::Invocation {
    let change = json!([{"op": "replace", "path": list, "value": items}]);
    scene.patch("deployment/web", "json", &change)
}

/// No order may be reversed; an undeclared item may be at any index.
fn only_helm_orders(scene: &Scene, revision: u32) {
    scene.settled("deployment/web", revision);
    for (list, field) in [
        (INIT, ".spec.template.spec.initContainers: declared"),
        (
            ENV,
            ".spec.template.spec.containers[name=server].env: declared",
        ),
    ] {
        let items = scene.at("deployment/web", list);
        let mut turned = items.clone();
        turned.as_array_mut().unwrap().reverse();
        replace(scene, list, &turned).denied(&[field]);
        let more = if list == INIT {
            json!({"name": "injected", "image": "mesh:1"})
        } else {
            json!({"name": "INJECTED", "value": "1"})
        };
        for at in 0..=2 {
            let mut with = items.clone();
            with.as_array_mut().unwrap().insert(at, more.clone());
            replace(scene, list, &with).quiet();
        }
        replace(scene, list, &items).quiet();
    }
}

#[rstest]
#[case::helm3(HelmVersion::V3, "")]
#[case::helm4_on_the_client(HelmVersion::V4, "--server-side=false")]
#[case::helm4_on_the_server(HelmVersion::V4, "--server-side=true")]
fn only_helm_may_reorder_init_containers_and_env_variables(
    #[case] version: HelmVersion,
    #[case] flags: &str,
) {
    world();
    let scene = Scene::new("orders", version);
    let chart = single(STEPS).values("image: web:1\nturned: false\n");
    let chart = testbed::shared().chart(&chart);
    let chart = chart.display();
    scene.helm(&format!("install web {chart} {flags}")).ok();
    only_helm_orders(&scene, 1);
    assert_eq!(names(&scene, INIT), ["fetch", "migrate"]);
    for (n, set) in ["turned=true", "turned=true,image=web:2", "image=web:2"]
        .into_iter()
        .enumerate()
    {
        scene
            .helm(&format!("upgrade web {chart} {flags} --set {set}"))
            .ok();
        only_helm_orders(&scene, u32::try_from(n).unwrap() + 2);
    }
    assert_eq!(names(&scene, INIT), ["fetch", "migrate"]);
    scene.helm(&format!("rollback web 2 {flags}")).ok();
    only_helm_orders(&scene, 5);
    assert_eq!(names(&scene, INIT), ["migrate", "fetch"]);
    assert_eq!(names(&scene, ENV), ["URL", "HOST"]);
    scene.helm("uninstall web").ok();
    assert_unhindered(&scene);
}
