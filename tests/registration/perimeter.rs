//! What the API server calls the webhook for, besides plain writes of labeled objects: either mark,
//! subresources, evictions and bindings. No match condition fails.

use std::collections::BTreeSet;

use helm_guard::webhook::{
    endpoint::Endpoint,
    paths::PathKey,
    registration::{Registration, configuration},
    tls::Pair,
};
use serde_json::{Value, json};
use testbed::ControlPlane;

use crate::{Scene, container, object};

const OWNER: &str = "meta.helm.sh/release-name";

pub fn everything(scene: &Scene<'_>) {
    either_mark_brings_one_call(scene);
    each_annotated_object_of_a_collection_brings_a_call(scene);
    odd_objects_bring_neither_calls_nor_errors(scene);
    a_status_write_brings_a_call_where_more_than_the_status_is_kept(scene);
    a_write_of_the_status_alone_brings_none(scene);
    other_subresources_bring_a_call(scene);
    evictions_and_bindings_bring_a_call(scene);
    no_condition_failed(scene.plane);
}

fn either_mark_brings_one_call(scene: &Scene<'_>) {
    for annotation in [OWNER, "meta.helm.sh/release-namespace"] {
        scene.kubectl("create configmap annotated");
        scene.kubectl(&format!("annotate configmap annotated {annotation}=web"));
        scene.seen(&[]);
        scene.kubectl("label configmap annotated team=shop");
        scene.seen(&["UPDATE configmaps annotated"]);
        // The entry for labeled objects takes over, and hands back.
        scene.kubectl("label configmap annotated app.kubernetes.io/managed-by=Helm");
        assert_eq!(scene.calls.all_of_alice(), ["UPDATE configmaps annotated"]);
        scene.kubectl("label configmap annotated app.kubernetes.io/managed-by-");
        assert_eq!(scene.calls.all_of_alice(), ["UPDATE configmaps annotated"]);
        scene.kubectl(&format!("annotate configmap annotated {annotation}-"));
        scene.seen(&["UPDATE configmaps annotated"]);
        scene.kubectl("annotate configmap annotated a=b");
        scene.seen(&[]);
        scene.kubectl(&format!("annotate configmap annotated {annotation}=web"));
        scene.kubectl("delete configmap annotated");
        scene.seen(&["DELETE configmaps annotated"]);
    }
}

fn each_annotated_object_of_a_collection_brings_a_call(scene: &Scene<'_>) {
    for (name, annotations) in [("plain", json!({})), ("annotated", json!({OWNER: "web"}))] {
        scene.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
            {"name": name, "labels": {"collection": "annotated"}, "annotations": annotations}}));
    }
    let path = format!("/api/v1/namespaces/{}/configmaps", scene.namespace);
    let collection = format!("{path}?labelSelector=collection%3Dannotated");
    let kubectl = scene.plane.kubectl().cmd(scene.plane.alice());
    kubectl.args(["delete", "--raw", &collection]).ok();
    scene.seen(&["DELETE configmaps annotated"]);
}

/// Metadata that is null, empty, or missing.
fn odd_objects_bring_neither_calls_nor_errors(scene: &Scene<'_>) {
    let group = format!("{}.example.com", scene.namespace);
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    scene.apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("odds.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": "Odd", "plural": "odds"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}],
        },
    }));
    let crd = format!("customresourcedefinition/odds.{group}");
    scene.kubectl(&format!("wait --for=condition=Established {crd}"));
    let path = format!("/apis/{group}/v1/namespaces/{}/odds", scene.namespace);
    for (name, metadata) in [
        (
            "null",
            json!({"annotations": null, "labels": null, "ownerReferences": null}),
        ),
        (
            "empty",
            json!({"annotations": {}, "labels": {}, "finalizers": []}),
        ),
        ("nothing", json!({})),
    ] {
        let mut metadata = metadata;
        metadata["name"] = json!(name);
        let odd = json!({"apiVersion": format!("{group}/v1"), "kind": "Odd", "metadata": metadata});
        crate::until("the new kind", || {
            let create = scene.plane.kubectl().cmd(scene.plane.alice());
            let create = create.args(["create", "--raw", &path, "-f", "-"]);
            create.stdin(odd.to_string()).run().status.success()
        });
        let what = format!("odds.{group} {name}");
        for write in [
            "--type=merge -p {\"spec\":{\"a\":1}}",
            "--type=merge -p {\"metadata\":{\"annotations\":null}}",
            "--type=merge --subresource=status -p {\"status\":{\"a\":1}}",
            "--type=merge --subresource=status -p {\"metadata\":{\"labels\":{\"a\":\"b\"}}}",
        ] {
            scene.kubectl(&format!("patch {what} {write}"));
        }
        scene.kubectl(&format!("delete {what}"));
    }
    scene.seen(&[]);
    scene.kubectl(&format!("delete {crd}"));
}

/// One object of each kind with a status, with Helm's label.
fn objects_with_a_status(name: &str) -> Vec<Value> {
    let pods = |app: &str| {
        json!({"metadata": {"labels": {"app": app}}, "spec": {"nodeSelector": {"no": "where"},
            "containers": [container()]}})
    };
    let selects = |app: &str| json!({"matchLabels": {"app": app}});
    let mut job = pods("job");
    job["spec"]["restartPolicy"] = json!("Never");
    let rows = [
        ("v1", "Service", json!({"ports": [{"port": 80}]})),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({"accessModes": ["ReadWriteOnce"],
            "storageClassName": "none", "resources": {"requests": {"storage": "1Gi"}}}),
        ),
        (
            "v1",
            "PersistentVolume",
            json!({"accessModes": ["ReadWriteOnce"],
            "storageClassName": "none", "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"}}),
        ),
        ("v1", "ResourceQuota", json!({"hard": {"pods": "100"}})),
        (
            "v1",
            "Pod",
            json!({"schedulingGates": [{"name": "example.com/gate"}],
            "containers": [container()]}),
        ),
        ("v1", "Namespace", json!({})),
        (
            "v1",
            "ReplicationController",
            json!({"replicas": 0, "selector": {"app": "rc"}, "template": pods("rc")}),
        ),
        (
            "apps/v1",
            "Deployment",
            json!({"replicas": 0, "selector": selects("deploy"), "template": pods("deploy")}),
        ),
        (
            "apps/v1",
            "ReplicaSet",
            json!({"replicas": 0, "selector": selects("rs"), "template": pods("rs")}),
        ),
        (
            "apps/v1",
            "StatefulSet",
            json!({"replicas": 0, "serviceName": "a",
            "selector": selects("sts"), "template": pods("sts")}),
        ),
        (
            "apps/v1",
            "DaemonSet",
            json!({"selector": selects("ds"), "template": pods("ds")}),
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({"maxReplicas": 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}}),
        ),
        (
            "batch/v1",
            "Job",
            json!({"suspend": true, "template": {"spec": job["spec"]}}),
        ),
        (
            "batch/v1",
            "CronJob",
            json!({"suspend": true, "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": {"template": {"spec": job["spec"]}}}}),
        ),
        (
            "networking.k8s.io/v1",
            "Ingress",
            json!({"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}}),
        ),
        (
            "policy/v1",
            "PodDisruptionBudget",
            json!({"minAvailable": 1, "selector": selects("none")}),
        ),
        (
            "flowcontrol.apiserver.k8s.io/v1",
            "FlowSchema",
            json!({"priorityLevelConfiguration": {"name": "exempt"}}),
        ),
        (
            "storage.k8s.io/v1",
            "VolumeAttachment",
            json!({"attacher": "a", "nodeName": "b",
            "source": {"persistentVolumeName": "c"}}),
        ),
    ];
    let objects = rows.into_iter().map(|(api_version, kind, spec)| {
        let mut made = object(api_version, kind, name);
        made["spec"] = spec;
        made
    });
    objects.collect()
}

fn a_status_write_brings_a_call_where_more_than_the_status_is_kept(scene: &Scene<'_>) {
    let name = format!("{}-status", scene.namespace);
    let admin = |line: &str| {
        let kubectl = scene.plane.kubectl().cmd(scene.plane.admin());
        let kubectl = kubectl.args(["-n", scene.namespace]);
        kubectl.args(line.split_whitespace()).ok()
    };
    let mut kept = 0;
    for object in objects_with_a_status(&name) {
        scene.apply(&object);
        let kind = object["kind"].as_str().unwrap().to_lowercase();
        let what = format!("{kind}/{name}");
        scene.calls.all_of_alice();
        for patch in [
            json!({"annotations": {"a": "b"}}),
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Namespace",
                "name": "kube-system", "uid": uid(scene.plane, "namespace/kube-system")}]}),
            json!({"labels": {"app.kubernetes.io/managed-by": null}}),
        ] {
            let before = admin(&format!("get {what} -o json")).json()["metadata"].clone();
            let patch = json!({"metadata": patch});
            scene.kubectl(&format!(
                "patch {what} --subresource=status --type=merge -p {patch}"
            ));
            let after = admin(&format!("get {what} -o json")).json()["metadata"].clone();
            let is_kept = ["labels", "annotations", "ownerReferences"]
                .iter()
                .any(|field| before[field] != after[field]);
            // Release infrastructure is evaluated twice: as an object, and as infrastructure.
            let mut calls = scene.calls.all_of_alice();
            calls.dedup();
            assert_eq!(
                calls.len(),
                usize::from(is_kept),
                "{what} {patch}: {calls:?}"
            );
            kept += calls.len();
        }
        admin(&format!("delete {what} --wait=false"));
    }
    assert!(kept > 30, "{kept}");
}

fn uid(plane: &ControlPlane, what: &str) -> Value {
    let kubectl = plane.kubectl().cmd(plane.admin());
    let object = kubectl.args(["get", what, "-o", "json"]).ok().json();
    object["metadata"]["uid"].clone()
}

fn a_write_of_the_status_alone_brings_none(scene: &Scene<'_>) {
    let mut service = object("v1", "Service", "balanced");
    service["spec"] = json!({"type": "LoadBalancer", "ports": [{"port": 80}]});
    scene.apply(&service);
    let patch = |subresource: &str, patch: Value| {
        scene.kubectl(&format!(
            "patch service balanced --subresource={subresource} --type=merge -p {patch}"
        ));
    };
    scene.seen(&[]);
    patch(
        "status",
        json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}),
    );
    scene.seen(&[]);
    // As load balancer controllers do.
    let finalizers = |names: Value| json!({"metadata": {"finalizers": names}});
    patch(
        "status",
        finalizers(json!(["service.kubernetes.io/load-balancer-cleanup"])),
    );
    scene.seen(&["UPDATE services/status balanced"]);
    patch("status", finalizers(json!(null)));
    scene.seen(&["UPDATE services/status balanced"]);
    scene.kubectl("delete service balanced");
    scene.seen(&["DELETE services balanced"]);
}

fn other_subresources_bring_a_call(scene: &Scene<'_>) {
    let name = format!("{}-finalized", scene.namespace);
    scene.apply(&object("v1", "Namespace", &name));
    let alice = || scene.plane.kubectl().cmd(scene.plane.alice());
    let mut namespace = alice()
        .args(["get", "namespace", &name, "-o", "json"])
        .ok()
        .json();
    scene.calls.all_of_alice();
    namespace["metadata"]["labels"] = json!({"kubernetes.io/metadata.name": name});
    let path = format!("/api/v1/namespaces/{name}/finalize");
    let replace = alice().args(["replace", "--raw", &path, "-f", "-"]);
    replace.stdin(namespace.to_string()).ok();
    scene.seen(&[&format!("UPDATE namespaces/finalize {name}")]);
    scene.kubectl(&format!("delete namespace {name} --wait=false"));

    let mut pod = object("v1", "Pod", "debugged");
    pod["spec"] = json!({"containers": [container()]});
    scene.apply(&pod);
    scene.calls.all_of_alice();
    let debugger = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox"}]}});
    scene.kubectl(&format!(
        "patch pod debugged --subresource=ephemeralcontainers --type=strategic -p {debugger}"
    ));
    scene.seen(&["UPDATE pods/ephemeralcontainers debugged"]);
    scene.kubectl("delete pod debugged --now");
    scene.calls.all_of_alice();
}

fn evictions_and_bindings_bring_a_call(scene: &Scene<'_>) {
    let mut pod = object("v1", "Pod", "bound");
    pod["spec"] = json!({"schedulerName": "nobody", "containers": [container()]});
    scene.apply(&pod);
    scene.calls.all_of_alice();
    let create = |subresource: &str, object: Value, query: &str| {
        let path = format!(
            "/api/v1/namespaces/{}/pods/bound/{subresource}{query}",
            scene.namespace
        );
        let kubectl = scene.plane.kubectl().cmd(scene.plane.alice());
        let kubectl = kubectl.args(["create", "--raw", &path, "-f", "-"]);
        kubectl.stdin(object.to_string()).ok();
    };
    let binding = |metadata: Value| {
        let mut metadata = metadata;
        metadata["name"] = json!("bound");
        json!({"apiVersion": "v1", "kind": "Binding", "metadata": metadata,
            "target": {"apiVersion": "v1", "kind": "Node", "name": "node-a"}})
    };
    create("binding", binding(json!({})), "?dryRun=All");
    scene.seen(&[]);
    let labels = json!({"labels": {"app.kubernetes.io/managed-by": "me"}});
    create("binding", binding(labels), "?dryRun=All");
    scene.seen(&["CREATE pods/binding bound"]);
    let annotations = json!({"annotations": {OWNER: "other"}});
    create("binding", binding(annotations), "");
    scene.seen(&["CREATE pods/binding bound"]);
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "bound"}});
    create("eviction", eviction, "");
    scene.seen(&["CREATE pods/eviction bound"]);
}

/// A failing condition skips its webhook, and only this counter shows it.
fn no_condition_failed(plane: &ControlPlane) {
    let kubectl = plane.kubectl().cmd(plane.admin());
    let metrics = kubectl.args(["get", "--raw", "/metrics"]).ok().stdout;
    let errors: Vec<_> = metrics
        .lines()
        .filter(|line| line.contains("match_condition_evaluation_errors"))
        .filter(|line| line.contains("helm-guard.dev") && !line.ends_with(" 0"))
        .collect();
    assert_eq!(errors, Vec::<&str>::new());
    assert!(
        metrics.contains("apiserver_admission_match_condition"),
        "the counter's name"
    );
}

/// Subresources that write no declared field: they do not change the object (docs/limits.md).
const HARMLESS: [&str; 8] = [
    // CONNECT: it does not change the Pod, the Service or the Node.
    "pods/attach",
    "pods/exec",
    "pods/portforward",
    "pods/proxy",
    "services/proxy",
    "nodes/proxy",
    // Issues a token and stores nothing.
    "serviceaccounts/token",
    // Read only.
    "pods/log",
];

/// A new subresource of a future Kubernetes version must be reviewed.
pub fn every_served_subresource_is_seen_or_harmless(plane: &ControlPlane) {
    let endpoint = Endpoint::from_url("https://127.0.0.1").unwrap();
    let registration = Registration::new(endpoint, a_key());
    let entries = configuration(&registration, &BTreeSet::new())
        .webhooks
        .unwrap();
    let rules = entries
        .iter()
        .flat_map(|entry| entry.rules.iter().flatten());
    let seen: BTreeSet<String> = rules
        .flat_map(|rule| rule.resources.clone().unwrap())
        .collect();
    let get = |path: &str| {
        let kubectl = plane.kubectl().cmd(plane.admin());
        kubectl.args(["get", "--raw", path]).ok().json()
    };
    let mut paths = vec!["/api/v1".to_owned()];
    for group in get("/apis")["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            paths.push(format!(
                "/apis/{}",
                version["groupVersion"].as_str().unwrap()
            ));
        }
    }
    let mut found = 0;
    for path in paths {
        for resource in get(&path)["resources"].as_array().unwrap() {
            let name = resource["name"].as_str().unwrap();
            let Some((_, subresource)) = name.split_once('/') else {
                continue;
            };
            found += 1;
            let is_seen = seen.contains(name) || seen.contains(&format!("*/{subresource}"));
            assert!(is_seen || HARMLESS.contains(&name), "{path}: {name}");
        }
    }
    assert!(found > 30, "{found}");
}

fn a_key() -> PathKey {
    PathKey::of(&Pair {
        chain: String::new(),
        key: "a key".to_owned(),
        ca_bundle: None,
    })
}
