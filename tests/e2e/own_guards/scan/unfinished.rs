//! **`PartiallyApplied`** and **`StuckPending`**: operations that did not finish.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{Chart, HelmVersion, scene::record_name, shared};

use super::unguarded::Unguarded;
use crate::{
    charts::single,
    scene::{Screen, eventually},
};

/// A ConfigMap and a Deployment with one value, `colour`, and with the value `worker` another Deployment.
fn halves() -> Chart {
    single(HALVES).values("colour: blue\nworker: false\n")
}

const HALVES: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: '{{ .Values.colour }}'}
{{- range $name := ternary (list \"web\" \"worker\") (list \"web\") .Values.worker }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: '{{ $name }}'}
spec:
  replicas: 0
  selector: {matchLabels: {app: '{{ $name }}'}}
  template:
    metadata: {labels: {app: '{{ $name }}'}}
    spec:
      containers:
        - name: server
          image: nginx:1.0.0
          env: [{name: COLOUR, value: '{{ $.Values.colour }}'}]
{{- end }}
";

/// Everything but a write of a Deployment.
const NO_DEPLOYMENTS: [(&str, &str); 2] = [
    ("*", "configmaps,secrets"),
    ("get,list,watch", "deployments.apps"),
];

const GREEN: &str = "--set colour=green,worker=true";

/// Revision 2 stops at the Deployments.
fn stopped(stem: &str, version: HelmVersion) -> Unguarded {
    let unguarded = Unguarded::of(stem, version, &halves());
    let deployer = unguarded.deployer(&NO_DEPLOYMENTS);
    let stopped = unguarded.upgrade_as(&deployer, GREEN).refused();
    assert!(stopped.says("forbidden"), "{stopped:?}");
    let colour = unguarded.scene.at("configmap/settings", "/data/colour");
    assert_eq!(colour, "green");
    unguarded
}

const PARTIAL: [&str; 2] = [
    "PartiallyApplied Deployment/web: Reverted",
    "PartiallyApplied Deployment/worker: Recreated",
];

#[rstest]
fn the_objects_that_an_upgrade_did_not_reach_follow_with_the_next(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = stopped("scan-partial", version);
    unguarded.confirm_with(GREEN, &PARTIAL);
    assert!(unguarded.scene.holds("deployment/worker"));
}

#[rstest]
fn a_rollback_brings_all_objects_to_one_revision(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = stopped("scan-half-back", version);
    assert_eq!(unguarded.found(), PARTIAL);
    unguarded.scene.helm("rollback myapp 1").quiet();
    assert_eq!(unguarded.found(), [""; 0]);
    let colour = unguarded.scene.at("configmap/settings", "/data/colour");
    assert_eq!(colour, "blue");
}

/// A time at which an operation began that has to have ended by now.
const LONG_AGO: &str = "2026-01-01T00:00:00Z";

/// Rewrites a record as if its operation had begun [`LONG_AGO`]: in etcd, because the API server sets the time of
/// creation itself.
fn backdate(unguarded: &Unguarded, revision: u32, change: impl FnOnce(&mut Value)) {
    let scene = &unguarded.scene;
    let record = scene.rewritten_record("myapp", revision, |body| {
        body["info"]["last_deployed"] = json!(LONG_AGO);
        change(body);
    });
    let mut record: Value = serde_json::from_str(&record).unwrap();
    record["metadata"]["creationTimestamp"] = json!(LONG_AGO);
    shared().store("secrets", &record).unwrap();
    let name = format!("secret/{}", record_name("myapp", revision));
    eventually("the time of a record as it is stored", || {
        (scene.at(&name, "/metadata/creationTimestamp") == LONG_AGO).then_some(())
    });
}

#[rstest]
fn an_upgrade_that_was_killed_is_stuck_after_a_while(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-stuck", version);
    let scene = &unguarded.scene;
    // No load balancer ever appears, so Helm waits after it has sent everything.
    let mut helm = unguarded
        .upgrade("--wait --set memory=1Gi,serviceType=LoadBalancer")
        .spawn();
    let memory = "/spec/template/spec/containers/0/resources/limits/memory";
    eventually("an upgrade that has sent the Deployment", || {
        (scene.at("deployment/myapp", memory) == "1Gi").then_some(())
    });
    helm.kill().unwrap();
    helm.wait().unwrap();
    // It may be running still.
    assert_eq!(unguarded.found(), [""; 0]);
    assert_eq!(unguarded.report()["releases"][0]["state"], "Pending");

    backdate(&unguarded, 4, |_| ());
    let record = record_name("myapp", 4);
    unguarded.confirm(&[format!("StuckPending Secret/{record}: Blocks")]);
    let finding = unguarded.finding();
    assert_eq!(finding["since"], LONG_AGO);
    let message = finding["message"].as_str().unwrap();
    assert!(
        message.contains("revision 4 is pending-upgrade"),
        "{message}"
    );

    scene.helm("rollback myapp 3").quiet();
    assert_eq!(unguarded.found(), [""; 0]);
    unguarded.upgrade("").quiet();
}

#[rstest]
fn an_uninstallation_that_was_killed_is_stuck_after_a_while(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-leaving", version);
    let scene = &unguarded.scene;
    scene.kubectl("delete deployment myapp").ok();
    backdate(&unguarded, 3, |body| {
        body["info"]["status"] = json!("uninstalling");
        body["info"]["deleted"] = json!(LONG_AGO);
    });
    let record = record_name("myapp", 3);
    unguarded.confirm(&[format!("StuckPending Secret/{record}: Blocks")]);
    scene.helm("uninstall myapp").ok();
    assert_eq!(unguarded.found(), [""; 0]);
}
