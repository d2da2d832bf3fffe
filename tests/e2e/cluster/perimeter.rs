//! Ways to change a declared object other than a plain write of a labeled object.

use serde_json::{Value, json};
use testbed::{Chart, HelmVersion, Invocation, shared};

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, Verdict, eventually},
    world::{log_about, world},
};

const LABEL: &str = "app.kubernetes.io/managed-by";

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {example.com/idle-timeout: '60'}}
spec: {type: LoadBalancer, ports: [{port: 80}]}
";

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: bare, labels: {app: bare}}
spec: {schedulerName: nobody, containers: [{name: web, image: nginx}]}
";

fn scene(stem: &str) -> Scene {
    world();
    Scene::new(stem, HelmVersion::V4)
}

fn status_patch(scene: &Scene, what: &str, patch: &Value) -> Invocation {
    scene
        .kubectl(&format!(
            "patch {what} --subresource=status --type=merge -p"
        ))
        .arg(patch.to_string())
}

#[test]
fn a_status_write_may_not_change_marks_or_declared_annotations() {
    let scene = scene("status");
    scene.install("web", &single(SERVICE));
    scene.settled("service/web", 1);
    let metadata = |metadata: Value| json!({"metadata": metadata});
    for (patch, field) in [
        (json!({"labels": {LABEL: null}}), LABEL),
        (
            json!({"annotations": {"meta.helm.sh/release-name": "other"}}),
            "meta.helm.sh/release-name",
        ),
        (
            json!({"annotations": {"example.com/idle-timeout": "1"}}),
            "example.com/idle-timeout",
        ),
    ] {
        status_patch(&scene, "service/web", &metadata(patch)).denied(&[field]);
    }
    // What load balancer controllers write.
    let ingress = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    status_patch(&scene, "service/web", &ingress).quiet();
    let finalizer =
        metadata(json!({"finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}));
    status_patch(&scene, "service/web", &finalizer).quiet();
    status_patch(
        &scene,
        "service/web",
        &metadata(json!({"annotations": {"seen": "yes"}})),
    )
    .quiet();
    status_patch(
        &scene,
        "service/web",
        &metadata(json!({"finalizers": null})),
    )
    .quiet();
}

/// Charts made from live objects declare an annotation that the deployment controller writes with the status.
#[test]
fn a_declared_rollout_revision_does_not_block_the_deployment_controller() {
    let scene = scene("revision");
    let deployment = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {deployment.kubernetes.io/revision: '1'}}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: nginx}]}}
";
    scene.install("web", &single(deployment));
    scene.settled("deployment/web", 1);
    let revision = "/metadata/annotations/deployment.kubernetes.io~1revision";
    scene.kubectl("rollout restart deployment/web").quiet();
    scene
        .kubectl("rollout status deployment/web --timeout=90s")
        .ok();
    assert_eq!(scene.at("deployment/web", revision), "2");
    // Nobody else may write it, not even through the status.
    let third = json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "3"}}});
    status_patch(&scene, "deployment/web", &third).denied(&["revision"]);
}

#[test]
fn finalizing_a_namespace_may_not_remove_its_marks() {
    let scene = scene("finalize");
    let name = format!("{}-inner", scene.ns);
    let manifest = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    scene.install("namespaces", &single(&manifest));
    scene.settled(&format!("namespace/{name}"), 1);
    let mut namespace = scene.get(&format!("namespace/{name}"));
    namespace["metadata"]["labels"] = json!({"kubernetes.io/metadata.name": name});
    scene
        .kubectl(&format!(
            "replace --raw /api/v1/namespaces/{name}/finalize -f -"
        ))
        .stdin(namespace.to_string())
        .denied(&[LABEL]);
    scene.helm("uninstall namespaces").ok();
}

fn evict(scene: &Scene, pod: &str, options: &Value) -> Invocation {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": scene.ns.name()}, "deleteOptions": options});
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", scene.ns);
    scene
        .kubectl(&format!("create --raw {path} -f -"))
        .stdin(eviction.to_string())
}

#[test]
fn only_the_eviction_of_a_declared_pod_is_denied() {
    let scene = scene("eviction");
    scene.install("bare", &single(POD));
    scene.settled("pod/bare", 1);
    let copy = POD.replace("bare", "other");
    scene.kubectl("create -f -").stdin(copy).ok();
    evict(&scene, "bare", &json!({"dryRun": ["All"]})).denied(&["Pod \"bare\""]);
    assert!(
        log_about(scene.ns.name()).is_empty(),
        "a dry run leaves no line"
    );
    evict(&scene, "bare", &json!({})).denied(&[
        "Pod \"bare\" is declared by Helm release \"bare\"",
        "helm uninstall bare",
    ]);
    assert!(scene.holds("pod/bare"));
    evict(&scene, "other", &json!({})).quiet();
    scene.helm("uninstall bare").ok();
}

#[test]
fn a_binding_may_not_overwrite_the_marks_of_a_declared_pod() {
    let scene = scene("binding");
    scene.install("bare", &single(POD));
    scene.settled("pod/bare", 1);
    let bind = |metadata: Value| {
        let mut metadata = metadata;
        metadata["name"] = json!("bare");
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": metadata,
            "target": {"apiVersion": "v1", "kind": "Node", "name": "node-a"}});
        let path = format!("/api/v1/namespaces/{}/pods/bare/binding", scene.ns);
        scene
            .kubectl(&format!("create --raw {path} -f -"))
            .stdin(binding.to_string())
    };
    bind(json!({"labels": {LABEL: "me"}})).denied(&[LABEL]);
    bind(json!({"annotations": {"meta.helm.sh/release-name": "x"}})).denied(&["release-name"]);
    bind(json!({"annotations": {"example.com/scheduled-by": "me"}})).quiet();
    assert_eq!(scene.at("pod/bare", "/spec/nodeName"), "node-a");
}

/// Scenario 61: kube-system is where load balancer controllers and CNIs live.
#[test]
fn objects_in_kube_system_are_guarded_like_any_other() {
    let scene = scene("kube-system");
    let name = scene.ns.name();
    let manifest = format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}, namespace: kube-system}}
data: {{colour: blue}}
"
    );
    scene.install("system", &single(&manifest));
    let what = format!("configmap/{name} --namespace kube-system");
    scene.settled(&what, 1);
    let red = json!({"data": {"colour": "red"}});
    scene.patch(&what, "merge", &red).denied(&[".data.colour"]);
    scene.kubectl(&format!("delete {what}")).denied(&[]);
    scene.helm("uninstall system").quiet();
}

/// Scenario 61: the guard must never block its own repair.
#[test]
fn in_its_own_namespace_the_guard_only_exempts_its_own_release() {
    let scene = scene("own");
    let namespace = "helm-guard";
    let install = |release: &str, chart: &str, object: &str| {
        let manifest = CONFIG_MAP.replace("settings", object);
        let chart = shared().chart(&Chart::new(chart, "1.0.0").template("all.yaml", &manifest));
        scene
            .helm(&format!("install {release} --namespace {namespace}"))
            .arg(chart)
            .ok();
    };
    let (own, other) = (format!("{}-own", scene.ns), format!("{}-other", scene.ns));
    install(&own, "helm-guard", &own);
    install(&other, "single", &other);
    let what = format!("configmap/{other} --namespace {namespace}");
    scene.settled(&what, 1);
    let red = json!({"data": {"colour": "red"}});
    scene.patch(&what, "merge", &red).denied(&[".data.colour"]);
    let mine = format!("configmap/{own} --namespace {namespace}");
    eventually("a guard that knows its own release", || {
        scene.patch(&mine, "merge", &red).ok();
        let verdict =
            crate::scene::verdict(crate::scene::BOB, "patch", ("configmaps", namespace, &own));
        (verdict == Verdict::allowed("own-release")).then_some(())
    });
    scene.kubectl(&format!("delete {mine}")).quiet();
    for release in [own, other] {
        let uninstall = format!("uninstall {release} --namespace {namespace}");
        scene.helm(&uninstall).quiet();
    }
}

#[test]
fn each_annotated_object_of_a_deleted_collection_is_evaluated() {
    let scene = scene("unlabeled");
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    let label = json!({"metadata": {"labels": {LABEL: null, "batch": "one"}}});
    scene.drift("configmap/settings", "merge", &label);
    let path = format!(
        "delete --raw /api/v1/namespaces/{}/configmaps?labelSelector=batch%3Done",
        scene.ns
    );
    scene.kubectl(&path).denied(&["ConfigMap \"settings\""]);
}
