//! `helm-guard explain` against a real cluster. It needs no running guard.

use std::process::{Command, Output};

use serde_json::{Value, json};
use testbed::{Chart, HelmVersion, shared};

use crate::{scene::Scene, turn::Turn};

const CHART: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  colour: green
---
apiVersion: v1
kind: Secret
metadata:
  name: settings
stringData:
  password: hunter2
---
apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata:
  name: web
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 5
";

fn explain(namespace: &str, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_helm-guard"))
        .arg("explain")
        .args(arguments)
        .args(["-n", namespace, "--kubeconfig"])
        .arg(shared().alice())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("hunter2"));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("hunter2"));
    output
}

fn table(namespace: &str, arguments: &[&str]) -> String {
    let output = explain(namespace, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(namespace: &str, arguments: &[&str]) -> Value {
    let output = explain(namespace, &[arguments, &["-o", "json"]].concat());
    assert!(output.status.success(), "{output:?}");
    let explanation = serde_json::from_slice(&output.stdout).unwrap();
    testbed::schema::assert_valid("Explanation", &explanation);
    explanation
}

/// `helm-guard check` of a recorded review, against the cluster's own records.
fn checked(namespace: &str) -> (Option<i32>, String) {
    let settings =
        |colour: &str| json!({"metadata": {"name": "settings"}, "data": {"colour": colour}});
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "operation": "UPDATE", "name": "settings", "namespace": namespace,
            "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "oldObject": settings("green"), "object": settings("blue"),
        },
    });
    let file = shared().scratch().join("review.json");
    std::fs::write(&file, review.to_string()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_helm-guard"))
        .args(["check", "-o", "json", "--kubeconfig"])
        .args([shared().alice(), &file])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let reason = report["reviews"][0]["reason"].as_str().unwrap();
    (output.status.code(), reason.to_owned())
}

#[test]
fn explain_shows_the_release_the_writer_and_the_outcome_of_a_change() {
    let _turn = Turn::take();
    let scene = Scene::new("explain", HelmVersion::V4);
    let chart = Chart::new("explained", "1.2.3").template("all.yaml", CHART);
    scene.install("web", &chart);
    let namespace = scene.ns.name();

    let manifest = scene.helm("get manifest web").ok();
    let mut lines = manifest.stdout.lines();
    let line = lines.position(|line| line == "  colour: green").unwrap();
    let before = table(namespace, &["cm/settings", ".data.colour"]);
    for words in [
        "ConfigMap \"settings\" in namespace",
        "\"web\" in namespace",
        "revision 1 (explained-1.2.3, settled)",
        "explained/templates/all.yaml, line ",
        &format!("line {} of the manifest", line + 1),
        "declared    \"green\"",
        "live        \"green\"",
        "written by  \"helm\"",
        "it is changed: denied (fields-changed)",
        "it is removed: denied (fields-changed)",
    ] {
        assert!(before.contains(words), "{words}\n{before}");
    }

    let drift = json!({"data": {"colour": "red", "mine": "yes"}});
    scene.patch("cm/settings", "strategic", &drift).ok();
    let drifted = json(namespace, &["configmap/settings", "data.colour"]);
    assert_eq!(drifted["releases"][0]["declared"], "green");
    assert_eq!(drifted["live"], "red");
    assert_eq!(drifted["writer"]["manager"], "kubectl-patch");

    let undeclared = json(namespace, &["ConfigMap/settings", ".data.mine"]);
    assert_eq!(undeclared["releases"][0]["declared"], Value::Null);
    let reasons = undeclared["ifChanged"].as_array().unwrap().iter();
    let reasons: Vec<_> = reasons.map(|consequence| &consequence["reason"]).collect();
    assert_eq!(
        reasons,
        ["nothing-declared-changes", "nothing-declared-changes"]
    );

    let object = json(namespace, &["configmaps/settings"]);
    assert_eq!(object["ifChanged"][0]["reason"], "object-deleted");
    let differing = object["fields"].as_array().unwrap().iter();
    let differing: Vec<_> = differing.filter(|field| field["differs"] == true).collect();
    assert_eq!(differing.len(), 1, "{object}");
    assert_eq!(differing[0]["path"], ".data.colour");
    assert_eq!(differing[0]["writer"]["manager"], "kubectl-patch");
    for form in ["/data/colour", "{.data.colour}", "data['colour']"] {
        assert_eq!(
            json(namespace, &["cm/settings", form])["live"],
            "red",
            "{form}"
        );
    }

    // In the version of the manifest, not in kubectl's preferred one.
    let scaler = json(namespace, &["hpa/web", ".spec.maxReplicas"]);
    assert_eq!(scaler["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(scaler["ifChanged"][0]["verdict"], "denied");

    let secret = table(namespace, &["secret/settings", ".data.password"]);
    assert!(secret.contains("denied (fields-changed)"), "{secret}");
    let foreign = table(namespace, &["serviceaccount/default"]);
    assert!(foreign.contains("by no release"), "{foreign}");

    let verdict = checked(namespace);
    assert_eq!(verdict, (Some(2), "fields-changed".to_owned()));

    for (arguments, says) in [
        (&["cm/nowhere"][..], "no release declares it"),
        (&["configmp/settings"], "did you mean \"configmap"),
        (&["settings"], "KIND/NAME"),
        (&["cm/"], "KIND/NAME"),
        (&["cm/settings", ".data[x"], "bracket"),
        (&["cm/settings", ".dato.colour"], "did you mean \"data\""),
        (
            &["hpa/web", "/spec/maxReplica"],
            "did you mean \"maxReplicas\"",
        ),
    ] {
        let output = explain(namespace, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), stderr.lines().count()),
            (Some(1), 1),
            "{stderr}"
        );
        assert!(stderr.contains(says), "{stderr}");
    }
}
