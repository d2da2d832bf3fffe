//! The release of an object is decided by the records alone, never by labels and annotations.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use crate::{
    charts::{CONFIG_MAP, myapp, single},
    scene::{Scene, Screen, Verdict, eventually, note, record_name, verdict},
    world::world,
};

fn scene(stem: &str) -> Scene {
    world();
    Scene::new(stem, HelmVersion::V4)
}

fn claims_to_be_helms(name: &str, annotations: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"colour": "blue"},
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": annotations,
        },
    })
    .to_string()
}

/// Scenarios 1, 2 and 5.
#[test]
fn an_undeclared_object_may_change_whatever_its_labels_and_annotations() {
    let scene = scene("strays");
    let namespace = scene.ns.name();
    scene.install("settings", &single(CONFIG_MAP));
    let release = |name: &str, namespace: &str| {
        json!({
            "meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace,
        })
    };
    for (name, annotations) in [
        ("no-annotations", json!({})),
        ("release-unknown", release("never-installed", namespace)),
        ("another-object", release("settings", namespace)),
        ("settings-of-elsewhere", release("settings", "elsewhere")),
    ] {
        let stray = claims_to_be_helms(name, &annotations);
        scene.kubectl("create -f -").stdin(stray).ok();
        let change = json!({"data": {"colour": "red"}});
        let what = format!("configmap/{name}");
        scene.patch(&what, "merge", &change).quiet();
        let expected = Verdict::allowed("not-declared");
        assert_eq!(
            scene.verdict("patch", "configmaps", name),
            expected,
            "{name}"
        );
        scene.kubectl(&format!("delete {what}")).quiet();
    }
}

/// Scenario 5: a copy in another namespace is not the object that the release declares.
#[test]
fn a_copy_in_another_namespace_may_change() {
    let scene = scene("reflected");
    scene.install("myapp", &myapp("1.0.0"));
    let elsewhere = shared().namespace("reflector");
    let mut copy = scene.get("secret/myapp");
    let metadata = &copy["metadata"];
    copy["metadata"] = json!({
        "name": "myapp", "namespace": elsewhere.name(),
        "labels": metadata["labels"], "annotations": metadata["annotations"],
    });
    let kubectl = |line: &str| {
        let bob = scene.kubectl("-n").arg(elsewhere.name());
        bob.args(line.split_whitespace())
    };
    kubectl("create -f -").stdin(copy.to_string()).ok();
    kubectl("patch secret myapp --type=merge -p")
        .arg(r#"{"stringData":{"password":"another"}}"#)
        .quiet();
    kubectl("delete secret myapp").quiet();
}

/// Scenarios 3 and 4: objects that controllers create for a declared object carry its labels. The
/// guard is called for them only when somebody else writes, because a chart may declare such objects,
/// too.
#[rstest]
#[case::replica_set("replicaset", "replicasets", None)]
#[case::pod("pod", "pods", None)]
#[case::endpoint_slice("endpointslice", "endpointslices", None)]
#[case::replica_set_by_its_controller(
    "replicaset",
    "replicasets",
    Some(("deployment-controller", "annotate deployment/myapp example.com/copied=yes"))
)]
#[case::endpoint_slice_by_its_controller(
    "endpointslice",
    "endpointslices",
    Some(("endpointslice-controller", "label service/myapp example.com/copied=yes"))
)]
fn controller_objects_with_copied_labels_may_change(
    #[case] kind: &str,
    #[case] resource: &str,
    #[case] copying: Option<(&str, &str)>,
) {
    let scene = scene("copied");
    scene.install("myapp", &myapp("1.0.0"));
    let name = eventually(&format!("a {kind}"), || {
        let list = scene.get(&format!("{kind} -l app.kubernetes.io/managed-by"));
        let name = &list["items"].get(0)?["metadata"]["name"];
        name.as_str().map(str::to_owned)
    });
    if let Some((controller, line)) = copying {
        scene.kubectl(line).quiet();
        let user = format!("system:serviceaccount:kube-system:{controller}");
        let object = (resource, scene.ns.name(), name.as_str());
        assert_eq!(verdict(&user, "update", object), Verdict::not_called());
        return;
    }
    let what = format!("{kind}/{name}");
    scene.patch(&what, "merge", &note("mine")).quiet();
    let expected = Verdict::allowed("not-declared");
    assert_eq!(scene.verdict("patch", resource, &name), expected);
    scene
        .kubectl(&format!("delete {what} --wait=false"))
        .quiet();
}

/// Scenario 6: Flux keeps records in a namespace of its own.
#[test]
fn a_record_outside_the_namespace_of_its_release_guards_it() {
    let scene = scene("storage");
    scene.install("settings", &single(CONFIG_MAP));
    let storage = shared().namespace("flux");
    move_record(&scene, "settings", storage.name());
    scene.settled("configmap/settings", 1);
    scene
        .patch(
            "configmap/settings",
            "merge",
            &json!({"data": {"colour": "red"}}),
        )
        .denied(&[&format!("\"settings\" in namespace \"{}\"", scene.ns)]);
}

/// Copies a record and removes the original.
fn move_record(scene: &Scene, release: &str, namespace: &str) {
    copy_record(scene, release, namespace);
    let record = record_name(release, 1);
    scene.oncall(&format!("delete secret {record}")).ok();
}

fn copy_record(scene: &Scene, release: &str, namespace: &str) {
    let mut record = scene.get(&format!("secret/{}", record_name(release, 1)));
    record["metadata"] = json!({
        "name": record["metadata"]["name"],
        "namespace": namespace,
        "labels": record["metadata"]["labels"],
    });
    let admin = shared().kubectl().cmd(shared().admin());
    admin
        .args(["create", "-f", "-"])
        .stdin(record.to_string())
        .ok();
}

/// Scenario 7.
#[test]
fn two_records_of_a_release_in_two_namespaces_both_guard_it() {
    let scene = scene("twice");
    scene.install("settings", &single(CONFIG_MAP));
    let storage = shared().namespace("flux");
    copy_record(&scene, "settings", storage.name());
    scene.settled("configmap/settings", 1);
    let red = json!({"data": {"colour": "red"}});
    scene.patch("configmap/settings", "merge", &red).denied(&[]);
    let record = record_name("settings", 1);
    let delete = format!("delete secret {record}");
    scene.kubectl(&delete).denied(&["is the record of"]);
    scene.oncall(&delete).ok();
    scene.settled("configmap/settings", 1);
    scene.patch("configmap/settings", "merge", &red).denied(&[]);
}

/// Scenario 8.
#[test]
fn an_object_is_in_the_namespace_of_its_document_or_of_its_release() {
    let scene = scene("namespaces");
    let elsewhere = shared().namespace("elsewhere");
    let unique = scene.ns.name();
    let manifest = format!(
        "{CONFIG_MAP}---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings, namespace: {elsewhere}}}
data: {{colour: green}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {unique}, namespace: {elsewhere}}}
rules: [{{apiGroups: [''], resources: [pods], verbs: [get]}}]
"
    );
    scene.install("spread", &single(&manifest));
    scene.settled(&format!("clusterrole/{unique}"), 1);
    for namespace in [unique, elsewhere.name()] {
        scene
            .kubectl("delete configmap settings")
            .args(["-n", namespace])
            .denied(&[
                "ConfigMap \"settings\"",
                "declared by Helm release \"spread\"",
            ]);
    }
    scene
        .patch(
            &format!("clusterrole/{unique}"),
            "merge",
            &json!({"rules": []}),
        )
        .denied(&[".rules"]);
    scene.helm("uninstall spread").ok();
}

/// Scenario 9.
#[test]
fn every_item_of_a_list_document_is_declared() {
    let scene = scene("list-kinds");
    let manifest = "\
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: first}, data: {a: '1'}}
  - {apiVersion: v1, kind: ServiceAccount, metadata: {name: second}}
---
apiVersion: v1
kind: ConfigMapList
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: third}, data: {a: '1'}}
";
    scene.install("lists", &single(manifest));
    scene.settled("configmap/first", 1);
    for what in [
        "configmap/first",
        "serviceaccount/second",
        "configmap/third",
    ] {
        scene.kubectl(&format!("delete {what}")).denied(&[]);
    }
    scene.helm("uninstall lists").ok();
    assert!(!scene.holds("configmap/third"));
}

/// Scenario 10: what holds in every version of a kind.
#[test]
fn an_object_declared_in_another_version_keeps_its_identity() {
    let scene = scene("versions");
    let manifest = "\
apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata:
  name: web
  labels: {team: checkout}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 4
  targetCPUUtilizationPercentage: 80
";
    scene.install("scaler", &single(manifest));
    let hpa = "horizontalpodautoscalers.v2.autoscaling/web";
    scene.settled(hpa, 1);
    scene
        .patch(
            hpa,
            "merge",
            &json!({"metadata": {"labels": {"team": "mine"}}}),
        )
        .denied(&[".metadata.labels.team"]);
    scene.patch(hpa, "merge", &note("mine")).quiet();
}

/// A record outlives the API group in which its objects were made.
#[test]
fn a_record_with_a_removed_api_group_guards_the_moved_objects() {
    let scene = scene("removed-group");
    let manifest = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, annotations: {kubernetes.io/ingress.class: nginx}}
spec:
  rules:
    - host: web.example.com
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
";
    scene.install("web", &single(manifest));
    scene.rewrite_record("web", 1, |record| {
        let manifest = record["manifest"].as_str().unwrap();
        let old = manifest
            .replace("apps/v1", "extensions/v1beta1")
            .replace("networking.k8s.io/v1", "extensions/v1beta1")
            .replace("policy/v1", "policy/v1beta1");
        assert_ne!(old, manifest);
        record["manifest"] = old.into();
    });
    // Until then the image is denied, because the previous record declares it in the version of the request.
    eventually("a guard that has read the old record", || {
        let image = "set image deployment/web web=web:2 --dry-run=server";
        let output = scene.kubectl(image).run();
        output.says("Warning: helm-guard: ").then_some(())
    });
    for what in ["deployment/web", "ingress/web", "poddisruptionbudget/web"] {
        scene
            .kubectl(&format!("delete {what}"))
            .denied(&["declared by Helm release \"web\""]);
        let unmarked = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
        scene
            .patch(what, "merge", &unmarked)
            .denied(&[".metadata.labels"]);
        scene.patch(what, "merge", &note("mine")).quiet();
    }
    let class = json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "other"}}});
    scene
        .patch("ingress/web", "merge", &class)
        .denied(&[".metadata.annotations"]);
    let host = json!([{"op": "replace", "path": "/spec/rules/0/host", "value": "x.example.com"}]);
    scene.patch("ingress/web", "json", &host).warned(&[]);
    assert_eq!(
        scene.verdict("patch", "ingresses", "web").reason,
        "version-differs"
    );
}

/// Scenario 15. Helm 4 applies an object twice where Helm 3 refuses to create it again.
#[test]
fn the_last_document_of_an_object_declared_twice_counts() {
    let scene = scene("duplicate");
    let first = CONFIG_MAP.replace("blue", "green");
    let chart = single(&first).template("z.yaml", CONFIG_MAP);
    scene.install("twins", &chart);
    scene.settled("configmap/settings", 1);
    let set = |colour: &str| {
        let patch = json!({"data": {"colour": colour}});
        scene.patch("configmap/settings", "merge", &patch)
    };
    let declared = scene.record("twins", 1)["manifest"].to_string();
    let last = if declared.rfind("green") > declared.rfind("blue") {
        "green"
    } else {
        "blue"
    };
    scene.drift(
        "configmap/settings",
        "merge",
        &json!({"data": {"colour": "red"}}),
    );
    set("yellow").denied(&[&format!("declared \"{last}\"")]);
    set(last).quiet();
}
