//! Records in another namespace: forged, copied, or written by Helm. What they claim outside their
//! namespace counts only if a live object confirms it.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{HelmVersion, Namespace, shared};

use super::forged_records::{copied, create, record};
use crate::{
    charts::{CONFIG_MAP, myapp, single, widgets_crd},
    scene::{Scene, Screen, Verdict, eventually, verdict},
    world::world,
};

fn scene(stem: &str) -> Scene {
    world();
    Scene::new(stem, HelmVersion::V4)
}

/// A deployed release in `evil` with this manifest, once the guard knows it.
fn forge(evil: &Namespace<'_>, name: &str, manifest: &str) {
    create(&record(
        evil.name(),
        (evil.name(), name),
        "deployed",
        manifest,
    ));
    heard_of(evil.name(), name);
}

/// Waits until the guard knows the records of this release in this namespace.
fn heard_of(namespace: &str, name: &str) {
    eventually("a guard that has heard of the record", || {
        let metrics = world().guard.admin_get("/metrics").body;
        let mut infos = metrics
            .lines()
            .filter(|line| line.starts_with("helm_release_info{"));
        let release = format!("release=\"{name}\"");
        let namespace = format!("namespace=\"{namespace}\"");
        infos
            .any(|line| line.contains(&release) && line.contains(&namespace))
            .then_some(())
    });
}

fn in_namespace(manifest: &str, namespace: &str) -> String {
    manifest.replace(
        "{name: settings}",
        &format!("{{name: settings, namespace: {namespace}}}"),
    )
}

/// The object exists, and belongs to no release, or to another one.
#[rstest]
#[case::plain(json!({}))]
#[case::of_another_release(json!({
    "meta.helm.sh/release-name": "x", "meta.helm.sh/release-namespace": "elsewhere",
}))]
fn a_forged_record_does_not_block_deleting_a_namespace(#[case] annotations: Value) {
    let scene = scene("not-held");
    let evil = shared().namespace("evil");
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "annotations": annotations},
    });
    scene
        .kubectl("create -f -")
        .stdin(object.to_string())
        .quiet();
    forge(&evil, "x", &in_namespace(CONFIG_MAP, scene.ns.name()));
    let delete = format!("delete namespace {} --timeout=120s", scene.ns);
    scene.kubectl(&delete).quiet();
    // It protects its own namespace, where its manifest counts.
    let delete = format!("delete namespace {evil} --dry-run=server");
    scene.kubectl(&delete).denied(&["\"x\""]);
}

#[rstest]
fn a_release_protects_the_namespace_of_an_object_that_names_it(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("holding", version);
    let away = shared().namespace("held");
    scene.install("web", &single(&in_namespace(CONFIG_MAP, away.name())));
    let delete = format!("delete namespace {away} --timeout=120s");
    eventually("a guard that knows the release", || {
        let asked = scene.kubectl(&format!("{delete} --dry-run=server")).run();
        asked.says("\"web\"").then_some(())
    });
    scene
        .kubectl(&delete)
        .denied(&[&format!("\"web\" in namespace \"{}\"", scene.ns)]);
    scene.helm("uninstall web").quiet();
    scene.kubectl(&delete).quiet();
}

/// The original stays protected; its copy may be deleted.
#[test]
fn a_copied_namespace_may_be_deleted_and_does_not_protect_the_original() {
    let scene = scene("copied");
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    let copy = copied(&scene);
    let original = format!("delete namespace {} --timeout=120s", scene.ns);
    scene.kubectl(&original).denied(&["\"settings\""]);
    scene
        .kubectl(&format!("delete namespace {copy} --timeout=120s"))
        .quiet();
    scene.helm("uninstall settings").quiet();
    scene.kubectl(&original).quiet();
}

/// The guard may read instances if their operator grants that to everyone.
#[test]
fn a_forged_record_does_not_block_deleting_a_crd_with_readable_instances() {
    let scene = scene("defined");
    let ns = scene.ns.name();
    let group = format!("{ns}.example.com");
    let instance = format!(
        "apiVersion: {group}/v1
kind: Widget
metadata: {{name: one, namespace: {ns}}}
spec: {{size: 2}}
"
    );
    scene
        .kubectl("create -f -")
        .stdin(widgets_crd(&group))
        .quiet();
    eventually("an instance", || {
        let made = scene.kubectl("create -f -").stdin(instance.as_str()).run();
        made.status.success().then_some(())
    });
    let evil = shared().namespace("evil");
    forge(&evil, "x", &instance);
    let delete = format!("delete customresourcedefinition widgets.{group}");
    scene
        .kubectl(&delete)
        .denied(&["Widget \"one\"", "helm uninstall x"]);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {
            "name": format!("{ns}-view"),
            "labels": {"helm-guard.dev/aggregate-to-live": "true"},
        },
        "rules": [{"apiGroups": [group], "resources": ["widgets"], "verbs": ["get"]}],
    });
    create(&role);
    eventually("a guard that may look", || {
        let asked = scene.kubectl(&format!("{delete} --dry-run=server")).run();
        asked.status.success().then_some(())
    });
    scene.kubectl(&delete).quiet();
    let role = format!("delete clusterrole {ns}-view");
    scene.kubectl_as(shared().admin(), &role).ok();
}

/// It would hide an autoscaler that was created by hand.
#[test]
fn a_forged_record_does_not_declare_an_autoscaler() {
    let scene = scene("hidden");
    let ns = scene.ns.name();
    scene.install("myapp", &myapp("1.0.0"));
    scene.settled("deployment/myapp", 1);
    let evil = shared().namespace("evil");
    let autoscaler = format!(
        "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: myapp, namespace: {ns}}}
spec: {{scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: myapp}}}}
"
    );
    forge(&evil, "x", &autoscaler);
    scene
        .kubectl("autoscale deployment myapp --min=5 --max=8 --cpu=80%")
        .ok();
    eventually("five replicas, by the autoscaler", || {
        (scene.at("deployment/myapp", "/spec/replicas") == 5).then_some(())
    });
    let user = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
    let expected = Verdict {
        reason: "undeclared-autoscaler".to_owned(),
        ..Verdict::exempt("horizontal-pod-autoscaler")
    };
    let said = verdict(user, "update", ("deployments/scale", ns, "myapp"));
    assert_eq!(said, expected);
}

/// A chart that declares it for a workload in another namespace, with Helm's marks.
#[test]
fn an_autoscaler_that_names_its_release_may_be_declared_in_another_namespace() {
    let scene = scene("scaled");
    let ns = scene.ns.name();
    scene.install("myapp", &myapp("1.0.0"));
    scene.settled("deployment/myapp", 1);
    let home = Scene::new("scaler", HelmVersion::V4);
    let autoscaler = format!(
        "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: myapp, namespace: {ns}}}
spec:
  minReplicas: 5
  maxReplicas: 8
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: myapp}}
"
    );
    home.install("scaler", &single(&autoscaler));
    eventually("five replicas, by the autoscaler", || {
        (scene.at("deployment/myapp", "/spec/replicas") == 5).then_some(())
    });
    let user = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
    let said = verdict(user, "update", ("deployments/scale", ns, "myapp"));
    assert_eq!(said, Verdict::exempt("horizontal-pod-autoscaler"));
}
