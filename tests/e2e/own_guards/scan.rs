//! `scan` of real releases without a guard: each difference is found with its writer and consequence, and is gone when it
//! is repaired.

mod patch;

use std::process::{Command, Output};

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use crate::{
    charts::myapp,
    scene::{Scene, Screen},
    turn::Turn,
};

/// A release in its namespace, and no guard.
struct Unguarded {
    scene: Scene,
    upgrade: String,
    _turn: Turn,
}

impl Unguarded {
    /// Installed, upgraded twice and rolled back.
    fn new(stem: &str, version: HelmVersion) -> Self {
        let turn = Turn::take();
        let scene = Scene::new(stem, version);
        let chart = scene.install("myapp", &myapp("1.0.0"));
        let upgrade = format!("upgrade myapp {}", chart.display());
        scene.helm(&format!("{upgrade} --set memory=2Gi")).quiet();
        scene.helm("rollback myapp 1").quiet();
        Self {
            scene,
            upgrade,
            _turn: turn,
        }
    }

    /// Upgrades to what is declared, which leaves no drift.
    fn repair(&self, version: HelmVersion) {
        let force = match version {
            HelmVersion::V3 => "",
            HelmVersion::V4 => " --force-conflicts",
        };
        self.scene.helm(&format!("{}{force}", self.upgrade)).quiet();
        assert_eq!(self.found(), [""; 0]);
    }

    fn scan(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_helm-guard"))
            .arg("scan")
            .args(line.split_whitespace())
            .args(["-n", self.scene.ns.name(), "--kubeconfig"])
            .arg(shared().admin())
            .output()
            .unwrap()
    }

    fn report(&self) -> (Option<i32>, Value) {
        let output = self.scan("-o json");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let report = serde_json::from_slice(&output.stdout);
        let report: Value = report.unwrap_or_else(|_| panic!("{stderr}"));
        testbed::schema::assert_valid("ScanReport", &report);
        (output.status.code(), report)
    }

    /// The findings, each as its class, object, field and consequence.
    fn found(&self) -> Vec<String> {
        let (code, report) = self.report();
        assert_eq!(report["complete"], true, "{report:#}");
        let of_releases = report["releases"].as_array().unwrap().iter();
        let findings = of_releases.flat_map(|release| release["findings"].as_array().unwrap());
        let findings = findings.chain(report["orphans"].as_array().unwrap());
        let line = |finding: &Value| {
            let text = |pointer: &str| finding.pointer(pointer).and_then(Value::as_str);
            let path = text("/path").map_or_else(String::new, |path| format!(" {path}"));
            format!(
                "{} {}/{}{path}: {}",
                text("/class").unwrap(),
                text("/object/kind").unwrap(),
                text("/object/name").unwrap(),
                text("/consequence").unwrap()
            )
        };
        let found: Vec<String> = findings.map(line).collect();
        assert_eq!(
            code,
            Some(if found.is_empty() { 0 } else { 2 }),
            "{found:?}"
        );
        found
    }
}

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
    let changed = match version {
        HelmVersion::V3 => "Reverted",
        HelmVersion::V4 => "Blocks",
    };
    scene.kubectl("scale deployment/myapp --replicas=7").quiet();
    assert_eq!(
        unguarded.found(),
        [format!(
            "Changed Deployment/myapp .spec.replicas: {changed}"
        )]
    );
    let (_, report) = unguarded.report();
    let finding = &report["releases"][0]["findings"][0];
    assert_eq!(finding["live"], 7);
    assert_eq!(finding["writer"]["manager"], "kubectl");
    let upgraded = scene.helm(&unguarded.upgrade).run();
    let is_stopped = upgraded.says("conflict");
    assert_eq!(is_stopped, changed == "Blocks", "{}", upgraded.stderr);
    unguarded.repair(version);

    scene.kubectl("delete service myapp").quiet();
    assert_eq!(unguarded.found(), ["Missing Service/myapp: Recreated"]);
    unguarded.repair(version);
    assert!(scene.holds("service/myapp"));

    let label = "app.kubernetes.io/managed-by";
    scene
        .kubectl(&format!("label service/myapp {label}-"))
        .quiet();
    let unmarked = unguarded.found();
    assert_eq!(unmarked.len(), 1, "{unmarked:?}");
    assert!(
        unmarked[0].starts_with("Unmarked Service/myapp"),
        "{unmarked:?}"
    );
    unguarded.repair(version);

    let orphan = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "left", "labels": {label: "Helm"},
            "annotations": {
                "meta.helm.sh/release-name": "gone",
                "meta.helm.sh/release-namespace": scene.ns.name(),
            },
        },
    });
    scene
        .kubectl("create --field-manager=helm -f -")
        .stdin(orphan.to_string())
        .ok();
    let orphaned = unguarded.found();
    assert!(
        orphaned.contains(&"Orphaned ConfigMap/left: Leaked".to_owned()),
        "{orphaned:?}"
    );
    scene.kubectl("delete configmap left").quiet();
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
