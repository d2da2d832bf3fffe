//! The effects of a policy on users.

use serde_json::{Value, json};
use testbed::{Guard, HelmVersion, http_get, shared};

use super::{
    crds::{admin, install},
    rule::{Rule, change, config, in_force, refused, smuggle, write},
};
use crate::{
    charts::myapp,
    scene::{Scene, Screen, Verdict, eventually, verdict},
    turn::Turn,
};

fn scene(stem: &str) -> Scene {
    let scene = Scene::new(stem, HelmVersion::V4);
    scene.install("myapp", &myapp("1.0.0"));
    scene
}

fn colour(scene: &Scene, colour: &str) -> testbed::Invocation {
    let patch = json!({"data": {"colour": colour}});
    scene.patch("configmap/myapp", "merge", &patch)
}

/// Whether the guard denies deleting a declared object.
fn refuses(scene: &Scene) -> bool {
    let line = "delete configmap/myapp --dry-run=server";
    scene.kubectl(line).run().says("denied the request")
}

#[test]
fn the_mode_follows_the_labels_of_the_namespace() {
    let scene = scene("labels");
    let _rule = Rule::new(&json!({"mode": "Deny", "overrides": [
        {"match": {"namespaces": {"selector": {"matchLabels": {"tier": "dev"}}}}, "mode": "Warn"},
    ]}));
    scene.settled("configmap/myapp", 1);
    colour(&scene, "red").denied(&["declared \"blue\""]);
    admin(&format!("label namespace {} tier=dev", scene.ns.name())).ok();
    eventually("a guard that knows the label", || {
        let patch = json!({"data": {"colour": "red"}});
        let tried = scene.patch("configmap/myapp", "merge", &patch).run();
        (tried.status.success() && tried.says("helm-guard:")).then_some(())
    });
}

#[test]
fn an_override_for_one_release_does_not_affect_others() {
    let scene = scene("override");
    let chart = shared().chart(&myapp("1.0.0"));
    scene
        .helm(&format!("install other {}", chart.display()))
        .ok();
    let _rule = Rule::new(&json!({"overrides": [
        {"match": {"releases": {"names": ["other"], "chart": {"name": "myapp", "version": "^1"}}},
         "mode": "Audit"},
    ]}));
    scene.settled("configmap/myapp", 1);
    colour(&scene, "red").denied(&[]);
    scene
        .patch(
            "configmap/other",
            "merge",
            &json!({"data": {"colour": "red"}}),
        )
        .quiet();
    let said = scene.verdict("patch", "configmaps", "other");
    assert_eq!(said.decision, "audited");
}

#[test]
fn anyone_may_change_ignored_fields_also_through_scale() {
    let scene = scene("ignore");
    let _rule = Rule::new(&json!({"ignore": [
        {"name": "replicas", "paths": ["/spec/replicas"], "target": {"kind": "Deployment"}},
        {"name": "images", "jqPathExpressions": [
            ".spec.template.spec.containers[] | select(.name == \"server\") | .image",
        ]},
    ]}));
    scene.settled("configmap/myapp", 1);
    scene.kubectl("scale --replicas=5 deployment/myapp").quiet();
    let said = scene.verdict("patch", "deployments/scale", "myapp");
    assert_eq!(said, Verdict::exempt("replicas"));
    scene
        .kubectl("set image deployment/myapp server=nginx:9")
        .quiet();
    let said = scene.verdict("patch", "deployments", "myapp");
    assert_eq!(said, Verdict::exempt("images"));
    scene.kubectl("delete deployment/myapp").denied(&[]);
}

#[test]
fn an_exemption_covers_one_service_account_and_one_path() {
    let scene = scene("exempt");
    let ns = scene.ns.name();
    let robot = shared().service_account(ns, "robot").unwrap();
    let other = shared().service_account(ns, "robot-2").unwrap();
    for name in ["robot", "robot-2"] {
        let user = format!("system:serviceaccount:{ns}:{name}");
        shared().grant_cluster_admin(&user).unwrap();
    }
    let _rule = Rule::new(&json!({"exemptions": [{
        "name": "image-robot",
        "subjects": {"serviceAccounts": [format!("{ns}/robot")]},
        "kinds": [{"group": "apps", "kind": "Deployment"}],
        "paths": ["/spec/template/spec/containers/*/image"],
    }]}));
    scene.settled("configmap/myapp", 1);
    let image = "set image deployment/myapp server=nginx:9";
    scene.kubectl_as(&other, image).denied(&[]);
    scene.kubectl_as(&robot, image).quiet();
    let user = format!("system:serviceaccount:{ns}:robot");
    let said = verdict(&user, "patch", ("deployments", ns, "myapp"));
    assert_eq!(said, Verdict::exempt("image-robot"));
    let replicas = "scale --replicas=0 deployment/myapp";
    scene.kubectl_as(&robot, replicas).denied(&[]);
}

/// The policy in force, from `/metrics`.
fn policy_line(metrics: &str) -> &str {
    let mut lines = metrics.lines();
    let found = lines.find(|line| line.starts_with("helm_guard_policy_info{"));
    found.unwrap_or_else(|| panic!("{metrics}"))
}

#[test]
fn an_invalid_policy_is_rejected_and_ignored_if_stored_anyway() {
    let scene = scene("wrong");
    let rule = Rule::new(&json!({"mode": "Warn"}));
    let wrong = json!({"mode": "Audit", "ignore": [{"paths": ["spec"]}],
        "exemptions": [{"name": "all", "subjects": {"groups": ["system:authenticated"]},
            "kinds": [{"kind": "Pod"}], "paths": ["/spec"]}]});
    let output = refused(&wrong);
    for word in [
        "spec.ignore[0].paths[0]",
        "spec.exemptions[0].subjects.groups[0]",
        "matches everyone",
    ] {
        assert!(output.says(word), "{word}: {}", output.stderr);
    }
    smuggle(&wrong);
    let status = in_force(false);
    let error = status["error"].as_str().unwrap();
    assert!(error.contains("spec.ignore[0].paths[0]"), "{error}");
    colour(&scene, "red").warned(&[]);
    let metrics = rule.guard.admin_get("/metrics").body;
    assert!(
        metrics.contains("helm_guard_policy_last_reload_successful 0"),
        "{metrics}"
    );
    let source = r#"source="object""#;
    assert!(policy_line(&metrics).contains(source), "{metrics}");
    assert!(
        policy_line(&metrics).contains(r#"mode="Warn""#),
        "{metrics}"
    );
    change(&json!({"mode": "Deny"}));
    colour(&scene, "green").denied(&[]);
    let metrics = rule.guard.admin_get("/metrics").body;
    assert!(
        policy_line(&metrics).contains(r#"mode="Deny""#),
        "{metrics}"
    );
}

#[test]
fn a_vanished_policy_stays_in_force_until_confirmed_gone_then_the_flags_apply() {
    let scene = scene("flags");
    let rule = Rule::with(
        &json!({"mode": "Deny"}),
        config("Audit").args(["--policy-grace", "4s"]),
    );
    scene.settled("configmap/myapp", 1);
    colour(&scene, "red").denied(&[]);
    admin("delete guardpolicy default").ok();
    rule.guard.await_log("a policy that is missing", |line| {
        line["event"] == "PolicyMissing" && line["status"] == "firing"
    });
    assert!(refuses(&scene));
    let readyz = rule.guard.admin_get("/readyz");
    assert_eq!(readyz.status, 200);
    assert!(
        readyz
            .body
            .contains("[!]policy degraded: the GuardPolicy is missing"),
        "{}",
        readyz.body
    );
    eventually("the mode of the flags", || (!refuses(&scene)).then_some(()));
    let line = rule
        .guard
        .await_log("a policy that is less strict", |line| {
            line["target"] == "audit" && line["event"] == "PolicyLoosened"
        });
    assert_eq!(line["changes"], json!(["mode: Deny to Audit"]));
    let readyz = rule.guard.admin_get("/readyz").body;
    assert!(
        readyz.contains("flags in force are less strict: mode: Deny to Audit"),
        "{readyz}"
    );
}

#[test]
fn recreating_a_policy_loosens_nothing_in_between() {
    let scene = scene("recreated");
    let rule = Rule::with(&json!({"mode": "Deny"}), config("Audit"));
    scene.settled("configmap/myapp", 1);
    admin("delete guardpolicy default").ok();
    rule.guard.await_log("a policy that is missing", |line| {
        line["event"] == "PolicyMissing" && line["status"] == "firing"
    });
    assert!(refuses(&scene));
    change(&json!({"mode": "Warn"}));
    rule.guard.await_log("a policy that is back", |line| {
        line["event"] == "PolicyMissing" && line["status"] == "resolved"
    });
    colour(&scene, "red").warned(&[]);
}

#[test]
fn a_guard_that_requires_a_policy_is_not_ready_without_one() {
    let turn = Turn::take();
    install();
    admin("delete guardpolicy default --ignore-not-found").ok();
    let config = config("Audit").args(["--require-policy"]);
    let mut guard = Guard::spawn(shared(), config).unwrap();
    let url = guard.admin_url("/readyz");
    eventually("an answer that says what is missing", || {
        let answer = http_get(&url).ok()?;
        (answer.status == 503
            && answer
                .body
                .contains("[-]policy missing: there is no GuardPolicy"))
        .then_some(())
    });
    write(&json!({"mode": "Deny"})).ok();
    guard
        .await_ready()
        .unwrap_or_else(|error| panic!("{error}"));
    admin("delete guardpolicy default").ok();
    drop(turn);
}

/// Scenario 42, tightened.
#[test]
fn undeclared_fields_cannot_change_if_the_policy_forbids_it() {
    let scene = scene("undeclared");
    let _rule = Rule::new(&json!({
        "undeclared": {"mode": "Deny", "except": [{"paths": ["/metadata/annotations/example.com~1note"]}]},
    }));
    scene.settled("configmap/myapp", 1);
    scene
        .kubectl("label deployment/myapp team=a")
        .denied(&[".metadata.labels.team"]);
    let said = scene.verdict("patch", "deployments", "myapp");
    assert_eq!(said.reason, "undeclared-changed");
    let more = json!({"data": {"extra": "1"}});
    scene
        .patch("configmap/myapp", "merge", &more)
        .denied(&[".data.extra"]);
    scene
        .kubectl("annotate deployment/myapp example.com/note=x")
        .quiet();
    scene.kubectl("rollout restart deployment/myapp").quiet();
    scene
        .helm("upgrade myapp --reuse-values --set replicas=2")
        .arg(shared().chart(&myapp("1.0.1")))
        .ok();
}

#[test]
fn a_policy_file_is_reloaded() {
    let turn = Turn::take();
    let scene = scene("file");
    let file = shared().scratch().join("policy.yaml");
    let write = |spec: &Value| {
        std::fs::write(&file, super::crds::policy("default", spec).to_string()).unwrap();
    };
    write(&json!({"mode": "Warn"}));
    let guard = turn.start(config("").args(["--policy".as_ref(), file.as_os_str()]));
    colour(&scene, "red").warned(&[]);
    write(&json!({"mode": "Denny"}));
    guard.await_log("a policy that is not taken over", |line| {
        line["level"] == "ERROR" && line.to_string().contains("Denny")
    });
    colour(&scene, "green").warned(&[]);
    write(&json!({"mode": "Deny"}));
    eventually("the file's new mode", || refuses(&scene).then_some(()));
}

/// Scenario 28, tightened.
#[test]
fn a_stuck_uninstall_deletes_nothing_more_until_it_is_restarted() {
    let scene = scene("stuck");
    let began = |at: &str| {
        scene.rewrite_record("myapp", 1, |body| {
            body["info"]["status"] = "uninstalling".into();
            body["info"]["deleted"] = at.into();
        });
    };
    began("2026-11-20T03:00:00.123456+01:00");
    let _rule = Rule::new(&json!({"mode": "Deny", "uninstallingMaxAge": "1h"}));
    scene.settled("configmap/myapp", 1);
    scene
        .kubectl("delete configmap/myapp")
        .denied(&["helm uninstall myapp"]);
    scene.helm("uninstall myapp").ok();
    let line = "get configmap/myapp --ignore-not-found -o name";
    assert_eq!(scene.kubectl(line).ok().stdout, "");
}
