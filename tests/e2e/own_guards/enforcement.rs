//! What happens to a violation in each mode.

use serde_json::{Value, json};
use testbed::{Guard, HelmVersion};

use crate::{
    charts::myapp,
    scene::{BOB, Scene, Screen},
    turn::Turn,
};

fn scene(stem: &str) -> Scene {
    let scene = Scene::new(stem, HelmVersion::V4);
    scene.install("myapp", &myapp("1.0.0"));
    scene
}

fn audit_line(guard: &Guard, scene: &Scene, decision: &str) -> Value {
    guard.await_log(&format!("a decision {decision}"), |line| {
        line["target"] == "audit"
            && line["verdict"] == decision
            && line["object"]["namespace"] == scene.ns.name()
    })
}

/// Scenario 41, in mode Warn.
#[test]
fn in_mode_warn_kubectl_prints_the_denial_and_the_change_is_allowed() {
    let turn = Turn::take();
    let scene = scene("warn");
    let guard = turn.guard("Warn");
    let ns = scene.ns.name();
    let output = scene
        .kubectl("scale --replicas=0 deployment/myapp")
        .warned(&[
            "allowed in mode Warn; it would be denied in mode Deny",
            &format!(
                "Deployment \"myapp\" is declared by Helm release \"myapp\" in namespace \"{ns}\" \
                 (revision 1, chart myapp-1.0.0)"
            ),
            ".spec.replicas: declared 3, live 3, requested 0",
            &format!("helm upgrade myapp <chart> -n {ns}"),
        ]);
    let mut lines = output.stderr.lines();
    assert!(
        lines.all(|line| line.starts_with("Warning: helm-guard: ")),
        "{}",
        output.stderr
    );
    assert_eq!(scene.at("deployment/myapp", "/spec/replicas"), 0);
    let line = audit_line(&guard, &scene, "warned");
    assert_eq!(line["user"], BOB);
    let verdict = scene.verdict("patch", "deployments/scale", "myapp");
    assert_eq!(verdict.decision, "warned");
    scene
        .kubectl("delete service/myapp")
        .warned(&["Service \"myapp\" is declared by"]);
    assert!(!scene.holds("service/myapp"));
}

/// Scenario 41, in mode Audit.
#[test]
fn in_mode_audit_a_violation_is_only_recorded() {
    let turn = Turn::take();
    let scene = scene("audit");
    let guard = turn.guard("Audit");
    scene.kubectl("scale --replicas=0 deployment/myapp").quiet();
    assert_eq!(scene.at("deployment/myapp", "/spec/replicas"), 0);
    let verdict = scene.verdict("patch", "deployments/scale", "myapp");
    assert_eq!(verdict.decision, "audited");
    assert_eq!(verdict.reason, "fields-changed");
    let line = audit_line(&guard, &scene, "audited");
    assert_eq!(line["user"], BOB);
    assert_eq!(line["findings"][0]["fields"][0]["path"], ".spec.replicas");
    assert_eq!(line["findings"][0]["fields"][0]["requested"], 0);
}

/// Scenario 50: a dry run leaves no record in any mode.
#[test]
fn in_mode_warn_a_dry_run_warns_and_leaves_no_record() {
    let turn = Turn::take();
    let scene = scene("dry");
    let guard = turn.guard("Warn");
    scene
        .kubectl("scale --replicas=0 deployment/myapp --dry-run=server")
        .warned(&["declared 3, live 3, requested 0"]);
    scene
        .kubectl("scale --replicas=1 deployment/myapp")
        .warned(&[]);
    let line = audit_line(&guard, &scene, "warned");
    assert_eq!(line["findings"][0]["fields"][0]["requested"], 1, "{line}");
}

/// Story 4 literally: the edits are older than the guard.
#[test]
fn a_guard_installed_after_drift_breaks_nothing() {
    let turn = Turn::take();
    let scene = scene("late");
    let colour = |colour: &str| json!({"data": {"colour": colour}});
    scene.patch("configmap/myapp", "merge", &colour("red")).ok();
    scene
        .kubectl("set image deployment/myapp server=nginx:1")
        .ok();
    let _guard = turn.guard("Deny");
    scene.kubectl("annotate deployment/myapp a=b").quiet();
    scene.kubectl("rollout restart deployment/myapp").quiet();
    scene
        .patch("configmap/myapp", "merge", &colour("green"))
        .denied(&["declared \"blue\", live \"red\", requested \"green\""]);
    scene
        .patch("configmap/myapp", "merge", &colour("blue"))
        .quiet();
    scene.helm("rollback myapp 1 --force-conflicts").ok();
    assert_eq!(
        scene.at("deployment/myapp", "/spec/template/spec/containers/0/image"),
        "nginx:2.0.0"
    );
}
