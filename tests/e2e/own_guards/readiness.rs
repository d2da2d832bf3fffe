//! What a guard reports before it is ready.

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use helm_guard::webhook::{
    paths::{PathKey, Route},
    tls::Pair,
};
use serde_json::json;
use testbed::{Guard, GuardConfig, HelmVersion, http_get, shared};

use super::certificates::{authority, write_leaf};
use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

/// All rights that the guard needs, except for records.
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
fn a_guard_without_access_to_records_reports_not_ready_and_recovers() {
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
    let dir = plane.scratch().join("blind");
    fs::create_dir_all(&dir).unwrap();
    let authority = authority();
    write_leaf(&dir, &authority, 2050);
    fs::write(dir.join("ca.crt"), authority.certificate.pem()).unwrap();
    let config = GuardConfig {
        kubeconfig: &account,
        ..config
    }
    .args(["--tls-cert".into(), dir.join("tls.crt")])
    .args(["--tls-key".into(), dir.join("tls.key")]);
    let mut guard = Guard::spawn(plane, config).unwrap();
    let url = guard.admin_url("/readyz");
    let text = eventually("an answer that says what is missing", || {
        let answer = http_get(&url).ok()?;
        (answer.status == 503).then_some(answer.body)
    });
    assert!(text.contains("index"), "{text}");
    assert_eq!(guard.admin_get("/livez").status, 200);
    // An earlier guard may have left its registration.
    let bundle = BASE64_STANDARD.encode(authority.certificate.pem());
    let path = PathKey::of(&Pair {
        chain: String::new(),
        key: fs::read_to_string(dir.join("tls.key")).unwrap(),
        ca_bundle: None,
    })
    .path(Route::Validate, "objects.helm-guard.dev");
    let registration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "helm-guard"},
        "webhooks": [{
            "name": "objects.helm-guard.dev", "sideEffects": "NoneOnDryRun",
            "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
            "clientConfig": {
                "url": format!("https://{}{path}", guard.listen_addr()), "caBundle": bundle,
            },
            "rules": [{"apiGroups": [""], "apiVersions": ["*"], "operations": ["DELETE"],
                "resources": ["configmaps"]}],
        }],
    });
    admin("apply -f -").stdin(registration.to_string()).ok();
    let delete = "delete configmap settings --dry-run=server";
    eventually("a warning that not all records have been read", || {
        let output = scene.kubectl(delete).ok();
        output
            .says("not all release records have been read yet")
            .then_some(())
    });
    let counted = r#"verdict="indeterminate",reason="index-incomplete"}"#;
    scene.kubectl("create configmap other").ok();
    scene
        .kubectl("delete configmap other")
        .warned(&["index-incomplete"]);
    assert!(guard.admin_get("/metrics").body.contains(counted));

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
