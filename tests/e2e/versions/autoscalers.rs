//! A built-in kind: `HorizontalPodAutoscaler`, declared in autoscaling/v1.

use serde_json::{Value, json};
use testbed::{Chart, HelmVersion, shared};

use super::{
    custom_resources::{self, crd},
    harness::{await_refusal, await_silence, entries, guard},
};
use crate::{
    scene::{Scene, eventually},
    turn::Turn,
};

const V1: &str = "apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata:
  name: web
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: {{ .Values.max }}
  targetCPUUtilizationPercentage: 80
";

const V2: &str = "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: web
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: {{ .Values.max }}
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}
";

const ENTRY: &str = "horizontalpodautoscalers.v1.autoscaling.versions.helm-guard.dev";

fn chart(version: &str, template: &str) -> Chart {
    Chart::new("scaled", version)
        .template("hpa.yaml", template)
        .values("max: 5\n")
}

fn utilization(percent: u32) -> Value {
    json!({"spec": {"metrics": [{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent},
    }}]}})
}

#[test]
fn an_edit_through_v2_is_compared_with_the_manifest_in_v1() {
    let turn = Turn::take();
    let guard = guard(&turn);
    let scene = Scene::new("hpa", HelmVersion::V4);
    scene.install("web", &chart("1.0.0", V1));
    let field = ".spec.targetCPUUtilizationPercentage: declared 80, live 80, requested 50";
    let edit = |patch: &Value| scene.patch("hpa/web", "merge", patch);
    await_refusal(&scene, "hpa/web", &utilization(50), field);
    assert!(entries().contains(&ENTRY.to_owned()));

    edit(&utilization(50)).refused();
    let edited = scene
        .kubectl("edit hpa/web")
        .env("KUBE_EDITOR", "sed -i 's/maxReplicas: 5/maxReplicas: 9/'")
        .refused();
    assert!(
        edited.says(".spec.maxReplicas: declared 5, live 5, requested 9"),
        "{}",
        edited.stderr
    );

    // Fields that v1 does not have are not declared by the manifest; there is no warning.
    let behavior = json!({"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}});
    await_silence(&scene, "hpa/web", &behavior);
    assert_eq!(edit(&behavior).ok().stderr, "");
    scene.kubectl("annotate hpa/web seen=yes").ok();
    assert!(
        guard
            .admin_get("/metrics")
            .body
            .contains("judged-in-declared-version")
    );

    // Through v1 the result is the same, and only one entry is called.
    let path = format!(
        "/apis/autoscaling/v1/namespaces/{}/horizontalpodautoscalers/web",
        scene.ns
    );
    let mut live = scene.kubectl(&format!("get --raw {path}")).ok().json();
    live["spec"]["maxReplicas"] = json!(9);
    let put = scene.kubectl(&format!("replace --raw {path} -f -"));
    let put = put.stdin(live.to_string()).refused();
    assert!(put.says(".spec.maxReplicas"), "{}", put.stderr);
    // An object without Helm's label is converted while it names its release.
    let unlabel = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
    scene
        .kubectl_as(shared().admin(), "patch hpa/web --type=merge -p")
        .arg(unlabel.to_string())
        .ok();
    let edited = edit(&utilization(50)).refused();
    assert!(edited.says(field), "{}", edited.stderr);
    let metrics = guard.admin_get("/metrics").body;
    assert!(
        !metrics
            .contains(r#"operation="UPDATE",mode="Deny",verdict="allowed",reason="not-judged""#)
    );
}

/// Scenario 10.
#[test]
fn helm_may_migrate_an_autoscaler_from_v1_to_v2_and_back() {
    let turn = Turn::take();
    let _guard = guard(&turn);
    let in_v1 = ".spec.targetCPUUtilizationPercentage";
    for version in HelmVersion::ALL {
        let scene = Scene::new("hpa-moves", version);
        let refuses = |field| await_refusal(&scene, "hpa/web", &utilization(50), field);
        let old = scene.install("web", &chart("1.0.0", V1));
        let new = shared().chart(&chart("2.0.0", V2));
        refuses(in_v1);
        for (chart, max) in [(&old, 6), (&new, 7)] {
            let chart = chart.display();
            scene
                .helm(&format!("upgrade web {chart} --set max={max}"))
                .ok();
        }
        refuses(".spec.metrics");
        scene.helm("rollback web 1").ok();
        refuses(in_v1);
        scene.helm("uninstall web").ok();
    }
}

#[test]
fn an_entry_is_removed_when_no_release_needs_it() {
    let turn = Turn::take();
    let _guard = guard(&turn);
    let scene = Scene::new("cron-goes", HelmVersion::V3);
    let crd = crd("fleetings", "Fleeting", None);
    scene.install("web", &custom_resources::chart("Fleeting", &crd));
    let entry = "fleetings.v1beta1.example.com.versions.helm-guard.dev".to_owned();
    eventually("the entry", || entries().contains(&entry).then_some(()));
    scene.helm("uninstall web").ok();
    eventually("the end of the entry", || {
        (!entries().contains(&entry)).then_some(())
    });
}
