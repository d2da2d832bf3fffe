//! A client that reaches the port without a registered path learns nothing.

use serde_json::{Value, json};
use testbed::HelmVersion;

use super::caller::{Caller, REGISTRATION, secret_path};
use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

/// The answer to a pod on the guard's network, except for the date.
fn post(stranger: &Caller, path: &str, body: &Value) -> String {
    let answer = stranger.post(path, &body.to_string()).unwrap();
    let lines = answer.lines().filter(|line| !line.starts_with("date:"));
    lines.collect::<Vec<_>>().join("\n")
}

/// A forged review: its answer would reveal whether `guess` is the declared value.
pub fn forged(namespace: &str, guess: &str) -> Value {
    let object = |colour: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": namespace}, "data": {"colour": colour}})
    };
    let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": kind,
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "settings", "namespace": namespace, "operation": "UPDATE", "dryRun": true,
        "userInfo": {"username": "system:serviceaccount:ops:emergency-ops"},
        "oldObject": object("neither"), "object": object(guess),
    }})
}

#[test]
fn forged_dry_runs_do_not_reveal_declared_values() {
    let turn = Turn::take();
    let scene = Scene::new("oracle", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let guard = turn.guard("Deny");
    scene.settled("configmap/settings", 1);
    let stranger = Caller::new(&guard, &scene);
    let declared = scene.at("configmap/settings", "/data/colour");
    let path = secret_path(&guard, &scene);
    let almost = format!(
        "{}{}",
        &path[..path.len() - 1],
        if path.ends_with('0') { '1' } else { '0' }
    );
    let namespace = scene.ns.name();
    let mut answers = Vec::new();
    for path in [
        "/validate",
        "/foundations",
        "/grants",
        "/policies",
        almost.as_str(),
    ] {
        for guess in [declared.as_str().unwrap(), "red"] {
            answers.push(post(&stranger, path, &forged(namespace, guess)));
        }
    }
    assert!(answers[0].starts_with("HTTP/1.1 404"), "{}", answers[0]);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:#?}"
    );
    guard.await_log("the address of the stranger", |line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("path that is not registered"))
            && line["address"] == "127.0.0.1"
    });
    // The API server knows the path.
    scene
        .kubectl("delete configmap settings --dry-run=server")
        .denied(&[]);
    let output = format!("{}{}", guard.stdout(), guard.stderr());
    let token = path.rsplit('/').next().unwrap();
    assert!(!output.contains(token), "the token is in the log");
}

#[test]
fn an_edited_or_deleted_registration_is_corrected_at_once() {
    let turn = Turn::take();
    let scene = Scene::new("put-right", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let _guard = turn.guard("Deny");
    scene.settled("configmap/settings", 1);
    let patch = r#"[{"op":"remove","path":"/webhooks/0"}]"#;
    for spoil in [
        format!("patch {REGISTRATION} --type=json -p {patch}"),
        format!("delete {REGISTRATION}"),
    ] {
        scene.kubectl(&spoil).ok();
        eventually("the registration is right again", || {
            let entries = scene.holds(REGISTRATION).then(|| scene.get(REGISTRATION))?;
            (entries["webhooks"][0]["name"] == "objects.helm-guard.dev").then_some(())
        });
        scene.settled("configmap/settings", 1);
        scene
            .kubectl("delete configmap settings --dry-run=server")
            .denied(&[]);
    }
}
