//! Shared steps and assertions: charts that can be held halfway, the foreign value that is always
//! denied, and the log that contains nothing else.

use std::process::Child;

use serde_json::{Value, json};
use testbed::{ALICE, Chart, HelmVersion, shared};

use crate::{
    charts::single,
    scene::{BOB, Scene, Screen, eventually},
    world::log_about,
};

/// A ConfigMap `settings`; values: `colour`.
pub fn settings() -> Chart {
    single(SETTINGS).values("colour: blue\n")
}

const SETTINGS: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: '{{ .Values.colour }}'}
";

/// A Deployment `web`; values: `image`, and `hold`, which keeps its pods unscheduled, so that a
/// wait lasts until [`release`].
pub fn web() -> Chart {
    single(WEB).values("image: nginx:1.0.0\nhold: false\n")
}

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      tolerations: [{key: dedicated, operator: Exists}]
      {{- if .Values.hold }}
      nodeSelector: {'hold-{{ .Release.Namespace }}': over}
      {{- end }}
      containers: [{name: server, image: '{{ .Values.image }}'}]
";

pub const WEB_IMAGE: &str = "/spec/template/spec/containers/0/image";

/// Lets the pods held by `hold` be scheduled.
pub fn release(scene: &Scene) {
    let node = format!("label node node-a hold-{}=over", scene.ns);
    scene.kubectl_as(shared().admin(), &node).ok();
}

/// Waits until Helm has sent its Deployment with this image and waits for the pods.
pub fn await_image(scene: &Scene, image: &str) {
    eventually(&format!("the image {image}, sent by Helm"), || {
        let live = scene
            .kubectl("get deployment/web -o json --ignore-not-found")
            .ok();
        live.stdout.contains(&format!("\"{image}\"")).then_some(())
    });
}

/// SIGKILL in the middle of an operation.
pub fn kill(mut helm: Child) {
    assert!(
        helm.try_wait().unwrap().is_none(),
        "Helm should still be waiting"
    );
    helm.kill().unwrap();
    helm.wait().unwrap();
}

/// The status in a release's record.
pub fn status(scene: &Scene, release: &str, revision: u32) -> String {
    scene.record(release, revision)["info"]["status"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Sets the color of `settings` as Bob.
pub fn paint(scene: &Scene, colour: &str) -> testbed::Invocation {
    scene.patch(
        "configmap/settings",
        "merge",
        &json!({"data": {"colour": colour}}),
    )
}

/// A color that no revision declares is denied; `newest` is the revision in the denial.
pub fn foreign_colour_is_denied(scene: &Scene, newest: u32) {
    scene.settled("configmap/settings", newest);
    paint(scene, "foreign").denied(&[".data.colour: declared"]);
}

/// An image that no revision declares is denied.
pub fn foreign_image_is_denied(scene: &Scene) {
    scene
        .kubectl("set image deployment/web server=foreign:1")
        .denied(&[".spec.template.spec.containers[name=server].image: declared"]);
}

/// Every decision in a namespace that was not simply allowed, except for Bob's, for takeovers, which
/// are reported, and for the emergency identity, with which tests create drift.
pub fn remarks(scene: &Scene) -> Vec<Value> {
    let mut lines = log_about(scene.ns.name());
    lines.retain(|line| {
        line["target"] == "audit"
            && line["verdict"] != "break-glass"
            && line["reason"] != "emergency-identity"
            && line["reason"] != "ownership-taken"
            && line["user"] != BOB
    });
    lines
}

/// No request of anyone but Bob was denied or indeterminate. Bob's denials are in the log, which
/// shows that the log works.
pub fn assert_unhindered(scene: &Scene) {
    assert_eq!(remarks(scene), Vec::<Value>::new());
    // A delayed line arrives after the answer.
    eventually("Bob's denials in the log", || {
        let is_bobs = |line: &Value| line["verdict"] == "denied" && line["user"] == BOB;
        log_about(scene.ns.name()).iter().any(is_bobs).then_some(())
    });
}

/// The flag that Helm 4 needs if others own a declared field.
pub fn force_conflicts(version: HelmVersion) -> &'static [&'static str] {
    match version {
        HelmVersion::V3 => &[],
        HelmVersion::V4 => &["--force-conflicts"],
    }
}

/// The user that runs Helm.
pub const HELM_USER: &str = ALICE;
