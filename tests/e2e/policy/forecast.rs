//! From Warn to Deny: people edit, the forecast suggests the exemptions that they need, and with these
//! in force their edits are allowed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use testbed::{HelmVersion, shared};

use super::{
    crds::{admin, install},
    rule::config,
};
use crate::{
    charts::myapp,
    scene::{BOB, Scene, Screen, eventually},
    turn::Turn,
};

fn forecast(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_helm-guard"))
        .args(["policy", "forecast"])
        .args(line.split_whitespace())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Bob scales, and a robot of the same namespace sets an image.
fn edits(scene: &Scene, robot: &Path, number: u32) -> [testbed::Invocation; 2] {
    let image = format!("set image deployment/myapp server=nginx:{number}");
    [
        scene.kubectl(&format!("scale --replicas={number} deployment/myapp")),
        scene.kubectl_as(robot, &image),
    ]
}

#[test]
fn the_policy_suggested_by_the_forecast_allows_the_same_edits_in_mode_deny() {
    let turn = Turn::take();
    install();
    admin("delete guardpolicy default --ignore-not-found").ok();
    let scene = Scene::new("forecast", HelmVersion::V4);
    let ns = scene.ns.name();
    let robot = shared().service_account(ns, "robot").unwrap();
    let account = format!("system:serviceaccount:{ns}:robot");
    shared().grant_cluster_admin(&account).unwrap();
    scene.install("myapp", &myapp("1.0.0"));
    let log = shared().scratch().join("forecast-audit.log");

    let guard = turn.start(
        config("Warn")
            .args(["--guard-namespace", ns])
            .args(["--audit-log-path".as_ref(), log.as_os_str()]),
    );
    eventually("a guard that knows the release", || {
        let tried = scene
            .kubectl("delete configmap/myapp --dry-run=server")
            .run();
        tried.says("helm-guard:").then_some(())
    });
    // The API server retries a patch that conflicts with a write of the deployment controller, and calls the
    // webhook again: such a request counts once.
    for edit in edits(&scene, &robot, 5) {
        edit.warned(&[]);
    }
    // The counts are written at exit at the latest.
    let ended = guard.stop().expect("it ends by itself");
    assert!(ended.success());

    let cluster = format!(
        "--guard-namespace {ns} -n {ns} --kubeconfig {}",
        shared().admin().display()
    );
    let lines = format!("-n {ns} --audit-log {}", log.display());
    for source in [&cluster, &lines] {
        let said = text(&forecast(source));
        for word in [BOB, &account, "(scale)", "[name=server].image"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(
            said.contains("Deny would have denied 2 requests of 2 users to 1 release"),
            "{said}"
        );
    }
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let listed: Value =
        serde_json::from_str(&text(&forecast(&format!("{cluster} -o json")))).unwrap();
    assert_eq!(listed["rows"].as_array().unwrap().len(), 2);

    // The guard has ended and is not registered any more, so its policy is unknown: then nothing is denied.
    let printed = text(&forecast(&format!("{cluster} -o yaml")));
    assert!(printed.contains("mode: \"Audit\""), "{printed}");
    let denying = printed.replace("mode: \"Audit\"", "mode: \"Deny\"");
    let policy = file("forecast-policy.yaml", &denying);
    let check = Command::new(env!("CARGO_BIN_EXE_helm-guard"))
        .args(["policy", "check"])
        .arg(&policy)
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
    admin("apply --server-side --force-conflicts -f")
        .arg(&policy)
        .ok();
    let guard = turn.start(config("Deny"));
    scene.settled("configmap/myapp", 1);
    for edit in edits(&scene, &robot, 7) {
        edit.quiet();
    }
    // Others may not, and they may do nothing else.
    scene
        .kubectl("set image deployment/myapp server=nginx:8")
        .denied(&[]);
    scene
        .kubectl_as(&robot, "scale --replicas=0 deployment/myapp")
        .denied(&[]);
    drop(guard);
    admin("delete guardpolicy default --ignore-not-found").ok();
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = shared().scratch().join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_guard_without_a_namespace_logs_that_it_keeps_no_forecast() {
    let turn = Turn::take();
    let guard = turn.start(config("Warn"));
    guard.await_log("that there is no forecast", |line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("no forecast is kept"))
    });
    let found =
        admin("get configmap -n default helm-guard-forecast --ignore-not-found -o name").ok();
    assert!(found.stdout.is_empty(), "{}", found.stdout);
}
