//! `helm-guard check` as scripts use it, without a cluster.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

const MANIFEST: &str = "---
# Source: web/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  template:
    spec:
      containers:
      - name: web
        image: web:1
---
# Source: web/templates/secret.yaml
apiVersion: v1
kind: Secret
metadata:
  name: web
data:
  password: aHVudGVyMg==
---
# Source: web/templates/route.yaml
apiVersion: example.com/v1
kind: Route
metadata:
  name: web
spec:
  hosts:
  - name: a
    port: 1
";

/// A directory with files, and the command run in it.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// With the release in `release.json`.
    fn released() -> Self {
        let bench = Self::new();
        bench.file("release.json", &record("Secret", MANIFEST).to_string());
        bench
    }

    fn check(&self, args: &[&str], stdin: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_helm-guard"))
            .arg("check")
            .args(args)
            .current_dir(self.dir.path())
            .env("KUBECONFIG", "/nonexistent/kubeconfig")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may exit before it has read everything, for example on an invalid flag.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Explains `live.json`.
    fn explain(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_helm-guard"))
            .args(["explain", "--releases", "release.json"])
            .args(["--live", "live.json"])
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }

    /// The reports of `-o json`, and the exit code.
    fn reports(&self, args: &[&str], stdin: &str) -> (Value, Option<i32>) {
        let output = self.check(&[args, &["-o", "json"]].concat(), stdin);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if !report.is_null() {
            testbed::schema::assert_valid("CheckReport", &report);
        }
        (report["reviews"].clone(), output.status.code())
    }
}

/// A release record as `kubectl get -o json` shows it.
fn record(kind: &str, manifest: &str) -> Value {
    let body = json!({
        "name": "web", "namespace": "shop", "version": 1, "info": {"status": "deployed"},
        "chart": {"metadata": {"name": "web", "version": "1.0.0"}}, "manifest": manifest,
    });
    let body = BASE64_STANDARD.encode(body.to_string());
    let body = match kind {
        "Secret" => BASE64_STANDARD.encode(body),
        _ => body,
    };
    let labels = json!({"owner": "helm", "name": "web", "status": "deployed", "version": "1"});
    json!({
        "apiVersion": "v1", "kind": kind, "type": "helm.sh/release.v1",
        "metadata": {"name": "sh.helm.release.v1.web.v1", "namespace": "shop", "labels": labels},
        "data": {"release": body},
    })
}

fn review(group: &str, kind: &str, plural: &str, old: &Value, new: &Value) -> Value {
    let operation = if new.is_null() { "DELETE" } else { "UPDATE" };
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "operation": operation, "name": "web", "namespace": "shop",
        "kind": {"group": group, "version": "v1", "kind": kind},
        "resource": {"group": group, "version": "v1", "resource": plural},
        "userInfo": {"username": "ada"}, "oldObject": old, "object": new,
    }})
}

fn deployment(replicas: u32, image: &str) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {
        "replicas": replicas,
        "template": {"spec": {"containers": [
            {"name": "sidecar", "image": "x"}, {"name": "web", "image": image},
        ]}},
    }})
}

fn scaled(from: u32, to: u32) -> Value {
    let (old, new) = (deployment(from, "web:1"), deployment(to, "web:1"));
    review("apps", "Deployment", "deployments", &old, &new)
}

const RELEASES: &[&str] = &["--releases", "release.json"];

#[rstest]
#[case::violation(scaled(3, 0), "denied", "fields-changed", 2)]
#[case::back_to_the_declared(scaled(5, 3), "allowed", "nothing-declared-changes", 0)]
#[case::delete(
    review("apps", "Deployment", "deployments", &deployment(3, "web:1"), &Value::Null),
    "denied", "object-deleted", 2
)]
#[case::undeclared(
    review("", "ConfigMap", "configmaps", &json!({"data": {"a": "1"}}), &json!({"data": {}})),
    "allowed", "not-declared", 0
)]
fn a_review_gets_the_verdict_and_the_exit_code(
    #[case] review: Value,
    #[case] verdict: &str,
    #[case] reason: &str,
    #[case] code: i32,
) {
    let (reports, exit) = Bench::released().reports(RELEASES, &review.to_string());
    assert_eq!(reports[0]["verdict"], verdict, "{reports}");
    assert_eq!(reports[0]["reason"], reason);
    assert_eq!(exit, Some(code));
}

#[test]
fn the_table_shows_declared_values_and_the_undo_command() {
    let bench = Bench::released();
    let output = bench.check(RELEASES, &scaled(3, 0).to_string());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "denied (fields-changed): UPDATE Deployment \"web\" in namespace \"shop\", by \"ada\"\n  \
         release \"web\" in namespace \"shop\", revision 1\n    \
         .spec.replicas: declared 3, live 3, requested 0\n  \
         undo: [{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":3}]\n\
         1 review in mode Deny (of the default policy): 1 denied\n"
    );
    assert!(output.stderr.is_empty());
}

#[test]
fn the_undo_patch_reverts_the_violation_and_nothing_else() {
    let bench = Bench::released();
    let old = deployment(3, "web:1");
    let mut new = deployment(0, "web:2");
    new["metadata"]["labels"] = json!({"mine": "yes"});
    let containers = new["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap();
    containers.reverse();
    let change = review("apps", "Deployment", "deployments", &old, &new);
    let (reports, _) = bench.reports(RELEASES, &change.to_string());
    let fields = reports[0]["findings"][0]["fields"].as_array().unwrap();
    assert_eq!(fields.len(), 2, "{reports}");

    let patch: json_patch::Patch = serde_json::from_value(reports[0]["undo"].clone()).unwrap();
    json_patch::patch(&mut new, &patch).unwrap();
    let undone = review("apps", "Deployment", "deployments", &old, &new);
    let (reports, exit) = bench.reports(RELEASES, &undone.to_string());
    assert_eq!(
        (reports[0]["verdict"].as_str(), exit),
        (Some("allowed"), Some(0))
    );
    assert_eq!(new["metadata"]["labels"]["mine"], "yes");
}

#[test]
fn reviews_in_any_form_are_evaluated_in_order_and_one_denial_sets_the_exit_code() {
    let bench = Bench::released();
    let (denied, allowed) = (scaled(3, 0), scaled(5, 3));
    let yaml = "apiVersion: admission.k8s.io/v1\nkind: AdmissionReview\nrequest:\n  uid: u\n  \
                operation: DELETE\n  name: web\n  namespace: shop\n  \
                kind: {group: apps, version: v1, kind: Deployment}\n  \
                oldObject: {metadata: {name: web}}\n";
    let cases = [
        (format!("{allowed}\n{denied}\n"), vec!["allowed", "denied"]),
        (format!("[{denied},{allowed}]"), vec!["denied", "allowed"]),
        (format!("{denied:#}"), vec!["denied"]),
        (format!("{yaml}---\n{yaml}"), vec!["denied", "denied"]),
    ];
    for (text, expected) in cases {
        let file = bench.file("reviews", &text);
        for (args, stdin) in [(["-"], text.as_str()), ([file.to_str().unwrap()], "")] {
            let (reports, exit) = bench.reports(&[&args, RELEASES].concat(), stdin);
            let reports = reports.as_array().unwrap();
            let verdicts: Vec<_> = reports
                .iter()
                .map(|r| r["verdict"].as_str().unwrap())
                .collect();
            assert_eq!((verdicts, exit), (expected.clone(), Some(2)));
        }
    }
}

#[test]
fn records_are_read_in_every_format_of_kubectl() {
    let bench = Bench::new();
    let list = json!({"kind": "List", "items": [
        {"kind": "Secret", "metadata": {"name": "tls"}}, record("Secret", MANIFEST),
    ]});
    let yaml = record("ConfigMap", MANIFEST);
    let yaml = format!(
        "kind: ConfigMap\nmetadata: {}\ndata:\n  release: {}\n",
        yaml["metadata"], yaml["data"]["release"]
    );
    bench.file("list.json", &list.to_string());
    bench.file("record.yaml", &yaml);
    bench.file("manifest.yaml", MANIFEST);
    let sources: [&[&str]; 3] = [
        &["--releases", "list.json"],
        &["--releases", "record.yaml"],
        &["--manifest", "manifest.yaml", "--release", "shop/web"],
    ];
    for source in sources {
        let (reports, exit) = bench.reports(source, &scaled(3, 0).to_string());
        assert_eq!(
            (reports[0]["verdict"].as_str(), exit),
            (Some("denied"), Some(2)),
            "{source:?}"
        );
    }
}

#[rstest]
#[case("table")]
#[case("json")]
#[case("yaml")]
fn no_output_contains_the_value_of_a_secret(#[case] format: &str) {
    let secret = |password: &str| {
        let last = json!({"data": {"password": password}}).to_string();
        json!({
            "metadata": {"name": "web", "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": last,
            }},
            "data": {"password": BASE64_STANDARD.encode(password)},
        })
    };
    let change = review(
        "",
        "Secret",
        "secrets",
        &secret("hunter2"),
        &secret("swordfish"),
    );
    let args = [RELEASES, &["-o", format]].concat();
    let output = Bench::released().check(&args, &change.to_string());
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(text.contains(".data.password"), "{text}");
    for value in ["hunter2", "swordfish"] {
        assert!(!text.contains(value), "{text}");
        assert!(!text.contains(&BASE64_STANDARD.encode(value)), "{text}");
    }
}

#[test]
fn a_verdict_that_depends_on_a_missing_crd_says_so() {
    let bench = Bench::released();
    let route = |port: u32| {
        json!({"metadata": {"name": "web"}, "spec": {
            "hosts": [{"name": "b", "port": 9}, {"name": "a", "port": port}],
        }})
    };
    let change = review("example.com", "Route", "routes", &route(1), &route(2)).to_string();
    let (reports, exit) = bench.reports(RELEASES, &change);
    assert_eq!(reports[0]["reason"], "schema-unavailable");
    assert_eq!(
        (reports[0]["verdict"].as_str(), exit),
        (Some("indeterminate"), Some(0))
    );

    let hosts = json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "properties": {"name": {"type": "string"}}},
    });
    let spec = json!({"type": "object", "properties": {"hosts": hosts}});
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    let crd = json!({
        "kind": "CustomResourceDefinition",
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Route", "plural": "routes"},
            "versions": [{"name": "v1", "served": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    bench.file("crd.json", &crd.to_string());
    let args = [RELEASES, &["--definitions", "crd.json"]].concat();
    let (reports, exit) = bench.reports(&args, &change);
    let path = &reports[0]["findings"][0]["fields"][0]["path"];
    assert_eq!(
        (path.as_str(), exit),
        (Some(".spec.hosts[name=a].port"), Some(2)),
        "{reports}"
    );
}

#[test]
fn an_undecodable_record_is_a_warning_and_an_indeterminate_verdict() {
    let bench = Bench::released();
    let mut broken = record("Secret", MANIFEST);
    broken["metadata"]["name"] = json!("sh.helm.release.v1.web.v2");
    broken["metadata"]["labels"]["version"] = json!("2");
    broken["metadata"]["labels"]["status"] = json!("pending-upgrade");
    broken["data"]["release"] = json!("hunter2");
    bench.file("broken.json", &broken.to_string());
    let args = ["--releases", "release.json", "--releases", "broken.json"];
    let (reports, exit) = bench.reports(&args, &scaled(3, 0).to_string());
    assert_eq!(reports[0]["reason"], "record-unreadable");
    assert_eq!(exit, Some(0));
    let output = bench.check(&args, &scaled(3, 0).to_string());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("warning: shop/web v2: "), "{stderr}");
    assert!(!stderr.contains("hunter2"));
}

#[rstest]
#[case::no_such_file(&["nowhere.json", "--releases", "release.json"], "nowhere.json")]
#[case::no_such_records(&["--releases", "nowhere.json"], "nowhere.json")]
#[case::no_record_in_it(&["--releases", "empty.json"], "empty.json")]
#[case::release_missing(&["--manifest", "release.json"], "--release")]
#[case::no_release_name(&["--manifest", "release.json", "--release", "web"], "NAMESPACE/NAME")]
#[case::two_sources(&["--releases", "release.json", "--context", "x"], "--context")]
#[case::not_a_review(&["release.json", "--releases", "release.json"], "AdmissionReview")]
#[case::no_cluster(&["good.json"], "/nonexistent/kubeconfig")]
#[case::unknown_format(&["-o", "xml"], "xml")]
fn a_check_error_is_one_line_and_exit_code_1(#[case] args: &[&str], #[case] says: &str) {
    let bench = Bench::released();
    bench.file("empty.json", "{}");
    bench.file("good.json", &scaled(3, 0).to_string());
    let output = bench.check(args, &scaled(3, 0).to_string());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty());
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(says), "{stderr}");
}

#[test]
fn an_explanation_follows_the_schema_and_describes_the_values_of_a_secret() {
    let bench = Bench::released();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "web", "namespace": "shop", "managedFields": [{
            "manager": "kubectl", "operation": "Update", "time": "2026-11-21T03:12:09Z",
            "fieldsV1": {"f:data": {"f:password": {}}},
        }]},
        "data": {"password": "aHVudGVyMw=="},
    });
    bench.file("live.json", &secret.to_string());
    let output = bench.explain(&["-o", "json"]);
    let explanation: Value = serde_json::from_slice(&output.stdout).unwrap();
    testbed::schema::assert_valid("Explanation", &explanation);
    let fields = explanation["fields"].as_array().unwrap().iter();
    let password = fields
        .filter(|field| field["path"] == ".data.password")
        .collect::<Vec<_>>();
    assert_eq!(password.len(), 1, "{explanation}");
    assert_eq!(password[0]["described"], json!(["declared", "live"]));
    assert_ne!(password[0]["declared"], password[0]["live"]);
    assert_eq!(password[0]["writer"]["manager"], "kubectl");
    assert!(!explanation.to_string().contains("aHVudGVy"));
    assert_eq!(explanation["releases"][0]["release"]["name"], "web");
}

#[rstest]
#[case::a_field(&[".spec.replicas"], 0, "declared    3")]
#[case::no_path(&["spec..x"], 1, "is not a path")]
#[case::an_object_too(&["deploy/web", ".spec.replicas"], 1, "cannot be used with")]
fn with_live_the_only_argument_is_a_field(
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] says: &str,
) {
    let bench = Bench::released();
    let live = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": 5},
    });
    bench.file("live.json", &live.to_string());
    let output = bench.explain(arguments);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(says), "{text}");
}

#[rstest]
#[case("check")]
#[case("explain")]
fn help_lists_the_exit_codes(#[case] subcommand: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_helm-guard"));
    let output = command.args([subcommand, "--help"]).output().unwrap();
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("Exit codes")
    );
}
