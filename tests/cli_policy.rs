//! `helm-guard policy` as scripts use it, without a cluster.

use std::{
    fs,
    process::{Command, Output},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

const POLICY: &str = "apiVersion: helm-guard.dev/v1alpha1\nkind: GuardPolicy\n";

const MANIFEST: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 3}
";

/// A directory with files, and commands run in it.
struct Bench(TempDir);

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self(dir)
    }

    fn run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_helm-guard"))
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .env("KUBECONFIG", "/nonexistent/kubeconfig")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .output()
            .unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_valid_policy_is_confirmed() {
    let bench = Bench::new(&[("policy.yaml", POLICY)]);
    let output = bench.run("policy check policy.yaml");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        "policy.yaml is a valid policy (mode Deny)\n"
    );
}

#[test]
fn the_policy_is_found_among_other_objects() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}\n";
    let item = "- apiVersion: helm-guard.dev/v1alpha1\n  kind: GuardPolicy\n  spec: {mode: Warn}\n";
    let bench = Bench::new(&[
        (
            "two.yaml",
            &format!("{secret}---\n{POLICY}spec: {{mode: Audit}}\n"),
        ),
        (
            "list.yaml",
            &format!("apiVersion: v1\nkind: List\nitems:\n{item}"),
        ),
        ("none.yaml", &format!("{secret}---\n{secret}")),
        ("several.yaml", &format!("{POLICY}---\n{POLICY}")),
    ]);
    for (file, code, says) in [
        ("two.yaml", 0, "two.yaml is a valid policy (mode Audit)"),
        ("list.yaml", 0, "list.yaml is a valid policy (mode Warn)"),
        ("none.yaml", 1, "none.yaml has no GuardPolicy"),
        ("several.yaml", 1, "several.yaml has several GuardPolicies"),
    ] {
        let output = bench.run(&format!("policy check {file}"));
        assert_eq!(output.status.code(), Some(code), "{file}");
        let text = stdout(&output) + &stderr(&output);
        assert!(text.contains(says), "{file}: {text}");
    }
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/alerts.yaml");
    let output = bench.run(&format!("policy check {example}"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn the_problems_of_a_policy_are_a_document_for_programs() {
    let overrides = "{match: {releases: {names: [shop/legacy]}}, mode: Warn}";
    let bench = Bench::new(&[(
        "policy.yaml",
        &format!("{POLICY}spec: {{overrides: [{overrides}]}}\n"),
    )]);
    let output = bench.run("policy check policy.yaml -o json");
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    testbed::schema::assert_valid("PolicyValidation", &report);
    assert_eq!(report["valid"], false);
    let problem = &report["problems"][0];
    assert_eq!(problem["path"], "spec.overrides[0].match.releases.names[0]");
    let message = problem["message"].as_str().unwrap();
    assert!(
        message.contains("its namespace is a field of its own"),
        "{message}"
    );
}

#[test]
fn all_policy_errors_are_printed_to_stderr() {
    let text = format!("{POLICY}spec:\n  ignore: [{{paths: [a]}}, {{paths: [/b~]}}]\n");
    let bench = Bench::new(&[("policy.yaml", &text)]);
    let output = bench.run("policy check policy.yaml");
    assert_eq!(output.status.code(), Some(1));
    for place in ["spec.ignore[0].paths[0]", "spec.ignore[1].paths[0]"] {
        assert!(stderr(&output).contains(place), "{}", stderr(&output));
    }
}

#[test]
fn a_policy_is_tested_against_recorded_reviews() {
    let object = |replicas: u32| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": replicas},
        })
    };
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "UPDATE", "name": "web", "namespace": "shop",
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
            "userInfo": {"username": "bob"}, "oldObject": object(3), "object": object(5),
        },
    });
    let warn = format!("{POLICY}spec: {{mode: Warn}}\n");
    let ignore = format!("{POLICY}spec: {{ignore: [{{name: hpa, paths: [/spec/replicas]}}]}}\n");
    let bench = Bench::new(&[
        ("review.json", &review.to_string()),
        ("manifest.yaml", MANIFEST),
        ("deny.yaml", POLICY),
        ("warn.yaml", &warn),
        ("ignore.yaml", &ignore),
    ]);
    for (policy, verdict, code) in [
        ("deny.yaml", "denied", 2),
        ("warn.yaml", "warned", 0),
        ("ignore.yaml", "allowed", 0),
    ] {
        let output = bench.run(&format!(
            "check review.json --policy {policy} --manifest manifest.yaml --release shop/web -o json"
        ));
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["reviews"][0]["verdict"], verdict, "{policy}");
    }
}

#[test]
fn a_policy_diff_shows_its_effect_on_recorded_reviews() {
    let object = |replicas: u32| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": replicas},
        })
    };
    let review = |replicas: u32| {
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "1", "operation": "UPDATE", "name": "web", "namespace": "shop",
                "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
                "userInfo": {"username": "bob"}, "oldObject": object(3), "object": object(replicas),
            },
        })
        .to_string()
    };
    let record = {
        let body = json!({
            "name": "web", "namespace": "shop", "version": 1, "manifest": MANIFEST,
            "info": {"status": "deployed"},
            "chart": {"metadata": {"name": "web", "version": "1.0.0"}},
        });
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "sh.helm.release.v1.web.v1", "namespace": "shop",
                "labels": {"owner": "helm", "name": "web", "version": "1", "status": "deployed"},
            },
            "data": {"release": BASE64_STANDARD.encode(body.to_string())},
        })
        .to_string()
    };
    let warn = format!("{POLICY}spec: {{mode: Warn}}\n");
    let bench = Bench::new(&[
        ("a.json", &review(5)),
        ("b.jsonl", &format!("{}\n{}\n", review(3), review(0))),
        ("records.json", &record),
        ("deny.yaml", POLICY),
        ("warn.yaml", &warn),
    ]);
    for (policy, code, summary) in [
        (
            "deny.yaml",
            2,
            "3 reviews in mode Deny (of the arguments): 1 allowed, 2 denied\n",
        ),
        (
            "warn.yaml",
            0,
            "3 reviews in mode Warn (of the arguments): 1 allowed, 2 warned\n",
        ),
    ] {
        let output = bench.run(&format!(
            "policy check {policy} --review a.json --review b.jsonl --releases records.json"
        ));
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let text = stdout(&output);
        assert!(text.ends_with(summary), "{text}");
        assert!(text.contains("UPDATE Deployment \"web\""), "{text}");
    }
}

/// An audit line of a guard in the mode Warn.
fn line(uid: &str, user: &str, field: &str) -> String {
    json!({
        "timestamp": jiff::Timestamp::now(), "level": "WARN", "target": "audit", "message": "x",
        "uid": uid, "verdict": "warned", "reason": "fields-changed", "mode": "Warn",
        "operation": "UPDATE", "user": user, "fieldManager": "kubectl-edit",
        "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
        "findings": [{
            "release": {"namespace": "shop", "name": "web", "chart": "web-1.0.0", "revision": 1},
            "revisions": [1],
            "fields": [{"path": field, "declared": 3, "live": 3, "requested": 0}]}],
    })
    .to_string()
        + "\n"
}

#[test]
fn a_forecast_from_audit_lines_suggests_a_valid_policy() {
    let rotated = line("1", "bob", ".spec.replicas") + &line("2", "bob", ".spec.minReadySeconds");
    let current = "INFO helm_guard: listening\n{\"target\":\"helm_guard\"}\n".to_owned()
        + &line("3", "system:serviceaccount:ci:robot", ".spec.paused")
        + "{\"timestamp\":\"2026-";
    let bench = Bench::new(&[
        ("audit-2026-11-21T03-00-00.000.log", &rotated),
        ("audit.log", &current),
    ]);
    let files = "--audit-log audit-2026-11-21T03-00-00.000.log --audit-log audit.log";
    let table = bench.run(&format!("policy forecast {files}"));
    assert_eq!(table.status.code(), Some(0), "{}", stderr(&table));
    assert_eq!(stderr(&table), "warning: 2 lines cannot be read\n");
    let text = stdout(&table);
    for words in [
        ".spec.replicas          bob                              1       exemption",
        "Deny would have denied 3 requests of 2 users to 1 release",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let fragment = bench.run(&format!("policy forecast -o yaml {files}"));
    fs::write(bench.0.path().join("policy.yaml"), &fragment.stdout).unwrap();
    let checked = bench.run("policy check policy.yaml");
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    let listed = bench.run(&format!("policy forecast -o json -n elsewhere {files}"));
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    testbed::schema::assert_valid("PolicyForecast", &listed);
    assert_eq!(listed["rows"], json!([]));
}

#[test]
fn a_forecast_of_a_file_without_audit_lines_is_an_error() {
    let audit = line("1", "bob", ".spec.replicas");
    let bench = Bench::new(&[
        ("text.log", "listening\n"),
        ("empty.log", ""),
        ("audit.log", &audit),
    ]);
    for (line, code, says) in [
        (
            "policy forecast --audit-log text.log",
            1,
            "no audit line in text.log (1 line cannot be read): nothing is known",
        ),
        (
            "policy forecast --audit-log none.log",
            1,
            "failed to open none.log",
        ),
        ("policy forecast --since soon", 1, "--since"),
        ("policy forecast --since 90d", 1, "--audit-log"),
        (
            "policy forecast --audit-log empty.log --context x",
            1,
            "--context",
        ),
        (
            "policy forecast --audit-log empty.log",
            1,
            "no audit line in empty.log: nothing is known about any request",
        ),
        (
            "policy forecast --audit-log /dev/null -n shpo",
            1,
            "no audit line in /dev/null: nothing is known about any request",
        ),
        (
            "policy forecast --audit-log audit.log -n shpo",
            0,
            "No audit line is about namespace \"shpo\".",
        ),
    ] {
        let output = bench.run(line);
        assert_eq!(output.status.code(), Some(code), "{line}");
        let said = stdout(&output) + &stderr(&output);
        assert!(said.contains(says), "{line}: {said}");
        assert!(!said.contains("nothing."), "{line}: {said}");
    }
}

#[test]
fn an_unwritable_audit_log_stops_the_guard_at_startup() {
    let bench = Bench::new(&[]);
    let output = bench.run(
        "serve --register-url https://127.0.0.1:1 --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 \
         --audit-log-path none/audit.log",
    );
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("error: failed to open the audit log none/audit.log"),
        "{said}"
    );
}

#[test]
fn flux_drift_rules_become_a_valid_policy() {
    let release = "apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: web, namespace: shop}
spec:
  driftDetection:
    ignore:
    - paths: [/spec/replicas, no-path]
      target: {kind: Deployment}
";
    let bench = Bench::new(&[("release.yaml", release)]);
    let output = bench.run("policy import release.yaml");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("left out \"no-path\""));
    fs::write(bench.0.path().join("policy.yaml"), &output.stdout).unwrap();
    let checked = bench.run("policy check policy.yaml");
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
}

#[test]
fn presets_are_listed_with_their_allowances() {
    let bench = Bench::new(&[]);
    let table = stdout(&bench.run("policy presets"));
    assert!(table.contains("garbage-collector"), "{table}");
    let listed: Value =
        serde_json::from_slice(&bench.run("policy presets -o json").stdout).unwrap();
    testbed::schema::assert_valid("PresetList", &listed);
    let listed = listed["items"].as_array().unwrap();
    let keda = listed
        .iter()
        .find(|preset| preset["name"] == "keda")
        .unwrap();
    assert_eq!(keda["default"], false);
    assert_eq!(keda["entries"][0]["allows"][0], "scale");
    for preset in listed {
        for entry in preset["entries"].as_array().unwrap() {
            let license = entry["license"].as_str().unwrap();
            assert!(!license.is_empty(), "{preset}");
            assert!(table.contains(license), "{license}");
        }
    }
}
