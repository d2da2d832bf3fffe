//! What a guard says before it is ready.

use serde_json::json;
use testbed::{Guard, GuardConfig, HelmVersion, http_get, shared};

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

/// All that the guard needs, but no records.
const BLIND: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: blind-guard}
rules:
  - apiGroups: [admissionregistration.k8s.io]
    resources: [validatingwebhookconfigurations]
    verbs: ['*']
  - apiGroups: [apiextensions.k8s.io]
    resources: [customresourcedefinitions]
    verbs: [get, list, watch]
";

#[test]
fn a_guard_that_may_not_read_records_is_not_ready_says_so_and_recovers() {
    let _turn = Turn::take();
    let plane = shared();
    let scene = Scene::new("blind", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let ns = scene.ns.name();
    let account = plane.service_account(ns, "guard").unwrap();
    let admin = |line: &str| scene.kubectl_as(plane.admin(), line);
    admin("apply -f -").stdin(BLIND).ok();
    let subject = format!("--serviceaccount={ns}:guard");
    admin(&format!(
        "create clusterrolebinding {ns}-blind --clusterrole=blind-guard {subject}"
    ))
    .ok();
    let config = Turn::config("Deny");
    let config = GuardConfig {
        kubeconfig: &account,
        ..config
    };
    let mut guard = Guard::spawn(plane, config).unwrap();
    let url = guard.admin_url("/readyz");
    let text = eventually("an answer that says what is missing", || {
        let answer = http_get(&url).ok()?;
        (answer.status == 503).then_some(answer.body)
    });
    assert!(text.contains("index"), "{text}");
    assert_eq!(guard.admin_get("/livez").status, 200);
    scene
        .kubectl("delete configmap settings --dry-run=server")
        .ok();

    admin(&format!(
        "create clusterrolebinding {ns}-sees --clusterrole=view-records {subject}"
    ))
    .ok();
    let records = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "view-records"},
        "rules": [{
            "apiGroups": [""], "resources": ["secrets", "configmaps"],
            "verbs": ["get", "list", "watch"],
        }],
    });
    admin("apply -f -").stdin(records.to_string()).ok();
    guard
        .await_ready()
        .unwrap_or_else(|error| panic!("{error}"));
    scene
        .kubectl("delete configmap settings --dry-run=server")
        .denied(&[]);
}
