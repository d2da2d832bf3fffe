//! Break-glass identities, and the records of their changes. Story 8, as far as it needs no grants.

use serde_json::{Value, json};
use testbed::HelmVersion;

use crate::{
    charts::myapp,
    scene::{ONCALL, Scene, Screen, Verdict, eventually, verdict},
    world::{EMERGENCY_OPS, break_glass_line, log_about, world},
};

fn scene(stem: &str) -> Scene {
    world();
    let scene = Scene::new(stem, HelmVersion::V4);
    scene.install("myapp", &myapp("1.0.0"));
    scene
}

const MEMORY_PATH: &str = ".spec.template.spec.containers[name=server].resources.limits.memory";

/// Scenario 59.
#[test]
fn an_emergency_change_is_allowed_and_shows_in_every_record() {
    let scene = scene("emergency");
    scene.settled("deployment/myapp", 1);
    let ns = scene.ns.name();
    let before = counter("helm_guard_break_glass_total");
    scene
        .kubectl_as(
            &world().emergency,
            "set resources deploy/myapp --limits memory=2Gi",
        )
        .warned(&[
            &format!("break-glass change by {EMERGENCY_OPS} recorded"),
            MEMORY_PATH,
        ]);

    let line = break_glass_line(ns);
    assert_eq!(line["user"], EMERGENCY_OPS);
    assert_eq!(line["operation"], "UPDATE");
    assert_eq!(line["object"]["kind"], "Deployment");
    assert_eq!(line["object"]["name"], "myapp");
    let finding = &line["findings"][0];
    assert_eq!(finding["release"]["name"], "myapp");
    assert_eq!(finding["release"]["namespace"], ns);
    assert_eq!(finding["revisions"], json!([1]));
    assert_eq!(finding["fields"][0]["path"], MEMORY_PATH);
    assert_eq!(finding["fields"][0]["declared"], "128Mi");
    assert_eq!(finding["fields"][0]["requested"], "2Gi");
    let patch = line["patch"].as_array().unwrap();
    assert_eq!(
        patch,
        &[json!({
            "op": "replace",
            "path": "/spec/template/spec/containers/0/resources/limits/memory",
            "value": "2Gi",
        })]
    );

    let event = eventually("an event on the Deployment", || {
        let events = scene.get("events.events.k8s.io");
        let events = events["items"].as_array().unwrap().clone();
        events
            .into_iter()
            .find(|event| event["reason"] == "BreakGlass")
    });
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["regarding"]["kind"], "Deployment");
    assert_eq!(event["regarding"]["name"], "myapp");
    assert!(event["note"].as_str().unwrap().contains(EMERGENCY_OPS));
    assert!(counter("helm_guard_break_glass_total") > before);
    let verdict = verdict(EMERGENCY_OPS, "patch", ("deployments", ns, "myapp"));
    assert_eq!(verdict.decision, "break-glass");
    assert_eq!(verdict.reason, "fields-changed");
}

/// The sum of a counter over its labels.
fn counter(name: &str) -> f64 {
    let metrics = world().guard.admin_get("/metrics").body;
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn a_member_of_the_emergency_group_may_delete_declared_objects() {
    let scene = scene("emergency-delete");
    scene
        .oncall("delete service/myapp")
        .warned(&[&format!("break-glass change by {ONCALL} recorded")]);
    assert!(!scene.holds("service/myapp"));
    let line = break_glass_line(scene.ns.name());
    assert_eq!(line["operation"], "DELETE");
    assert_eq!(line["reason"], "object-deleted");
}

#[test]
fn a_change_without_a_violation_is_recorded_but_is_not_an_emergency_change() {
    let scene = scene("calm");
    scene
        .kubectl_as(
            &world().emergency,
            "annotate deploy/myapp example.com/seen=yes",
        )
        .quiet();
    let object = ("deployments", scene.ns.name(), "myapp");
    assert_eq!(
        verdict(EMERGENCY_OPS, "patch", object),
        Verdict::allowed("nothing-declared-changes")
    );
    let ns = scene.ns.name();
    let line = shift_line(ns, "UPDATE");
    assert_eq!(line["user"], EMERGENCY_OPS);
    assert_eq!(line["object"]["name"], "myapp");
    assert_eq!(line["verdict"], "allowed");
    let records = scene.get("emergencychanges");
    assert_eq!(records["items"], json!([]));
}

/// The audit line of an action of an emergency identity, once the registration names the identity.
fn shift_line(ns: &str, operation: &str) -> Value {
    eventually(&format!("a line about {operation}"), || {
        log_about(ns)
            .into_iter()
            .find(|line| line["reason"] == "emergency-identity" && line["operation"] == operation)
    })
}

/// Every action: undeclared objects, subresources, creations, deletions.
#[test]
fn every_action_of_an_emergency_identity_is_recorded() {
    let scene = scene("shift");
    let ns = scene.ns.name();
    let made = |line: &str| scene.oncall(line).quiet();
    made("create configmap mine --from-literal=a=b");
    made("label configmap mine a=b");
    made("create token default");
    made("delete configmap mine");
    scene
        .oncall("create configmap dry-run-only --dry-run=server")
        .ok();
    scene.kubectl("create configmap unrelated-user").ok();
    let of = |kind: &str, name: &str, operation: &str| {
        eventually(&format!("{operation} of {kind} {name}"), || {
            log_about(ns).into_iter().find(|line| {
                line["reason"] == "emergency-identity"
                    && line["object"]["kind"] == kind
                    && line["object"]["name"] == name
                    && line["operation"] == operation
            })
        })
    };
    for (kind, name, operation) in [
        ("ConfigMap", "mine", "CREATE"),
        ("ConfigMap", "mine", "UPDATE"),
        ("ConfigMap", "mine", "DELETE"),
        ("TokenRequest", "default", "CREATE"),
    ] {
        let line = of(kind, name, operation);
        assert_eq!(line["user"], ONCALL);
        let sequence = line["sequence"].as_u64().unwrap();
        assert!(sequence > 0, "{line}");
    }
    // Later lines have arrived, so these would have, too.
    let names: Vec<Value> = log_about(ns)
        .iter()
        .filter(|line| line["reason"] == "emergency-identity")
        .map(|line| line["object"]["name"].clone())
        .collect();
    for name in ["dry-run-only", "unrelated-user"] {
        assert!(!names.contains(&json!(name)), "{names:?}");
    }
}

/// Scenario 59: the effective user counts.
#[test]
fn impersonation_is_recorded_as_the_impersonated_emergency_account() {
    let scene = scene("impersonation");
    scene
        .kubectl(&format!(
            "set resources deploy/myapp --limits memory=2Gi --as {EMERGENCY_OPS}"
        ))
        .warned(&[EMERGENCY_OPS]);
    assert_eq!(break_glass_line(scene.ns.name())["user"], EMERGENCY_OPS);
}

#[test]
fn a_namesake_account_in_another_namespace_has_no_break_glass() {
    let scene = scene("namesake");
    let ns = scene.ns.name();
    let namesake = testbed::shared()
        .service_account(ns, "emergency-ops")
        .unwrap();
    testbed::shared()
        .grant_cluster_admin(&format!("system:serviceaccount:{ns}:emergency-ops"))
        .unwrap();
    scene.settled("deployment/myapp", 1);
    scene
        .kubectl_as(&namesake, "scale deploy/myapp --replicas=1")
        .denied(&[]);
}

#[test]
fn an_emergency_change_of_a_secret_never_shows_its_value() {
    let scene = scene("emergency-secret");
    let secret = json!({"stringData": {"password": "open-sesame-2"}});
    let output = scene
        .oncall("patch secret/myapp --type=merge -p")
        .arg(secret.to_string())
        .warned(&[".data.password"]);
    let line = break_glass_line(scene.ns.name()).to_string();
    let event = eventually("an event on the Secret", || {
        let events = scene.get("events.events.k8s.io").to_string();
        events.contains("BreakGlass").then_some(events)
    });
    let log = world().guard.stdout() + &world().guard.stderr();
    let metrics = world().guard.admin_get("/metrics").body;
    // The values in plain text and in base64.
    for value in [
        "open-sesame-1",
        "open-sesame-2",
        "b3Blbi1zZXNhbWUtMQ",
        "b3Blbi1zZXNhbWUtMg",
    ] {
        for text in [&output.stderr, &line, &event, &log, &metrics] {
            assert!(!text.contains(value), "{text}");
        }
    }
}

/// Scenario 50, last part.
#[test]
fn a_dry_run_gets_the_same_answer_and_leaves_no_record() {
    let scene = scene("dry-run");
    scene.settled("deployment/myapp", 1);
    scene.kubectl("create configmap unrelated").ok();
    let about =
        |line: &Value| line["target"] == "audit" && line["object"]["namespace"] == scene.ns.name();
    scene
        .kubectl("scale --replicas=0 deploy/myapp --dry-run=server")
        .denied(&["declared 3, live 3, requested 0"]);
    scene
        .oncall("scale --replicas=0 deploy/myapp --dry-run=server")
        .warned(&["break-glass change by", "would be recorded"]);
    assert_eq!(scene.at("deployment/myapp", "/spec/replicas"), 3);
    // A real request follows: had the dry runs left a line, it would have arrived.
    scene.kubectl("scale --replicas=1 deploy/myapp").denied(&[]);
    world().guard.await_log("the denial that counts", about);
    let lines: Vec<Value> = world().guard.log().into_iter().filter(about).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["verdict"], "denied");
    assert!(
        !scene
            .get("events.events.k8s.io")
            .to_string()
            .contains("BreakGlass")
    );
}
