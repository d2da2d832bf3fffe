//! Objects and records in unusual namespaces.

use base64::{Engine, prelude::BASE64_STANDARD};
use rstest::rstest;
use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use super::steps::{assert_unhindered, force_conflicts, foreign_colour_is_denied, paint, settings};
use crate::{
    charts::{single, widgets_crd},
    scene::{Scene, Screen, eventually, record_name},
    world::world,
};

fn create(object: &Value) {
    let kubectl = shared().kubectl().cmd(shared().admin());
    kubectl
        .args(["create", "-f", "-"])
        .stdin(object.to_string())
        .ok();
}

/// The chart version in moved records, which shows whether the guard has read them.
const MOVED: &str = "0.0.0-moved";

/// Moves all records of a release that declares `object` to another namespace, where Helm itself does
/// not look. The copies count once the release's own namespace has none of its records.
pub fn move_records(scene: &Scene, release: &str, object: &str, namespace: &str) {
    let records = scene.get(&format!("secret -l owner=helm,name={release}"));
    for record in records["items"].as_array().unwrap() {
        let mut record = record.clone();
        let labels = record["metadata"]["labels"].clone();
        let revision = labels["version"].as_str().unwrap().parse().unwrap();
        let mut body = scene.record(release, revision);
        body["chart"]["metadata"]["version"] = MOVED.into();
        record["data"]["release"] = encode(&body).into();
        record["metadata"] = json!({
            "name": record["metadata"]["name"], "namespace": namespace, "labels": labels,
        });
        create(&record);
    }
    scene
        .oncall(&format!("delete secret -l owner=helm,name={release}"))
        .ok();
    let delete = format!("delete {object} --dry-run=server");
    eventually("a guard that has read the moved records", || {
        scene.kubectl(&delete).run().says(MOVED).then_some(())
    });
}

/// A record's uncompressed body, as older Helm versions stored it.
fn encode(body: &Value) -> String {
    BASE64_STANDARD.encode(BASE64_STANDARD.encode(body.to_string()))
}

/// An upgrade as by Flux, with the records in Flux's namespace.
#[test]
fn an_upgrade_with_records_in_another_namespace_is_allowed() {
    world();
    let scene = Scene::new("flux", HelmVersion::V4);
    let flux = shared().namespace("flux-system");
    scene.install("settings", &settings());
    let mut next = scene.record("settings", 1);
    move_records(&scene, "settings", "configmap/settings", flux.name());
    foreign_colour_is_denied(&scene, 1);

    let manifest = next["manifest"].as_str().unwrap().replace("blue", "green");
    let apply = || {
        let line = "apply --server-side --force-conflicts --field-manager=helm-controller -f -";
        scene.kubectl(line).stdin(manifest.clone())
    };
    apply().denied(&["requested \"green\""]);
    next["version"] = 2.into();
    next["info"]["status"] = "pending-upgrade".into();
    next["manifest"] = manifest.clone().into();
    let label = |status: &str| json!({"owner": "helm", "name": "settings", "version": "2", "status": status});
    create(&json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {
            "name": record_name("settings", 2),
            "namespace": flux.name(),
            "labels": label("pending-upgrade"),
        },
        "data": {"release": encode(&next)},
    }));
    apply().quiet();
    foreign_colour_is_denied(&scene, 2);
    paint(&scene, "blue").quiet();
    apply().quiet();

    for (revision, status) in [(1, "superseded"), (2, "deployed")] {
        let record = record_name("settings", revision);
        let line = format!("label secret {record} --overwrite status={status}");
        scene.oncall(&line).args(["-n", flux.name()]).ok();
    }
    foreign_colour_is_denied(&scene, 2);
    assert_unhindered(&scene);
}

#[rstest]
fn objects_outside_the_namespace_of_their_release_have_a_full_life_cycle(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("release", version);
    let there = shared().namespace("there");
    let manifest = format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: far, namespace: {there}}}
data: {{colour: '{{{{ .Values.colour }}}}'}}
{{{{- if .Values.more }}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: farther, namespace: {there}}}
{{{{- end }}}}
"
    );
    let chart = settings()
        .values("colour: blue\nmore: true\n")
        .template("far.yaml", &manifest);
    let chart = scene.install("spread", &chart);
    let chart = chart.display();
    let foreign = |revision: u32| {
        foreign_colour_is_denied(&scene, revision);
        scene
            .patch(
                "configmap/far",
                "merge",
                &json!({"data": {"colour": "foreign"}}),
            )
            .args(["-n", there.name()])
            .denied(&[&format!("in namespace \"{}\"", scene.ns)]);
    };
    foreign(1);
    scene
        .helm(&format!(
            "upgrade spread {chart} --set colour=green,more=false"
        ))
        .ok();
    foreign(2);
    let left = |name: &str| {
        let line = format!("get configmap {name} --ignore-not-found -o name");
        let output = scene.kubectl(&line).args(["-n", there.name()]).ok();
        !output.stdout.trim().is_empty()
    };
    assert!(left("far") && !left("farther"));
    scene.helm("rollback spread 1").ok();
    foreign(3);
    assert!(left("farther"));
    scene.helm("uninstall spread").ok();
    assert!(!left("far") && !left("farther"));
    assert_unhindered(&scene);
}

/// A kept object belongs to no release until one declares it again.
#[rstest]
fn a_kept_object_may_change_until_the_next_install_adopts_it(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("kept", version);
    let kept = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  annotations: {helm.sh/resource-policy: keep}
data: {colour: blue}
";
    let chart = scene.install("settings", &single(kept));
    foreign_colour_is_denied(&scene, 1);
    scene.helm("uninstall settings").ok();
    assert!(scene.holds("configmap/settings"));
    paint(&scene, "red").quiet();
    let install = format!("install settings {}", chart.display());
    scene.helm(&install).args(force_conflicts(version)).ok();
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "blue");
    foreign_colour_is_denied(&scene, 1);
    assert_unhindered(&scene);
}

/// CRDs in `crds/` belong to no release: Helm 3 keeps an older one, Helm 4 updates it. Custom
/// resources are guarded by their current CRD.
#[rstest]
#[case::helm3(HelmVersion::V3, false)]
#[case::helm4(HelmVersion::V4, true)]
fn a_chart_may_update_the_crd_of_its_resources(
    #[case] version: HelmVersion,
    #[case] updates: bool,
) {
    world();
    let scene = Scene::new("crds", version);
    let group = format!("{}.example.com", scene.ns);
    let older = widgets_crd(&group);
    let newer = older.replace(
        "colour: {type: string}",
        "colour: {type: string, maxLength: 40}",
    );
    assert_ne!(older, newer);
    let widget = format!(
        "apiVersion: {group}/v1
kind: Widget
metadata: {{name: '{{{{ .Release.Name }}}}'}}
spec:
  colour: '{{{{ .Values.colour }}}}'
  parts: [{{name: a, weight: 1}}, {{name: b, weight: 2}}]
"
    );
    let chart = |crd: &str| {
        single(&widget)
            .values("colour: blue\n")
            .crd("widgets.yaml", crd)
    };
    scene.install("first", &chart(&older));
    let newer = scene.install("second", &chart(&newer));
    let crd = format!("customresourcedefinition/widgets.{group}");
    let length =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/colour/maxLength";
    assert_eq!(scene.at(&crd, length) == 40, updates);

    for release in ["first", "second"] {
        let widget = format!("widgets.{group}/{release}");
        scene.settled(&widget, 1);
        let parts = json!({"spec": {"parts": [{"name": "b", "weight": 2}]}});
        scene
            .patch(&widget, "merge", &parts)
            .denied(&[".spec.parts[name=a]"]);
        let parts = json!({"spec": {"parts": [
            {"name": "b", "weight": 2}, {"name": "c", "weight": 3}, {"name": "a", "weight": 1},
        ]}});
        scene.patch(&widget, "merge", &parts).quiet();
        // A merge patch of Helm contains the changes between the manifests, and no drift.
        let drift = json!({"spec": {"shape": "round", "colour": "red"}});
        scene.drift(&widget, "merge", &drift);
        scene
            .helm(&format!(
                "upgrade {release} {} --set colour=green",
                newer.display()
            ))
            .args(force_conflicts(version))
            .ok();
        assert_eq!(scene.at(&widget, "/spec/colour"), "green");
        scene.settled(&widget, 2);
        scene
            .patch(&widget, "merge", &json!({"spec": {"colour": "foreign"}}))
            .denied(&[".spec.colour: declared \"green\""]);
        scene.helm(&format!("uninstall {release}")).ok();
    }
    scene.kubectl(&format!("delete {crd}")).quiet();
    assert_unhindered(&scene);
}
