//! What several tests do and demand: charts that can be held half-way, the foreign value that is
//! always refused, and the log that knows of nothing else.

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

/// A Deployment `web`; values: `image`, and `hold`, by which its pods find no node, so that whoever
/// waits for them waits until [`release`].
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

/// Lets pods find a node that were held by `hold`.
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

/// SIGKILL, in the middle of what it does.
pub fn kill(mut helm: Child) {
    assert!(
        helm.try_wait().unwrap().is_none(),
        "Helm should still be waiting"
    );
    helm.kill().unwrap();
    helm.wait().unwrap();
}

/// The status that a release's record says.
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

/// A color that no revision ever declares is refused; `newest` is the revision that says so.
pub fn foreign_colour_is_denied(scene: &Scene, newest: u32) {
    scene.settled("configmap/settings", newest);
    paint(scene, "foreign").denied(&[".data.colour: declared"]);
}

/// An image that no revision ever declares is refused.
pub fn foreign_image_is_denied(scene: &Scene) {
    scene
        .kubectl("set image deployment/web server=foreign:1")
        .denied(&[".spec.template.spec.containers[name=server].image: declared"]);
}

/// Every decision in a namespace that did not simply pass, but for Bob's, take-overs, which are told
/// of, and what the emergency identity does, by which tests make drift.
pub fn remarks(scene: &Scene) -> Vec<Value> {
    let mut lines = log_about(scene.ns.name());
    lines.retain(|line| {
        line["target"] == "audit"
            && line["decision"] != "break-glass"
            && line["reason"] != "emergency-identity"
            && line["reason"] != "ownership-taken"
            && line["user"]["name"] != BOB
    });
    lines
}

/// Nothing that anybody but Bob did was denied, or passed only because nobody could say. That Bob was
/// is in the log, so it is heard.
pub fn assert_unhindered(scene: &Scene) {
    assert_eq!(remarks(scene), Vec::<Value>::new());
    // A line that could not be written at once comes after the answer.
    eventually("Bob's denials in the log", || {
        let is_bobs = |line: &Value| line["decision"] == "denied" && line["user"]["name"] == BOB;
        log_about(scene.ns.name()).iter().any(is_bobs).then_some(())
    });
}

/// What Helm 4 needs where others own a field that the chart declares.
pub fn force_conflicts(version: HelmVersion) -> &'static [&'static str] {
    match version {
        HelmVersion::V3 => &[],
        HelmVersion::V4 => &["--force-conflicts"],
    }
}

/// The user that runs Helm.
pub const HELM_USER: &str = ALICE;
