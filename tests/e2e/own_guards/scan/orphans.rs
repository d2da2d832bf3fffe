//! **Orphaned**: objects with the marks of a release that does not declare them. What `helm.sh/resource-policy` kept is
//! told apart.

use rstest::rstest;
use testbed::{Chart, HelmVersion};

use super::unguarded::Unguarded;
use crate::{charts::single, scene::Screen};

/// A ConfigMap `settings`, and with the value `kept` another one, which Helm never deletes.
fn keeping() -> Chart {
    single(KEEPING).values("kept: false\n")
}

const KEEPING: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
{{- if .Values.kept }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: kept
  annotations: {helm.sh/resource-policy: keep}
{{- end }}
";

const KEPT: [&str; 1] = ["Orphaned ConfigMap/kept: Kept"];

#[rstest]
#[case::dropped_by_an_upgrade("")]
#[case::dropped_by_a_rollback("rollback myapp 1")]
fn a_kept_object_that_the_release_no_longer_declares_is_no_drift(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
    #[case] rollback: &str,
) {
    let unguarded = Unguarded::of("scan-kept", version, &keeping());
    let scene = &unguarded.scene;
    unguarded.upgrade("--set kept=true").quiet();
    assert_eq!(unguarded.found(), [""; 0]);
    if rollback.is_empty() {
        unguarded.upgrade("").quiet();
    } else {
        scene.helm(rollback).quiet();
    }
    unguarded.confirm(&KEPT);
    let finding = unguarded.finding();
    assert_eq!(finding["severity"], "Info");
    let message = finding["message"].to_string();
    assert!(message.contains("resource-policy kept it"), "{message}");
    // Helm adopts it again, or somebody deletes it.
    unguarded.upgrade("--set kept=true").quiet();
    assert_eq!(unguarded.found(), [""; 0]);
    unguarded.upgrade("").quiet();
    assert_eq!(unguarded.found(), KEPT);
    scene.kubectl("delete configmap kept").ok();
    assert_eq!(unguarded.found(), [""; 0]);
}

#[rstest]
#[case::without_a_record("", "which has no record")]
#[case::with_its_records("--keep-history", "was uninstalled")]
fn a_kept_object_outlives_its_release(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
    #[case] flag: &str,
    #[case] says: &str,
) {
    let unguarded = Unguarded::of("scan-outlived", version, &keeping());
    let scene = &unguarded.scene;
    unguarded.upgrade("--set kept=true").quiet();
    scene.helm(&format!("uninstall myapp {flag}")).ok();
    assert!(!scene.holds("configmap/settings"));
    assert_eq!(unguarded.found(), KEPT);
    let message = unguarded.finding()["message"].to_string();
    assert!(message.contains(says), "{message}");
    assert!(message.contains("resource-policy kept it"), "{message}");
    // A new release of that name adopts it.
    unguarded
        .with_chart("install", "--replace --set kept=true")
        .quiet();
    assert_eq!(unguarded.found(), [""; 0]);
}

#[rstest]
fn the_objects_of_a_release_whose_records_are_gone_are_orphaned(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::of("scan-orphaned", version, &keeping());
    let scene = &unguarded.scene;
    unguarded.upgrade("--set kept=true").quiet();
    scene.kubectl("delete secret -l owner=helm,name=myapp").ok();
    let orphaned = [
        "Orphaned ConfigMap/kept: Kept",
        "Orphaned ConfigMap/settings: Leaked",
    ];
    assert_eq!(unguarded.found(), orphaned);
    // There is nothing to upgrade, and the objects stay.
    unguarded.upgrade("").refused();
    assert_eq!(unguarded.found(), orphaned);
    // An installation adopts what it declares.
    unguarded
        .with_chart("upgrade --install", "--set kept=true")
        .quiet();
    assert_eq!(unguarded.found(), [""; 0]);
}
