//! The kill switch: one command that suspends every guard at once, until it is revoked.

use serde_json::{Value, json};
use testbed::{Guard, HelmVersion, Response, shared};

use super::{
    crds::{admin, install, policy},
    rule::{Rule, config, smuggle},
};
use crate::{
    charts::myapp,
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

const SWITCH: &str = "patch guardpolicy default --type=merge -p";

fn scene(stem: &str) -> Scene {
    let scene = Scene::new(stem, HelmVersion::V4);
    scene.install("myapp", &myapp("1.0.0"));
    scene
}

fn turn_off() {
    let patch = json!({"spec": {"suspend": true, "suspendReason": "INC-4711"}});
    admin(SWITCH).arg(patch.to_string()).ok();
}

fn turn_on() {
    let patch = json!({"spec": {"suspend": false}});
    admin(SWITCH).arg(patch.to_string()).ok();
}

fn is_registered() -> bool {
    let line = "get validatingwebhookconfiguration helm-guard --ignore-not-found -o name";
    !admin(line).ok().stdout.is_empty()
}

fn await_off(guard: &Guard) {
    eventually("a registration that is gone", || {
        (!is_registered()).then_some(())
    });
    let Response { status, body } = guard.admin_get("/readyz");
    assert_eq!(status, 200, "{body}");
    assert!(
        body.contains(
            "[!]suspended degraded: every request is allowed without evaluation: INC-4711"
        ),
        "{body}"
    );
    let metrics = guard.admin_get("/metrics").body;
    assert!(metrics.contains("helm_guard_suspended 1"), "{metrics}");
}

fn await_on(scene: &Scene) {
    eventually("a guard that refuses again", || {
        let line = "delete configmap/myapp --dry-run=server";
        scene
            .kubectl(line)
            .run()
            .says("denied the request")
            .then_some(())
    });
}

#[test]
fn one_command_suspends_every_guard_even_across_a_restart() {
    let scene = scene("suspend");
    let rule = Rule::new(&json!({"mode": "Deny"}));
    scene.settled("configmap/myapp", 1);
    turn_off();
    await_off(&rule.guard);
    let line = rule.guard.await_log("an audit line", |line| {
        line["target"] == "audit" && line["event"] == "Suspended"
    });
    assert_eq!(line["status"], "firing");
    scene.kubectl("delete configmap/myapp").quiet();

    let again = Guard::start(shared(), config("Deny")).unwrap();
    await_off(&again);
    assert!(!is_registered());

    scene
        .helm("upgrade myapp --reuse-values")
        .arg(shared().chart(&myapp("1.0.1")))
        .ok();
    drop(again);
    turn_on();
    await_on(&scene);
    let readyz = rule.guard.admin_get("/readyz").body;
    assert!(!readyz.contains("suspended"), "{readyz}");
}

#[test]
fn the_kill_switch_works_with_an_invalid_policy() {
    let scene = scene("suspend-wrong");
    let rule = Rule::new(&json!({"mode": "Deny"}));
    smuggle(&json!({"mode": "Deny", "ignore": [{"paths": ["spec"]}]}));
    turn_off();
    await_off(&rule.guard);
    scene.kubectl("delete configmap/myapp").quiet();
}

#[test]
fn the_kill_switch_works_without_a_policy_object_and_with_a_policy_file() {
    let scene = scene("suspend-file");
    let turn = Turn::take();
    install();
    admin("delete guardpolicy default --ignore-not-found").ok();
    let file = shared().scratch().join("suspend.yaml");
    let write = |spec: &Value| std::fs::write(&file, policy("default", spec).to_string()).unwrap();
    write(&json!({"mode": "Deny"}));
    let guard = turn.start(config("").args(["--policy".as_ref(), file.as_os_str()]));
    await_on(&scene);

    let spec = json!({"suspend": true, "suspendReason": "INC-4711"});
    let line = "apply --server-side --field-manager=suspend -f -";
    admin(line).stdin(policy("default", &spec).to_string()).ok();
    await_off(&guard);
    scene
        .kubectl("delete configmap/myapp --dry-run=server")
        .quiet();
    turn_on();
    await_on(&scene);

    write(&json!({"mode": "Deny", "suspend": true, "suspendReason": "INC-4711"}));
    await_off(&guard);
    admin("delete guardpolicy default").ok();
}
