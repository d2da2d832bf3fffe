//! `explain`, `check` and `apply` answer by the policy in force, whatever its source.

use std::process::Command;

use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use super::crds::{admin, install};
use crate::{
    charts::myapp,
    scene::{Scene, eventually},
    turn::Turn,
};

fn helm_guard(scene: &Scene, line: &str) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_helm-guard"))
        .args(line.split_whitespace())
        .args(["-o", "json", "-n", scene.ns.name(), "--kubeconfig"])
        .arg(shared().admin())
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), report)
}

/// The answer to the first change of a field, and the policy that it follows.
fn answer(scene: &Scene, line: &str) -> [String; 4] {
    let (code, report) = helm_guard(scene, line);
    assert_eq!(code, Some(0), "{line}");
    let text = |pointer: &str| {
        report
            .pointer(pointer)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    [
        text("/policy/source"),
        text("/policy/mode"),
        text("/ifChanged/0/verdict"),
        text("/ifChanged/0/reason"),
    ]
}

const REPLICAS: &str = "explain deploy/myapp /spec/replicas";

#[test]
fn explain_follows_the_policy_in_force() {
    let turn = Turn::take();
    install();
    admin("delete guardpolicy default --ignore-not-found").ok();
    let scene = Scene::new("explained", HelmVersion::V4);
    scene.install("myapp", &myapp("1.0.0"));
    assert_eq!(
        answer(&scene, REPLICAS),
        ["default", "Deny", "denied", "fields-changed"]
    );
    let (_, unguarded) = helm_guard(&scene, REPLICAS);
    let notes = unguarded["policy"]["notes"].to_string();
    assert!(notes.contains("no guard is registered"), "{notes}");

    let guard = turn.guard("Warn");
    eventually("the policy of the flags, in the registration", || {
        let found = answer(&scene, REPLICAS);
        (found == ["guard", "Warn", "warned", "fields-changed"]).then_some(())
    });
    let object = "explain cm/kube-root-ca.crt";
    assert_eq!(
        answer(&scene, object)[2..],
        ["allowed", "not-called"],
        "no entry asks about an object without Helm's marks"
    );
    let namespace = format!("explain ns/{}", scene.ns.name());
    assert_eq!(
        answer(&scene, &namespace)[2..],
        ["warned", "namespace-holds-releases"]
    );
    assert_eq!(
        answer(&scene, "explain secret/sh.helm.release.v1.myapp.v1")[2..],
        ["warned", "record-deleted"]
    );

    let policy = json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicy", "metadata": {"name": "default"},
        "spec": {"mode": "Deny", "ignore": [{"name": "replicas", "paths": ["/spec/replicas"]}]},
    });
    let applied = admin("apply --server-side -f -")
        .stdin(policy.to_string())
        .run();
    assert!(applied.says("mode Warn becomes Deny"), "{applied:?}");
    assert!(
        applied.says("no longer a break-glass identity: group"),
        "{applied:?}"
    );
    eventually("the policy of the object", || {
        let found = answer(&scene, REPLICAS);
        (found == ["guardPolicy", "Deny", "allowed", "exempt"]).then_some(())
    });
    let ready = guard.admin_get("/readyz?verbose").body;
    assert!(
        ready.contains("the GuardPolicy replaces the flags"),
        "{ready}"
    );
    let image = "explain deploy/myapp .spec.template.spec.containers[0].image";
    assert_eq!(answer(&scene, image)[2..], ["denied", "fields-changed"]);
    assert_eq!(
        answer(&scene, &format!("{image} --mode Audit"))[1..],
        ["Audit", "audited", "fields-changed"]
    );
    drop(guard);
    admin("delete guardpolicy default --ignore-not-found").ok();
}

/// Somebody who may read one namespace alone.
#[test]
fn explain_works_with_rights_in_one_namespace() {
    let _turn = Turn::take();
    let scene = Scene::new("confined", HelmVersion::V3);
    scene.install("myapp", &myapp("1.0.0"));
    let ns = scene.ns.name();
    let reader = shared().service_account(ns, "reader").unwrap();
    admin(&format!(
        "-n {ns} create role reader --verb=get,list,watch --resource=secrets,deployments.apps"
    ))
    .ok();
    admin(&format!(
        "-n {ns} create rolebinding reader --role=reader --serviceaccount={ns}:reader"
    ))
    .ok();
    let output = Command::new(env!("CARGO_BIN_EXE_helm-guard"))
        .args(["explain", "deploy/myapp", ".spec.replicas", "-n", ns])
        .arg("--kubeconfig")
        .arg(&reader)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    for words in [
        "release     \"myapp\" in namespace",
        "you may not read the ValidatingWebhookConfiguration",
        "alone: releases in other namespaces are not considered",
        "if it is changed: denied (fields-changed)",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}
