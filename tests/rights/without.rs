//! A guard without optional rights: it works, and logs what it cannot do.

use std::sync::PoisonError;

use serde_json::json;
use testbed::{HelmVersion, shared};

use crate::{
    TURN,
    charts::{CONFIG_MAP, single},
    duties::{admin, emergency, guard, install, policy},
    scene::{Scene, Screen, eventually},
};

/// Bound to the rights that `deploy/` always grants, without the options.
fn lesser() -> std::path::PathBuf {
    let account = shared().service_account("helm-guard", "lesser").unwrap();
    let line = "--serviceaccount=helm-guard:lesser";
    admin(&format!(
        "create clusterrolebinding lesser --clusterrole=helm-guard {line}"
    ))
    .ok();
    admin(&format!(
        "create rolebinding lesser -n helm-guard --role=helm-guard {line}"
    ))
    .ok();
    account
}

#[test]
fn without_optional_rights_the_guard_works_and_logs_what_it_cannot_do() {
    crate::first();
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    let guard = guard(&lesser());
    policy("Deny");
    let scene = Scene::new("lesser", HelmVersion::V4);
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    scene.kubectl("delete configmap/settings").denied(&[]);
    let text = guard.admin_get("/readyz").body;
    assert!(text.contains("configmaps"), "{text}");
    guard.await_log("that emergency changes are not followed", |line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.contains("emergency changes are not followed")
    });
    // Without the records in ConfigMaps there is no scan. That is a failure, and never "no drift".
    eventually("a scan that failed", || {
        let metrics = guard.admin_get("/metrics").body;
        assert!(!metrics.contains("\nhelm_drift_detected{"), "{metrics}");
        let mut lines = metrics.lines();
        let failures =
            lines.find_map(|line| line.strip_prefix("helm_guard_drift_scan_failures_total "))?;
        (failures.parse::<f64>().ok()? > 0.5).then_some(())
    });
    emergency(&scene, "patch configmap/settings --type=merge -p")
        .arg(json!({"data": {"colour": "red"}}).to_string())
        .warned(&["recorded only in the audit log", "emergencychanges"]);
    guard.stop();
}
