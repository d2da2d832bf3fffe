//! Who may loosen a rule: the chart if the policy honors it, a field manager by name, and nobody
//! through the live object.

use serde_json::json;
use testbed::HelmVersion;

use super::rule::{Rule, change};
use crate::{
    charts::single,
    scene::{Scene, Screen},
};

const LOOSE: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  annotations: {helm-guard.dev/ignore: /data/size}
data: {colour: blue, size: small}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: theme
  annotations: {helm-guard.dev/mode: Warn}
data: {colour: blue}
";

fn set(scene: &Scene, object: &str, key: &str, value: &str) -> testbed::Invocation {
    scene.patch(object, "merge", &json!({"data": {key: value}}))
}

#[test]
fn only_a_chart_may_loosen_a_rule_and_only_if_the_policy_honors_it() {
    let scene = Scene::new("annotated", HelmVersion::V4);
    scene.install("loose", &single(LOOSE));
    let _rule = Rule::new(&json!({"mode": "Deny"}));
    scene.settled("configmap/theme", 1);
    set(&scene, "configmap/theme", "colour", "red").denied(&[".data.colour"]);
    set(&scene, "configmap/settings", "size", "large").denied(&[".data.size"]);

    change(&json!({"mode": "Deny", "chartAnnotations": "Honor"}));
    set(&scene, "configmap/theme", "colour", "red").warned(&[".data.colour"]);
    set(&scene, "configmap/settings", "size", "large").quiet();
    set(&scene, "configmap/settings", "colour", "red").denied(&[".data.colour"]);
    // An annotation that Bob writes on the live object does not count.
    scene
        .kubectl("annotate configmap/settings helm-guard.dev/mode=Audit")
        .quiet();
    set(&scene, "configmap/settings", "colour", "red").denied(&[".data.colour"]);
    let widened = json!({"metadata": {"annotations": {"helm-guard.dev/ignore": "/data/colour"}}});
    scene
        .patch("configmap/settings", "merge", &widened)
        .denied(&[".metadata.annotations"]);
}

#[test]
fn fields_of_a_trusted_field_manager_are_ignored() {
    let scene = Scene::new("tuned", HelmVersion::V4);
    scene.install("loose", &single(LOOSE));
    let _rule = Rule::new(&json!({"mode": "Deny", "ignore": [
        {"target": {"kind": "ConfigMap", "name": "settings"}, "managedFieldsManagers": ["tuner"]},
    ]}));
    scene.settled("configmap/settings", 1);
    let apply = |manager: &str, name: &str, size: &str| {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"size": size},
        });
        let line = format!("apply --server-side --force-conflicts --field-manager={manager} -f -");
        scene.kubectl(&line).stdin(object.to_string())
    };
    apply("kubectl", "settings", "large").denied(&[".data.size"]);
    apply("tuner", "settings", "large").quiet();
    apply("tuner", "settings", "larger").quiet();
    set(&scene, "configmap/settings", "colour", "red").denied(&[".data.colour"]);
    // As in Argo CD, its fields are ignored from then on, whoever writes them next.
    set(&scene, "configmap/settings", "size", "huge").quiet();
}
