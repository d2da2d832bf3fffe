//! What a user must not make an exempt controller do, shown with real controllers.

use serde_json::{Value, json};
use testbed::HelmVersion;

use crate::{
    charts::{CONFIG_MAP, myapp, single, widgets_crd},
    scene::{BOB, Scene, Screen, Verdict, established, eventually, record_name, verdict},
    world::world,
};

const KUBE_SYSTEM: &str = "system:serviceaccount:kube-system:";

fn scene(stem: &str) -> Scene {
    world();
    Scene::new(stem, HelmVersion::V4)
}

/// An owner that does not exist: the garbage collector deletes its dependents within seconds.
fn bogus_owner() -> Value {
    json!({"metadata": {"ownerReferences": [{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "no-such",
        "uid": "11111111-1111-1111-1111-111111111111",
    }]}})
}

const COLLECTOR: &str = "the garbage collector deletes an object when its owner is gone";

#[test]
fn an_owner_reference_cannot_make_the_garbage_collector_delete_a_declared_object() {
    let scene = scene("owner");
    scene.install("myapp", &myapp("1.0.0"));
    scene.settled("deployment/myapp", 1);
    for (what, resource) in [
        ("configmap/myapp", "configmaps"),
        ("deployment/myapp", "deployments"),
        ("service/myapp", "services"),
    ] {
        scene
            .patch(what, "merge", &bogus_owner())
            .denied(&[".metadata.ownerReferences[uid=11111111-", COLLECTOR]);
        let expected = Verdict {
            decision: "denied".to_owned(),
            reason: "leads-to-deletion".to_owned(),
            exemption: String::new(),
        };
        assert_eq!(scene.verdict("patch", resource, "myapp"), expected);
    }
}

#[test]
fn an_owner_must_be_an_object_of_the_same_release_not_a_namesake() {
    let scene = scene("owner-declared");
    scene.install("myapp", &myapp("1.0.0"));
    scene.settled("deployment/myapp", 1);
    let owner = |uid: Value| {
        json!({"metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "myapp", "uid": uid},
        ]}})
    };
    let bogus = json!("11111111-1111-1111-1111-111111111111");
    scene
        .patch("configmap/myapp", "merge", &owner(bogus))
        .denied(&[COLLECTOR]);
    let uid = scene.at("deployment/myapp", "/metadata/uid");
    scene.patch("configmap/myapp", "merge", &owner(uid)).quiet();
    let nobody = json!({"metadata": {"ownerReferences": null}});
    scene.patch("configmap/myapp", "merge", &nobody).quiet();
}

#[test]
fn records_namespaces_and_crds_get_no_owner_either() {
    let scene = scene("owner-base");
    let ns = scene.ns.name();
    let group = format!("{ns}.example.com");
    let instance =
        format!("---\napiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: one}}\nspec: {{}}\n");
    let crd = format!("customresourcedefinition/widgets.{group}");
    scene.kubectl("create -f -").stdin(widgets_crd(&group)).ok();
    established(&[&format!("widgets.{group}")]);
    scene.install("web", &single(&(CONFIG_MAP.to_owned() + &instance)));
    scene.settled("configmap/settings", 1);

    let record = format!("secret/{}", record_name("web", 1));
    scene.patch(&record, "merge", &bogus_owner()).denied(&[
        "is the record of Helm release \"web\"",
        ".metadata.ownerReferences",
    ]);
    let namespace = format!("namespace/{ns}");
    for subresource in ["", " --subresource=status"] {
        scene
            .patch(
                &format!("{namespace}{subresource}"),
                "merge",
                &cluster_owner(),
            )
            .denied(&["holds Helm releases", ".metadata.ownerReferences"]);
    }
    scene.patch(&crd, "merge", &cluster_owner()).denied(&[
        "has instances that Helm releases declare",
        ".metadata.ownerReferences",
    ]);
    let owners = |what: &str| scene.at(what, "/metadata/ownerReferences");
    // Whether the status of a CRD keeps its metadata is up to the API server.
    let by_status = format!("{crd} --subresource=status");
    scene.patch(&by_status, "merge", &cluster_owner()).run();
    for what in [&record, &namespace, &crd] {
        assert_eq!(owners(what), Value::Null, "{what}");
    }
    scene
        .patch(
            &namespace,
            "merge",
            &json!({"metadata": {"labels": {"a": "b"}}}),
        )
        .quiet();
    scene.helm("uninstall web").ok();
    scene.kubectl(&format!("delete {crd}")).ok();
}

fn cluster_owner() -> Value {
    json!({"metadata": {"ownerReferences": [{
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "no-such",
        "uid": "11111111-1111-1111-1111-111111111111",
    }]}})
}

/// If somebody bypassed the guard, the garbage collector itself is denied.
#[test]
fn the_garbage_collector_is_denied_if_no_release_declares_the_owner() {
    let scene = scene("collected");
    scene.kubectl("create configmap owner").ok();
    let uid = scene.at("configmap/owner", "/metadata/uid");
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    let owner = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid},
    ]}});
    scene.drift("configmap/settings", "merge", &owner);
    scene.kubectl("delete configmap owner").ok();
    let user = format!("{KUBE_SYSTEM}generic-garbage-collector");
    let object = ("configmaps", scene.ns.name(), "settings");
    assert_eq!(verdict(&user, "delete", object).reason, "object-deleted");
    assert!(scene.holds("configmap/settings"));
}

#[test]
fn a_ttl_cannot_make_the_ttl_controller_delete_a_declared_job() {
    let scene = scene("ttl-added");
    scene.install("jobs", &single(JOB));
    eventually("a Job that has finished", || {
        (scene.at("job/migrate", "/status/succeeded") == 1).then_some(())
    });
    scene.settled("job/migrate", 1);
    scene
        .patch(
            "job/migrate",
            "merge",
            &json!({"spec": {"ttlSecondsAfterFinished": 0}}),
        )
        .denied(&[".spec.ttlSecondsAfterFinished", "preset ttl-after-finished"]);
    assert_eq!(
        scene.at("job/migrate", "/metadata/deletionTimestamp"),
        Value::Null
    );
}

const JOB: &str = "\
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: migrate, image: migrate}]
";

#[test]
fn an_aggregation_rule_cannot_replace_the_rules_of_a_declared_role() {
    let scene = scene("aggregate");
    let name = scene.ns.name();
    let role = format!("clusterrole/{name}-plain");
    let manifest = format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {name}-plain}}
rules:
  - {{apiGroups: [''], resources: [pods], verbs: [get]}}
"
    );
    scene.install("roles", &single(&manifest));
    scene.settled(&role, 1);
    let aggregation = json!({"aggregationRule": {"clusterRoleSelectors": [
        {"matchLabels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
    ]}});
    scene
        .patch(&role, "merge", &aggregation)
        .denied(&[".aggregationRule", "preset clusterrole-aggregation"]);
    assert_eq!(scene.at(&role, "/rules/0/resources"), json!(["pods"]));
    scene.helm("uninstall roles").ok();
}

#[test]
fn an_undeclared_autoscaler_scales_and_is_reported() {
    let scene = scene("autoscaled");
    scene.install("myapp", &myapp("1.0.0"));
    scene.settled("deployment/myapp", 1);
    scene
        .kubectl("autoscale deployment myapp --min=5 --max=8 --cpu=80%")
        .ok();
    eventually("five replicas, by the autoscaler", || {
        (scene.at("deployment/myapp", "/spec/replicas") == 5).then_some(())
    });
    let user = format!("{KUBE_SYSTEM}horizontal-pod-autoscaler");
    let object = ("deployments/scale", scene.ns.name(), "myapp");
    let expected = Verdict {
        reason: "undeclared-autoscaler".to_owned(),
        ..Verdict::exempt("horizontal-pod-autoscaler")
    };
    assert_eq!(verdict(&user, "update", object), expected);
    let event = eventually("an event on the Deployment", || {
        let events = scene.get("events.events.k8s.io");
        let mut events = events["items"].as_array().unwrap().clone().into_iter();
        events.find(|event| event["reason"] == "UndeclaredAutoscaler")
    });
    assert_eq!(event["regarding"]["kind"], "Deployment");
    assert_eq!(event["regarding"]["name"], "myapp");
}

/// A Pod or a claim that stays is deleted again, with force.
#[test]
fn an_object_being_deleted_may_be_deleted_again() {
    let scene = scene("again");
    scene.install("settings", &single(CONFIG_MAP));
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    scene.patch("configmap/settings", "merge", &hold).quiet();
    scene.settled("configmap/settings", 1);
    scene.oncall("delete configmap settings --wait=false").ok();
    scene
        .kubectl("delete configmap settings --wait=false --grace-period=0 --force")
        .quiet();
    let expected = Verdict::allowed("nothing-declared-changes");
    let object = ("configmaps", scene.ns.name(), "settings");
    assert_eq!(verdict(BOB, "delete", object), expected);
    let release = json!({"metadata": {"finalizers": null}});
    scene.patch("configmap/settings", "merge", &release).quiet();
}

/// A user who may create a ReplicaSet could have its controller adopt a bare Pod, and delete it as
/// surplus.
#[test]
fn a_replica_set_does_not_adopt_a_declared_pod() {
    let scene = scene("adopted");
    let pod = "\
apiVersion: v1
kind: Pod
metadata: {name: lonely, labels: {app: lonely}}
spec:
  containers: [{name: server, image: nginx}]
";
    scene.install("lonely", &single(pod));
    scene.settled("pod/lonely", 1);
    let replica_set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "greedy"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "lonely"}},
            "template": {
                "metadata": {"labels": {"app": "lonely"}},
                "spec": {"containers": [{"name": "server", "image": "nginx"}]},
            },
        },
    });
    scene
        .kubectl("create -f -")
        .stdin(replica_set.to_string())
        .ok();
    let user = format!("{KUBE_SYSTEM}replicaset-controller");
    let object = ("pods", scene.ns.name(), "lonely");
    assert_eq!(verdict(&user, "patch", object).reason, "leads-to-deletion");
    assert!(scene.holds("pod/lonely"));
}

#[test]
fn a_selector_cannot_replace_declared_endpoints() {
    let scene = scene("endpoints");
    let manifest = "\
apiVersion: v1
kind: Service
metadata: {name: db}
spec:
  ports: [{port: 5432}]
---
apiVersion: v1
kind: Endpoints
metadata: {name: db}
subsets:
  - addresses: [{ip: 192.0.2.7}]
    ports: [{port: 5432}]
";
    scene.install("db", &single(manifest));
    scene.settled("endpoints/db", 1);
    let selector = json!({"spec": {"selector": {"app": "nobody"}}});
    scene.patch("service/db", "merge", &selector).quiet();
    let user = format!("{KUBE_SYSTEM}endpoint-controller");
    let object = ("endpoints", scene.ns.name(), "db");
    assert_eq!(verdict(&user, "update", object).reason, "fields-changed");
    let address = scene.at("endpoints/db", "/subsets/0/addresses/0/ip");
    assert_eq!(address, json!("192.0.2.7"));
}
