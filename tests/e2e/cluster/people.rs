//! What people do with kubectl.

use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use crate::{
    charts::{CONFIG_MAP, myapp, single},
    scene::{Scene, Screen, Verdict, eventually, note},
    world::world,
};

fn scene(stem: &str) -> Scene {
    world();
    let scene = Scene::new(stem, HelmVersion::V3);
    scene.install("myapp", &myapp("1.0.0"));
    scene.settled("deployment/myapp", 1);
    scene
}

const IMAGE: &str = ".spec.template.spec.containers[name=server].image: \
                     declared \"nginx:2.0.0\", live \"nginx:2.0.0\", requested \"nginx:9\"";

/// Scenario 41, in mode Deny.
#[test]
fn the_denial_of_an_image_edit_names_the_object_and_the_remedy() {
    let scene = scene("edit");
    let ns = &scene.ns;
    let output = scene
        .kubectl("edit deployment/myapp")
        .env("KUBE_EDITOR", "sed -i s/nginx:2.0.0/nginx:9/")
        .refused();
    for words in [
        "admission webhook \"objects.helm-guard.dev\" denied the request",
        &format!(
            "Deployment \"myapp\" is declared by Helm release \"myapp\" in namespace \"{ns}\""
        ),
        "(revision 1, chart myapp-1.0.0)",
        IMAGE,
        &format!("helm upgrade myapp <chart> -n {ns}"),
    ] {
        assert!(output.says(words), "{words}\n{}", output.stderr);
    }
    let verdict = scene.verdict("patch", "deployments", "myapp");
    assert_eq!(verdict.decision, "denied");
    assert_eq!(verdict.reason, "fields-changed");
}

/// Programs read the status, not the text.
#[test]
fn a_denial_is_status_forbidden_with_a_cause_for_each_field() {
    let scene = scene("status");
    let output = scene
        .kubectl("set image deployment/myapp server=nginx:9 -v=9")
        .refused();
    let body = output
        .stderr
        .lines()
        .filter_map(|line| line.find("{\"kind\":\"Status\"").map(|at| &line[at..]))
        .next_back()
        .unwrap_or_else(|| panic!("{}", output.stderr));
    let status: Value =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    assert_eq!(status["code"], 403);
    assert_eq!(status["reason"], "Forbidden");
    assert_eq!(status["details"]["kind"], "Deployment");
    assert_eq!(
        status["details"]["causes"],
        json!([{
            "reason": "FieldValueForbidden",
            "message": "declared \"nginx:2.0.0\", live \"nginx:2.0.0\", requested \"nginx:9\"",
            "field": "spec.template.spec.containers[name=server].image",
        }])
    );
}

/// Scenario 56.
#[test]
fn the_field_manager_helm_proves_nothing() {
    let scene = scene("manager");
    scene
        .kubectl("set image deployment/myapp server=nginx:9 --field-manager=helm")
        .denied(&[IMAGE]);
}

/// Scenario 42.
#[test]
fn undeclared_fields_may_be_added() {
    let scene = scene("additions");
    for line in [
        "label deployment/myapp team=checkout",
        "annotate service/myapp example.com/owner=me",
        "set env deployment/myapp EXTRA=1",
        "rollout pause deployment/myapp",
        "rollout resume deployment/myapp",
    ] {
        scene.kubectl(line).quiet();
    }
    scene
        .patch("configmap/myapp", "merge", &json!({"data": {"more": "1"}}))
        .quiet();
    scene
        .patch(
            "serviceaccount/myapp",
            "merge",
            &json!({"automountServiceAccountToken": false}),
        )
        .quiet();
}

/// Scenario 55.
#[test]
fn a_rollout_undo_to_an_older_template_is_denied() {
    let scene = scene("undo");
    scene
        .kubectl("rollout status deployment/myapp --timeout=90s")
        .ok();
    let chart = shared().chart(&myapp("1.0.1"));
    scene
        .helm(&format!(
            "upgrade myapp {} --set image=nginx:9",
            chart.display()
        ))
        .ok();
    scene
        .kubectl("rollout status deployment/myapp --timeout=90s")
        .ok();
    scene.settled("deployment/myapp", 2);
    scene
        .kubectl("rollout undo deployment/myapp")
        .denied(&["declared \"nginx:9\", live \"nginx:9\", requested \"nginx:2.0.0\""]);
}

/// Scenario 54.
#[test]
fn an_apply_is_evaluated_by_its_changes() {
    let scene = scene("apply");
    let manifest = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: myapp}
data:
  colour: blue
  limits.conf: |
    connections = 100
";
    scene.kubectl("apply -f -").stdin(manifest).quiet();
    let red = manifest.replace("blue", "red");
    scene
        .kubectl("apply -f -")
        .stdin(red.as_str())
        .denied(&[".data.colour: declared \"blue\", live \"blue\", requested \"red\""]);
    scene
        .kubectl("apply --server-side --force-conflicts -f -")
        .stdin(red)
        .denied(&[".data.colour"]);
    scene
        .kubectl("apply --server-side --force-conflicts -f -")
        .stdin(manifest)
        .quiet();
}

/// Scenarios 46 to 48 for one value.
#[test]
fn a_value_may_only_move_toward_the_manifest() {
    let scene = scene("towards");
    let colour = |colour: &str| json!({"data": {"colour": colour}});
    scene.drift("configmap/myapp", "merge", &colour("red"));
    scene
        .patch("configmap/myapp", "merge", &note("elsewhere"))
        .quiet();
    scene
        .patch("configmap/myapp", "merge", &colour("green"))
        .denied(&["declared \"blue\", live \"red\", requested \"green\""]);
    scene
        .patch("configmap/myapp", "merge", &colour("blue"))
        .quiet();
    scene
        .patch("configmap/myapp", "merge", &colour("red"))
        .denied(&[]);
}

/// Scenario 73: a value set by a mutating webhook at creation differs from the manifest, and may stay
/// when somebody else writes.
#[test]
fn a_controller_may_keep_a_mutated_value() {
    let scene = scene("mutated");
    scene
        .oncall("set image deployment/myapp server=mirror.example.com/nginx:2.0.0")
        .ok();
    eventually("a replace between two writes of the controllers", || {
        let deployment = scene.get("deployment/myapp");
        let replace = scene.kubectl("replace -f -").stdin(deployment.to_string());
        let output = replace.run();
        assert!(!output.says("helm-guard"), "{output:?}");
        output.status.success().then_some(())
    });
    scene.kubectl("label deployment/myapp seen=yes").quiet();
    assert_eq!(
        scene.verdict("patch", "deployments", "myapp"),
        Verdict::allowed("nothing-declared-changes")
    );
}

#[test]
fn a_secret_value_is_never_shown_in_a_denial() {
    let scene = scene("secrets");
    let secret = json!({"stringData": {"password": "open-sesame-9"}});
    let output = scene.patch("secret/myapp", "merge", &secret).denied(&[
        "Secret \"myapp\" is declared by",
        ".data.password: declared ",
    ]);
    for value in [
        "open-sesame-1",
        "open-sesame-9",
        "b3Blbi1zZXNhbWUtMQ",
        "b3Blbi1zZXNhbWUtOQ",
    ] {
        assert!(!output.says(value), "{}", output.stderr);
    }
    let same = json!({"stringData": {"password": "open-sesame-1"}});
    scene.patch("secret/myapp", "merge", &same).quiet();
}

/// Two unrelated releases.
#[test]
fn a_denial_names_only_the_release_that_declares_the_object() {
    let scene = scene("neighbours");
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    let output = scene
        .patch(
            "configmap/settings",
            "merge",
            &json!({"data": {"colour": "red"}}),
        )
        .denied(&["declared by Helm release \"settings\""]);
    assert!(!output.says("release \"myapp\""), "{}", output.stderr);
}
