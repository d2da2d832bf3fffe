//! A built-in kind: `HorizontalPodAutoscaler`, declared in autoscaling/v1.

use serde_json::json;
use testbed::{Chart, HelmVersion, shared};

use super::harness::{Scene, entries, guard, until};
use crate::turn::Turn;

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

fn chart(version: &str, template: &str) -> String {
    let chart = Chart::new("scaled", version)
        .template("hpa.yaml", template)
        .values("max: 5\n");
    shared().chart(&chart).display().to_string()
}

fn utilization(percent: u32) -> serde_json::Value {
    json!({"spec": {"metrics": [{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent},
    }}]}})
}

#[test]
fn an_edit_through_v2_is_compared_with_the_manifest_in_v1() {
    let turn = Turn::take();
    let (plane, guard) = (shared(), guard(&turn));
    let namespace = plane.namespace("hpa");
    let scene = Scene {
        plane,
        namespace: namespace.name(),
    };
    scene.helm(HelmVersion::V4, &["install", "web", &chart("1.0.0", V1)]);
    let field = ".spec.targetCPUUtilizationPercentage: declared 80, live 80, requested 50";
    scene.await_refusal("hpa/web", &utilization(50), field);
    assert!(entries(plane).contains(&ENTRY.to_owned()));

    scene.patch("hpa/web", &utilization(50)).refused();
    let edit = scene
        .kubectl(&["edit", "hpa/web"])
        .env("KUBE_EDITOR", "sed -i 's/maxReplicas: 5/maxReplicas: 9/'")
        .refused();
    assert!(
        edit.says(".spec.maxReplicas: declared 5, live 5, requested 9"),
        "{}",
        edit.stderr
    );

    // Fields that v1 does not have are not declared by the manifest; there is no warning.
    let behavior = json!({"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}});
    scene.await_silence("hpa/web", &behavior);
    let passes = scene.patch("hpa/web", &behavior).ok();
    assert_eq!(passes.stderr, "");
    scene.kubectl(&["annotate", "hpa/web", "seen=yes"]).ok();
    assert!(
        guard
            .admin_get("/metrics")
            .body
            .contains("judged-in-declared-version")
    );

    // Through v1 the result is the same, and only one entry is called.
    let path = format!(
        "/apis/autoscaling/v1/namespaces/{}/horizontalpodautoscalers/web",
        scene.namespace
    );
    let mut live = scene.kubectl(&["get", "--raw", &path]).ok().json();
    live["spec"]["maxReplicas"] = json!(9);
    let put = scene.kubectl(&["replace", "--raw", &path, "-f", "-"]);
    let put = put.stdin(live.to_string()).refused();
    assert!(put.says(".spec.maxReplicas"), "{}", put.stderr);
    // An object without Helm's label is converted while it names its release.
    let unlabel = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
    let admin = plane.kubectl().cmd(plane.admin());
    admin
        .args([
            "patch",
            "hpa/web",
            "--type=merge",
            "-n",
            scene.namespace,
            "-p",
        ])
        .arg(unlabel.to_string())
        .ok();
    let edit = scene.patch("hpa/web", &utilization(50)).refused();
    assert!(edit.says(field), "{}", edit.stderr);
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
    let (plane, _guard) = (shared(), guard(&turn));
    let namespace = plane.namespace("hpa-moves");
    let scene = Scene {
        plane,
        namespace: namespace.name(),
    };
    let (old, new) = (chart("1.0.0", V1), chart("2.0.0", V2));
    for helm in HelmVersion::ALL {
        scene.helm(helm, &["install", "web", &old]);
        scene.await_refusal(
            "hpa/web",
            &utilization(50),
            ".spec.targetCPUUtilizationPercentage",
        );
        scene.helm(helm, &["upgrade", "web", &old, "--set", "max=6"]);
        scene.helm(helm, &["upgrade", "web", &new, "--set", "max=7"]);
        scene.await_refusal("hpa/web", &utilization(50), ".spec.metrics");
        scene.helm(helm, &["rollback", "web", "1"]);
        scene.await_refusal(
            "hpa/web",
            &utilization(50),
            ".spec.targetCPUUtilizationPercentage",
        );
        scene.helm(helm, &["uninstall", "web"]);
    }
}

#[test]
fn an_entry_is_removed_when_no_release_needs_it() {
    let turn = Turn::take();
    let (plane, _guard) = (shared(), guard(&turn));
    let namespace = plane.namespace("cron-goes");
    let scene = Scene {
        plane,
        namespace: namespace.name(),
    };
    let crd = super::custom_resources::crd("fleetings", "Fleeting", None);
    let chart = Chart::new("fleeting", "1.0.0")
        .crd("crd.yaml", &crd.to_string())
        .template(
            "fleeting.yaml",
            "apiVersion: example.com/v1beta1\nkind: Fleeting\nmetadata: {name: web}\nspec: {size: 3}\n",
        );
    let chart = plane.chart(&chart).display().to_string();
    scene.helm(HelmVersion::V3, &["install", "web", &chart]);
    let entry = "fleetings.v1beta1.example.com.versions.helm-guard.dev".to_owned();
    until("the entry", || entries(plane).contains(&entry));
    scene.helm(HelmVersion::V3, &["uninstall", "web"]);
    until("the end of the entry", || !entries(plane).contains(&entry));
}
