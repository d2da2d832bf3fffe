//! Records that are not Helm's: of another type, in another namespace, copied, or left behind. They neither
//! allow changes of an object nor block its release.

use base64::{Engine, prelude::BASE64_STANDARD};
use rstest::rstest;
use serde_json::{Value, json};
use testbed::{HelmVersion, Namespace, shared};

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually, record_name},
    world::world,
};

fn scene(stem: &str, version: HelmVersion) -> Scene {
    world();
    Scene::new(stem, version)
}

/// A Secret that claims to be a record of this release and revision, in this status.
pub fn record(at: &str, (namespace, name): (&str, &str), status: &str, manifest: &str) -> Value {
    let body = json!({
        "name": name, "namespace": namespace, "version": 99, "info": {"status": status},
        "chart": {"metadata": {"name": "made-up", "version": "1.0.0"}}, "manifest": manifest,
    });
    let inner = BASE64_STANDARD.encode(body.to_string());
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "name": record_name(name, 99), "namespace": at,
            "labels": {"owner": "helm", "name": name, "version": "99", "status": status},
        },
        "data": {"release": BASE64_STANDARD.encode(inner)},
    })
}

/// A user who may write Secrets in the namespace that it names.
pub fn create(object: &Value) {
    let admin = shared().kubectl().cmd(shared().admin());
    admin
        .args(["create", "-f", "-"])
        .stdin(object.to_string())
        .ok();
}

fn red() -> Value {
    json!({"data": {"colour": "red"}})
}

/// The ConfigMap of the other namespace, in another color.
fn claim_on(namespace: &str) -> String {
    CONFIG_MAP.replace("blue", "red").replace(
        "{name: settings}",
        &format!("{{name: settings, namespace: {namespace}}}"),
    )
}

/// Helm would read it; the guard denies creating it and does not count it.
#[test]
fn a_secret_of_another_type_is_not_a_record_and_cannot_become_one() {
    let scene = scene("opaque", HelmVersion::V4);
    let ns = scene.ns.name();
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    let mut secret = record(ns, (ns, "settings"), "uninstalled", "");
    secret["type"] = json!("Opaque");
    scene
        .kubectl("create -f -")
        .stdin(secret.to_string())
        .denied(&["is the record of", ".type: declared helm.sh/release.v1"]);
    // An ordinary Secret turned into a record.
    let mut plain = secret.clone();
    plain["metadata"]["labels"] = json!({});
    scene
        .kubectl("create -f -")
        .stdin(plain.to_string())
        .quiet();
    let labels = json!({"metadata": {"labels": secret["metadata"]["labels"]}});
    let name = format!("secret/{}", record_name("settings", 99));
    scene.patch(&name, "merge", &labels).denied(&[".type"]);
    scene.drift(&name, "merge", &labels);
    scene
        .patch("configmap/settings", "merge", &red())
        .denied(&[".data.colour"]);
    // A forged record may always be deleted.
    scene.kubectl(&format!("delete {name}")).quiet();
}

/// A user who may write Secrets in one namespace can claim nothing in another, whatever the status.
#[rstest]
#[case::deployed("deployed")]
#[case::pending("pending-install")]
fn a_record_in_another_namespace_allows_nothing(#[case] status: &str) {
    let scene = scene("opened", HelmVersion::V4);
    let ns = scene.ns.name();
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    let evil = shared().namespace("evil");
    let forged = record(evil.name(), (evil.name(), "x"), status, &claim_on(ns));
    create(&forged);
    let taken = json!({
        "data": {"colour": "red"},
        "metadata": {"annotations": {
            "meta.helm.sh/release-name": "x", "meta.helm.sh/release-namespace": evil.name(),
        }},
    });
    let unmarked = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
    for manager in ["kubectl-edit", "helm"] {
        for patch in [&red(), &unmarked] {
            let what = scene.patch("configmap/settings", "merge", patch);
            what.args(["--field-manager", manager])
                .denied(&["declared by Helm release \"settings\""]);
        }
    }
    scene
        .patch("configmap/settings", "merge", &taken)
        .denied(&[".data.colour"]);
}

/// Helm's own steps are allowed.
#[rstest]
fn a_record_in_another_namespace_blocks_nothing(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let scene = scene("locked", version);
    let ns = scene.ns.name();
    let chart = scene.install("settings", &single(CONFIG_MAP));
    let evil = shared().namespace("evil");
    let forged = record(evil.name(), (evil.name(), "x"), "deployed", &claim_on(ns));
    create(&forged);
    // The same for a release of that very name.
    let forged = record(evil.name(), (ns, "settings"), "deployed", &claim_on(ns));
    create(&forged);
    scene
        .helm(&format!("upgrade settings {} --set a=b", chart.display()))
        .quiet();
    scene.helm("uninstall settings").quiet();
    assert!(!scene.holds("configmap/settings"));
}

/// A namespace with a copy of the first record of `settings`, once the guard knows it.
pub fn copied(scene: &Scene) -> Namespace<'static> {
    let copy = shared().namespace("copy");
    let mut record = scene.get(&format!("secret/{}", record_name("settings", 1)));
    record["metadata"] = json!({
        "name": record["metadata"]["name"], "namespace": copy.name(),
        "labels": record["metadata"]["labels"],
    });
    create(&record);
    eventually("a warning about the copy", || {
        let ready = world().guard.admin_get("/readyz?verbose").body;
        let storage = format!("{}/settings", copy.name());
        ready.contains(&storage).then_some(())
    });
    copy
}

/// A restored namespace, a Secret copied by a controller.
#[rstest]
fn a_copied_namespace_does_not_block_the_original(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let scene = scene("original", version);
    let other = CONFIG_MAP.replace("settings", "other");
    scene.install("settings", &single(CONFIG_MAP).template("b.yaml", &other));
    let _copy = copied(&scene);
    let less = shared().chart(&single(&CONFIG_MAP.replace("blue", "green")));
    scene
        .helm(&format!("upgrade settings {}", less.display()))
        .quiet();
    assert!(!scene.holds("configmap/other"));
    scene.helm("uninstall settings").quiet();
}

/// Objects that a manifest declares in another namespace are guarded there, also through scale.
#[rstest]
fn an_object_that_names_its_release_is_guarded_in_another_namespace(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let scene = scene("reaching", version);
    let away = shared().namespace("away");
    let manifest = format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {away}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: 'nginx:1'}}]}}
"
    );
    let chart = scene.install("web", &single(&manifest));
    let bob = |line: &str| scene.kubectl(line).args(["-n", away.name()]);
    eventually("a guard that knows the release", || {
        let asked = bob("delete deployment web --dry-run=server").run();
        asked.says("revision 1,").then_some(())
    });
    bob("scale deployment web --replicas=3").denied(&[".spec.replicas"]);
    bob("set image deployment/web web=nginx:2").denied(&["image"]);
    scene
        .helm(&format!("upgrade web {} --set a=b", chart.display()))
        .quiet();
    scene.helm("uninstall web").quiet();
}

/// Helm prunes the oldest records, but never that of an unfinished operation.
#[rstest]
fn the_record_of_an_unfinished_install_cannot_be_deleted(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let scene = scene("stuck-install", version);
    let ns = scene.ns.name();
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    scene.set_status("settings", 1, "pending-install");
    let record = record_name("settings", 1);
    let back = format!("helm rollback settings -n {ns} 1");
    let raw = format!("delete --raw /api/v1/namespaces/{ns}/secrets/{record}");
    for line in [format!("delete secret {record}"), raw] {
        let denial = scene
            .kubectl(&line)
            .denied(&[&back, "helm uninstall settings"]);
        assert!(!denial.says("to an earlier revision"));
    }
    scene.helm("rollback settings 1").quiet();
    scene.settled("configmap/settings", 2);
    scene
        .patch("configmap/settings", "merge", &red())
        .denied(&[]);
}

/// A chart whose hook replaces an object that the chart declares.
#[test]
fn a_hook_may_delete_objects_of_its_chart_while_the_operation_runs() {
    let scene = scene("hooks", HelmVersion::V4);
    let ns = scene.ns.name();
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    let account = |name: &str| {
        let kubeconfig = shared().service_account(ns, name).unwrap();
        let user = format!("system:serviceaccount:{ns}:{name}");
        shared().grant_cluster_admin(&user).unwrap();
        kubeconfig
    };
    let (migrate, other) = (account("migrate"), account("other"));
    let hook = "apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: pre-upgrade}}
spec: {template: {spec: {serviceAccountName: migrate, containers: []}}}
";
    let delete = "delete configmap settings";
    scene.kubectl_as(&migrate, delete).denied(&[]);
    scene.rewrite_record("settings", 1, |body| {
        body["info"]["status"] = json!("pending-upgrade");
        body["hooks"] = json!([{
            "name": "migrate", "kind": "Job", "path": "hook.yaml", "manifest": hook,
            "events": ["pre-upgrade"],
        }]);
    });
    scene
        .kubectl_as(&other, delete)
        .denied(&[&format!("subjects.serviceAccounts: [{ns}/other]")]);
    scene.kubectl_as(&migrate, delete).quiet();
}
