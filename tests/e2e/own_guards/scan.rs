//! `scan` of real releases without a guard: each difference is found with its writer and consequence, and is gone when it
//! is repaired.

mod admission;
mod consequences;
mod coverage;
mod deployers;
mod emergency;
mod kinds;
mod leftovers;
mod orphans;
mod ownership;
mod patch;
mod records;
mod unfinished;
mod unguarded;
mod watch;
mod webhooks;

use std::process::Command;

use rstest::rstest;
use serde_json::Value;
use testbed::{HelmVersion, shared};

use self::unguarded::Unguarded;
use crate::scene::Screen;

#[rstest]
fn a_release_as_helm_left_it_has_no_drift(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-clean", version);
    assert_eq!(unguarded.found(), [""; 0]);
    let text = unguarded.scan("");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with("1 release, "), "{text}");
    assert!(
        text.ends_with(" objects: 1 in sync, 0 drifted.\n"),
        "{text}"
    );
}

#[rstest]
fn each_difference_is_found_and_gone_when_repaired(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-drift", version);
    let scene = &unguarded.scene;
    // Helm 4 applies server-side and stops at a field that somebody else owns.
    let changed = unguarded.either("Reverted", "Blocks");
    scene.kubectl("scale deployment/myapp --replicas=7").quiet();
    assert_eq!(unguarded.finding()["live"], 7);
    unguarded.confirm(&[format!(
        "Changed Deployment/myapp .spec.replicas by kubectl: {changed}"
    )]);
    unguarded.repair();

    scene.kubectl("delete service myapp").quiet();
    unguarded.confirm(&["Missing Service/myapp: Recreated"]);
    assert!(scene.holds("service/myapp"));

    let label = "label service/myapp app.kubernetes.io/managed-by";
    scene.kubectl(&format!("{label}-")).quiet();
    unguarded.confirm(&["Unmarked Service/myapp: Reverted"]);
    scene.kubectl(&format!("{label}=me --overwrite")).quiet();
    unguarded.confirm(&[format!(
        "Unmarked Service/myapp by kubectl-label: {changed}"
    )]);
    unguarded.repair();
}

#[test]
fn a_baseline_accepts_what_is_known_and_only_that() {
    let unguarded = Unguarded::new("scan-baseline", HelmVersion::V3);
    let file = shared().scratch().join("baseline.json");
    let file = file.display();
    unguarded
        .scene
        .kubectl("scale deployment/myapp --replicas=7")
        .quiet();
    let written = unguarded.scan(&format!("--write-baseline {file}"));
    let stderr = String::from_utf8_lossy(&written.stderr);
    assert_eq!(written.status.code(), Some(0), "{stderr}");
    assert_eq!(
        unguarded.scan(&format!("--baseline {file}")).status.code(),
        Some(0)
    );
    // Another value is not accepted, nor another finding.
    unguarded
        .scene
        .kubectl("scale deployment/myapp --replicas=8")
        .quiet();
    assert_eq!(
        unguarded.scan(&format!("--baseline {file}")).status.code(),
        Some(2)
    );
    assert_eq!(
        unguarded
            .scan(&format!("--baseline {file} --exit-zero"))
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        unguarded
            .scan(&format!("--baseline {file} --fail-on Missing"))
            .status
            .code(),
        Some(0)
    );
}

#[test]
fn what_may_not_be_read_is_named_and_never_clean() {
    let unguarded = Unguarded::new("scan-rights", HelmVersion::V3);
    let scene = &unguarded.scene;
    let admin = |line: &str| scene.kubectl(line).ok();
    admin(
        "create role records --verb=get,list --resource=secrets,configmaps,services,serviceaccounts",
    );
    admin("create rolebinding records --role=records --user=rita@example.com");
    let rita = shared().user("rita@example.com", &[]).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_helm-guard"))
        .args(["scan", "-o", "json", "-n", scene.ns.name(), "--kubeconfig"])
        .arg(rita)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["complete"], false);
    let text = report["releases"].to_string();
    assert!(text.contains("the scan may not read it"), "{report:#}");
    assert!(!report["errors"].as_array().unwrap().is_empty());
}

#[test]
fn it_needs_no_right_to_write() {
    let unguarded = Unguarded::new("scan-reader", HelmVersion::V4);
    let scene = &unguarded.scene;
    let role = unguarded.scene.ns.name();
    let admin = |line: &str| scene.kubectl(line).ok();
    admin(&format!(
        "create clusterrole {role} --verb=get,list --resource=*.*"
    ));
    admin(&format!(
        "create clusterrolebinding {role} --clusterrole={role} --user=reader-{role}@example.com"
    ));
    let reader = shared()
        .user(&format!("reader-{role}@example.com"), &[])
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_helm-guard"))
        .args(["scan", "-o", "json", "-n", role, "--kubeconfig"])
        .arg(reader)
        .output()
        .unwrap();
    admin(&format!("delete clusterrole,clusterrolebinding {role}"));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["complete"], true);
    assert_eq!(report["summary"]["inSync"], 1);
}

#[rstest]
#[case::release("nope", "there is no release \"nope\" in namespace")]
#[case::class("--class Chnged", "did you mean \"Changed\"?")]
#[case::no_baseline("--baseline /dev/null", "/dev/null is not a baseline")]
fn a_mistake_is_an_error(#[case] line: &str, #[case] says: &str) {
    let unguarded = Unguarded::new("scan-mistakes", HelmVersion::V4);
    let output = unguarded.scan(line);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(says), "{stderr}");
}
