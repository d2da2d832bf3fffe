//! A release without a guard: what a scan finds there, and whether the next upgrade does about it what the scan says.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use testbed::{Chart, HelmVersion, Invocation, shared};

use crate::{
    charts::myapp,
    scene::{Scene, Screen},
    turn::Turn,
};

/// The last line of [`Unguarded::found`] if something could not be looked at.
pub(super) const INCOMPLETE: &str = "incomplete";

/// The release `myapp` in its namespace, and no guard.
pub(super) struct Unguarded {
    pub(super) scene: Scene,
    pub(super) version: HelmVersion,
    chart: String,
    _turn: Turn,
}

impl Unguarded {
    /// The usual chart: installed, upgraded and rolled back.
    pub(super) fn new(stem: &str, version: HelmVersion) -> Self {
        let unguarded = Self::of(stem, version, &myapp("1.0.0"));
        unguarded.upgrade("--set memory=2Gi").quiet();
        unguarded.scene.helm("rollback myapp 1").quiet();
        unguarded
    }

    /// This chart, installed.
    pub(super) fn of(stem: &str, version: HelmVersion, chart: &Chart) -> Self {
        let turn = Turn::take();
        let scene = Scene::new(stem, version);
        let chart = scene.install("myapp", chart);
        Self {
            scene,
            version,
            chart: chart.display().to_string(),
            _turn: turn,
        }
    }

    /// `helm LINE` with the same chart and these arguments: `upgrade`, `upgrade --install`.
    pub(super) fn with_chart(&self, operation: &str, args: &str) -> Invocation {
        self.scene
            .helm(&format!("{operation} myapp {} {args}", self.chart))
    }

    /// `helm upgrade` with the same chart and these arguments. Without values, Helm would reuse those of the newest
    /// revision.
    pub(super) fn upgrade(&self, args: &str) -> Invocation {
        self.with_chart("upgrade --reset-values", args)
    }

    /// The same, by the user of this kubeconfig.
    pub(super) fn upgrade_as(&self, kubeconfig: &Path, args: &str) -> Invocation {
        let line = format!("upgrade --reset-values myapp {} {args}", self.chart);
        self.scene.helm_as(kubeconfig, &line)
    }

    /// The same, by a Helm that may be the other one.
    pub(super) fn upgrade_by(&self, version: HelmVersion, args: &str) -> Invocation {
        let helm = shared().helm(version).cmd(shared().alice());
        helm.args(["-n", self.scene.ns.name(), "upgrade", "myapp", &self.chart])
            .args(args.split_whitespace())
    }

    /// What to expect of the two Helms.
    pub(super) fn either<T>(&self, helm3: T, helm4: T) -> T {
        match self.version {
            HelmVersion::V3 => helm3,
            HelmVersion::V4 => helm4,
        }
    }

    /// Upgrades to what is declared, and takes over what others own. This leaves no drift.
    pub(super) fn repair(&self) {
        self.upgrade(self.either("", "--force-conflicts")).quiet();
        assert_eq!(self.found(), [""; 0]);
    }

    pub(super) fn scan(&self, line: &str) -> Output {
        self.scan_as(shared().admin(), line)
    }

    /// `helm-guard scan LINE` by the user of this kubeconfig.
    pub(super) fn scan_as(&self, kubeconfig: &Path, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_helm-guard"))
            .arg("scan")
            .args(line.split_whitespace())
            .args(["-n", self.scene.ns.name(), "--kubeconfig"])
            .arg(kubeconfig)
            .output()
            .unwrap()
    }

    pub(super) fn report(&self) -> Value {
        self.report_to(shared().admin()).1
    }

    /// The exit code, and what the user of this kubeconfig is told.
    fn report_to(&self, kubeconfig: &Path) -> (Option<i32>, Value) {
        let output = self.scan_as(kubeconfig, "-o json");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let report = serde_json::from_slice(&output.stdout);
        let report: Value = report.unwrap_or_else(|_| panic!("{stderr}"));
        testbed::schema::assert_valid("ScanReport", &report);
        (output.status.code(), report)
    }

    /// The findings, each as its class, object, field, writer and consequence, and [`INCOMPLETE`].
    pub(super) fn found(&self) -> Vec<String> {
        self.found_as(shared().admin())
    }

    /// The same, by the user of this kubeconfig.
    pub(super) fn found_as(&self, kubeconfig: &Path) -> Vec<String> {
        let (code, report) = self.report_to(kubeconfig);
        let findings = findings(&report);
        let mut found: Vec<String> = findings.iter().map(|one| line(one)).collect();
        found.sort();
        let is_complete = report["complete"] == true;
        let is_drift = findings.iter().any(|one| one["severity"] != "Info");
        let expected = match (is_complete, is_drift) {
            (false, _) => 1,
            (true, true) => 2,
            (true, false) => 0,
        };
        assert_eq!(code, Some(expected), "{report:#}");
        if !is_complete {
            found.push(INCOMPLETE.to_owned());
        }
        found
    }

    /// The only finding.
    pub(super) fn finding(&self) -> Value {
        let report = self.report();
        let findings = findings(&report);
        let [finding] = &*findings else {
            panic!("{report:#}");
        };
        (*finding).clone()
    }

    /// This is found, and the next upgrade does about it what the consequences say.
    pub(super) fn confirm(&self, expected: &[impl AsRef<str>]) {
        self.confirm_with("", expected);
    }

    /// The same with these arguments, which the newest revision had too.
    pub(super) fn confirm_with(&self, args: &str, expected: &[impl AsRef<str>]) {
        let expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
        assert_eq!(self.found(), expected);
        // A claim stops only an upgrade that changes the field, and outlives the others.
        let is_claim = |line: &str| line.starts_with("Claimed ");
        let blocks = |line: &&str| line.ends_with(": Blocks") && !is_claim(line);
        let is_blocked = expected.iter().any(blocks);
        let upgraded = self.upgrade(args).run();
        let (is_upgraded, stderr) = (upgraded.status.success(), &upgraded.stderr);
        assert_eq!(is_upgraded, !is_blocked, "{expected:?}\n{stderr}");
        let remains = |line: &&str| {
            is_blocked || is_claim(line) || line.ends_with(": Kept") || line.ends_with(": Leaked")
        };
        let remaining: Vec<&str> = expected.into_iter().filter(remains).collect();
        assert_eq!(self.found(), remaining, "after the upgrade\n{stderr}");
    }
}

fn findings(report: &Value) -> Vec<&Value> {
    let of_releases = report["releases"].as_array().unwrap().iter();
    let findings = of_releases.flat_map(|release| release["findings"].as_array().unwrap());
    findings
        .chain(report["orphans"].as_array().unwrap())
        .collect()
}

fn line(finding: &Value) -> String {
    let text = |pointer: &str| finding.pointer(pointer).and_then(Value::as_str);
    let path = text("/path").map_or_else(String::new, |path| format!(" {path}"));
    let writer = text("/writer/manager").map_or_else(String::new, |who| format!(" by {who}"));
    format!(
        "{} {}/{}{path}{writer}: {}",
        text("/class").unwrap(),
        text("/object/kind").unwrap(),
        text("/object/name").unwrap(),
        text("/consequence").unwrap()
    )
}
