//! What `deploy/monitoring` promises: alerts that fire when they should and only then, a dashboard whose queries have data,
//! and documentation for each alert. promtool runs the unit tests of the alerts (`deploy/monitoring/tests`).

#[path = "monitoring/alerts.rs"]
mod alerts;
#[path = "monitoring/dashboard.rs"]
mod dashboard;
#[path = "monitoring/expressions.rs"]
mod expressions;
#[path = "monitoring/metrics.rs"]
mod metrics;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use self::expressions::{SelectedSeries, selected};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    root().join("deploy/monitoring")
}

fn yaml(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// What a Prometheus without the operator takes as a rule file.
fn rules() -> Value {
    yaml(&folder().join("prometheusrule.yaml"))["spec"].take()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn all_alerts(rules: &Value) -> Vec<&Value> {
    let alerts: Vec<&Value> = items(&rules["groups"])
        .flat_map(|group| items(&group["rules"]))
        .collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    alerts
}

/// Runs promtool in a folder, and returns its output.
fn promtool(folder: &TempDir, args: &[&str]) -> String {
    let output = Command::new(testbed::binaries::promtool().unwrap())
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).unwrap();
    assert!(output.status.success(), "{printed}");
    printed
}

/// A folder with a file `rules.yaml`.
fn with_rules(rules: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    // JSON is YAML.
    fs::write(folder.path().join("rules.yaml"), rules.to_string()).unwrap();
    folder
}

#[test]
fn alerts_and_dashboard_name_metrics_and_labels_that_exist() {
    let known = metrics::known();
    let rules = rules();
    let alerts = all_alerts(&rules)
        .into_iter()
        .map(|alert| text(&alert["expr"]).to_owned());
    for expression in alerts
        .chain(dashboard::queries())
        .chain(dashboard::variables())
    {
        let selected = selected(&expression);
        assert!(!selected.is_empty(), "{expression}");
        for SelectedSeries { metric, labels } in selected {
            let Some(existing) = known.get(&metric) else {
                panic!("no metric {metric}: {expression}");
            };
            let unknown = labels.iter().find(|label| !existing.contains(label));
            assert_eq!(unknown, None, "no label of {metric}: {expression}");
        }
    }
}

#[test]
fn promtool_accepts_the_rules_and_each_query_of_the_dashboard() {
    let folder = with_rules(&rules());
    let lint = ["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"];
    promtool(&folder, &lint);

    let records = (1..).zip(dashboard::queries()).map(
        |(number, query)| json!({ "record": format!("dashboard:query:{number}"), "expr": query }),
    );
    let records: Vec<Value> = records.collect();
    let count = records.len();
    let rules = json!({ "groups": [{ "name": "dashboard", "rules": records }] });
    let printed = promtool(&with_rules(&rules), &lint);
    assert!(
        printed.contains(&format!("SUCCESS: {count} rules found")),
        "{printed}"
    );
}

#[test]
fn the_kustomization_names_every_file_that_is_applied() {
    let kustomization = yaml(&folder().join("kustomization.yaml"));
    let generated = items(&kustomization["configMapGenerator"]).flat_map(|map| {
        let files = items(&map["files"]).map(text);
        files.map(|file| file.rsplit('=').next().unwrap())
    });
    let resources = items(&kustomization["resources"]).map(text);
    let named: BTreeSet<&str> = resources.chain(generated).collect();
    let present: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["README.md", "kustomization.yaml", "tests"].contains(&name.as_str()))
        .collect();
    assert_eq!(named, present.iter().map(String::as_str).collect());
}

#[test]
fn the_kustomization_builds_and_labels_the_dashboard_for_grafana() {
    let kubectl = testbed::Binaries::locate_or_build().unwrap().kubectl;
    let output = Command::new(kubectl)
        .arg("kustomize")
        .arg(folder())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&printed).unwrap();
    let mut kinds: Vec<&str> = objects.iter().map(|object| text(&object["kind"])).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["ConfigMap", "PrometheusRule", "ServiceMonitor"]);
    let map = objects.iter().find(|object| object["kind"] == "ConfigMap");
    let map = map.unwrap();
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    assert!(text(&map["data"]["helm-guard.json"]).starts_with('{'));
    // `kubectl apply` repeats a ConfigMap in an annotation, and all annotations together have at most 256 KiB.
    let bytes = map.to_string().len();
    assert!(bytes < 200_000, "{bytes}");
}
