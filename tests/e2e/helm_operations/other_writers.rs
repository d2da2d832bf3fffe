//! Legitimate writers other than Helm. The guard's log has no line about them.
//!
//! Each controller alone is in `tests/e2e/cluster/friends.rs`.

use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use super::steps::assert_unhindered;
use crate::{
    charts::{myapp, single},
    scene::{Scene, Screen, eventually},
    world::{log_about, world},
};

fn scene(stem: &str) -> Scene {
    world();
    Scene::new(stem, HelmVersion::V4)
}

/// Not even a denial for Bob.
fn assert_silence(scene: &Scene) {
    let mut lines = log_about(scene.ns.name());
    lines.retain(|line| {
        line["target"] == "audit"
            && line["verdict"] != "break-glass"
            && line["reason"] != "emergency-identity"
    });
    assert_eq!(lines, Vec::<Value>::new());
}

/// A release with drift, and its manifest.
fn drifted(scene: &Scene) -> String {
    scene.install("myapp", &myapp("1.0.0"));
    let drift = json!({"spec": {"replicas": 1, "template": {"spec": {"containers": [
        {"name": "server", "image": "nginx:9", "env": [{"name": "COLOUR", "value": "red"}]},
    ]}}}});
    scene.drift("deployment/myapp", "strategic", &drift);
    let drift = json!({"data": {"colour": "red", "limits.conf": null}});
    scene.drift("configmap/myapp", "merge", &drift);
    let drift = json!({"data": {"password": "c2hlcmxvY2s="}});
    scene.drift("secret/myapp", "merge", &drift);
    scene.helm("get manifest myapp").ok().stdout
}

fn assert_corrected(scene: &Scene) {
    assert_eq!(scene.at("deployment/myapp", "/spec/replicas"), 3);
    let container = scene.at("deployment/myapp", "/spec/template/spec/containers/0");
    assert_eq!(container["image"], "nginx:2.0.0");
    assert_eq!(container["env"][0]["value"], "blue");
    assert_eq!(scene.at("configmap/myapp", "/data/colour"), "blue");
    assert_silence(scene);
}

/// Scenario 71, all of it: a dry run of server-side apply, then a JSON patch of the difference.
#[test]
fn flux_may_detect_and_correct_the_drift_of_a_release() {
    let scene = scene("flux-drift");
    let manifest = drifted(&scene);
    let dry_run = "apply --server-side --force-conflicts --field-manager=helm-controller \
                   --dry-run=server -o json -f -";
    let wanted = scene.kubectl(dry_run).stdin(manifest).quiet().json();
    for object in wanted["items"].as_array().unwrap() {
        let kind = object["kind"].as_str().unwrap().to_lowercase();
        let what = format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap());
        let live = scene.get(&what);
        let patch: Vec<Value> = ["spec", "data"]
            .into_iter()
            .filter(|part| !object[part].is_null() && object[part] != live[part])
            .map(|part| json!({"op": "replace", "path": format!("/{part}"), "value": object[part]}))
            .collect();
        if !patch.is_empty() {
            scene
                .patch(&what, "json", &json!(patch))
                .arg("--field-manager=helm-controller")
                .quiet();
        }
    }
    assert_corrected(&scene);
}

/// As Flux does with `--override-manager`, and Helm 4 when it adopts a release of Helm 3.
#[test]
fn the_managed_fields_may_be_rewritten() {
    let scene = scene("managed-fields");
    scene.install("myapp", &myapp("1.0.0"));
    let fields = scene.kubectl("get deployment/myapp -o json --show-managed-fields");
    let mut fields = fields.ok().json()["metadata"]["managedFields"].clone();
    for entry in fields.as_array_mut().unwrap() {
        if entry["manager"] == "helm" {
            entry["manager"] = "helm-controller".into();
        }
    }
    let patch = json!([{"op": "replace", "path": "/metadata/managedFields", "value": fields}]);
    scene.patch("deployment/myapp", "json", &patch).quiet();
    assert_silence(&scene);
}

/// Scenarios 46 and 54.
#[test]
fn applying_the_same_manifest_corrects_drift_without_a_warning() {
    for apply in [
        "apply -f -",
        "apply --server-side --force-conflicts -f -",
        "replace -f -",
    ] {
        let scene = scene("apply");
        let manifest = drifted(&scene);
        for _ in 0..2 {
            // A replacement without the marks of ownership would remove them.
            let manifest = if apply.starts_with("replace") {
                let line = "apply --server-side --dry-run=server --force-conflicts -o json -f -";
                let mut wanted = scene.kubectl(line).stdin(manifest.clone()).ok().json();
                for object in wanted["items"].as_array_mut().unwrap() {
                    let metadata = object["metadata"].as_object_mut().unwrap();
                    metadata.remove("resourceVersion");
                }
                wanted.to_string()
            } else {
                manifest.clone()
            };
            scene.kubectl(apply).stdin(manifest).quiet();
        }
        assert_corrected(&scene);
    }
}

/// Scenario 63: a claim is bound by the controllers, and grows when Helm says so, not a person.
#[test]
fn a_volume_claim_is_bound_and_grows_with_its_release() {
    let scene = scene("resize");
    let class = format!("growing-{}", scene.ns);
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": class},
            "provisioner": "example.com/by-hand",
            "allowVolumeExpansion": true,
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": class},
            "spec": {
                "storageClassName": class,
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "5Gi"},
                "hostPath": {"path": "/data"},
            },
        },
    ]});
    let admin = scene.kubectl_as(shared().admin(), "apply -f -");
    admin.stdin(objects.to_string()).ok();
    let manifest = format!(
        "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data}}
spec:
  storageClassName: {class}
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: '{{{{ .Values.size }}}}'}}}}
"
    );
    let chart = single(&manifest).values("size: 1Gi\n");
    let chart = scene.install("data", &chart);
    eventually("a bound claim", || {
        (scene.at("pvc/data", "/status/phase") == "Bound").then_some(())
    });
    scene
        .helm(&format!("upgrade data {} --set size=2Gi", chart.display()))
        .ok();
    // The resizer reports through the status, which is not guarded.
    let status = json!({"status": {"capacity": {"storage": "2Gi"}}});
    scene
        .patch("pvc/data", "merge", &status)
        .arg("--subresource=status")
        .quiet();
    assert_silence(&scene);
    scene.settled("pvc/data", 2);
    let more = json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}});
    scene
        .patch("pvc/data", "merge", &more)
        .denied(&[".spec.resources.requests.storage"]);
    scene.helm("uninstall data").ok();
    assert_unhindered(&scene);
}

/// Scenarios 69 and 70: the order in which the records are deleted is random.
#[test]
fn deleting_a_namespace_with_releases_causes_no_message() {
    let scene = scene("going");
    let chart = shared().created_chart(HelmVersion::V4, "web");
    let chart = chart.display();
    let set = "--set autoscaling.enabled=true,autoscaling.minReplicas=2,ingress.enabled=true";
    scene.helm(&format!("install web {chart} {set}")).ok();
    scene.install("myapp", &myapp("1.0.0"));
    eventually("two replicas, by the autoscaler", || {
        (scene.at("deployment/web", "/spec/replicas") == 2).then_some(())
    });
    scene
        .kubectl("wait --for=condition=Available deployment --all --timeout=60s")
        .ok();
    // Other users must uninstall first.
    scene
        .oncall(&format!("delete namespace {} --timeout=120s", scene.ns))
        .ok();
    assert_silence(&scene);
}

/// Everything that the workload controllers do for declared objects: scenarios 3, 4, 68 and 70.
#[test]
fn controllers_of_declared_workloads_cause_no_message() {
    let scene = scene("workloads");
    let chart = scene.install("all", &single(WORKLOADS).values("image: nginx:1\n"));
    let chart = chart.display();
    let rolled_out = || {
        for what in ["statefulset/db", "daemonset/agent", "deployment/web"] {
            let line = format!("rollout status {what} --timeout=90s");
            scene.kubectl(&line).quiet();
        }
    };
    rolled_out();
    scene
        .helm(&format!("upgrade all {chart} --set image=nginx:2"))
        .ok();
    rolled_out();
    scene
        .kubectl("create job manual --from=cronjob/nightly")
        .quiet();
    scene
        .kubectl("wait --for=condition=Complete job/manual --timeout=90s")
        .quiet();
    scene
        .kubectl("delete job manual --cascade=foreground")
        .quiet();
    eventually("the declared Job's end", || {
        (!scene.holds("job/once")).then_some(())
    });
    scene.kubectl("delete pod -l app=web --wait=false").quiet();
    scene.kubectl("delete replicaset -l app=web").quiet();
    rolled_out();
    assert_silence(&scene);
    scene
        .helm("uninstall all --cascade foreground --wait --timeout=90s")
        .ok();
    assert_silence(&scene);
}

const WORKLOADS: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db, app.kubernetes.io/managed-by: Helm}}
    spec: {containers: [{name: db, image: '{{ .Values.image }}', volumeMounts: [{name: data, mountPath: /data}]}]}
  volumeClaimTemplates:
    - metadata: {name: data, labels: {app.kubernetes.io/managed-by: Helm}}
      spec:
        accessModes: [ReadWriteOnce]
        resources: {requests: {storage: 1Gi}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent, app.kubernetes.io/managed-by: Helm}}
    spec: {containers: [{name: agent, image: '{{ .Values.image }}'}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, app.kubernetes.io/managed-by: Helm}}
    spec: {containers: [{name: web, image: '{{ .Values.image }}'}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  ttlSecondsAfterFinished: 15
  template:
    metadata: {labels: {app.kubernetes.io/managed-by: Helm}}
    spec: {restartPolicy: Never, containers: [{name: once, image: once}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: '0 3 1 1 *'
  jobTemplate:
    metadata: {labels: {app.kubernetes.io/managed-by: Helm}}
    spec:
      template:
        metadata: {labels: {app.kubernetes.io/managed-by: Helm}}
        spec: {restartPolicy: Never, containers: [{name: nightly, image: nightly}]}
";
